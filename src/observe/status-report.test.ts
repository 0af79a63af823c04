import { describe, expect, test } from 'vitest';
import { refusalCodes as wireCodes } from '../core/wire/command.ts';
import { Counters, refusalCodes } from './counters.ts';
import { formatAge, formatBytes, formatStatus } from './format-status.ts';
import { reportStatus, type StatusReport, type StatusSource } from './status-report.ts';

const source: StatusSource = {
  name: 'example.com',
  log: 'ok',
  logTrouble: undefined,
  patterns: [],
  streams: [
    {
      stream: 'events',
      source: 'sqlite data/rowcast.db',
      durable: true,
      earliest: 1,
      latest: 54,
      history: '8f3c1d2e4b5a6978.1764281400.a1b2c3d4',
    },
    {
      stream: 'typing',
      source: 'memory',
      durable: false,
      earliest: 1,
      latest: 0,
      history: '0123456789abcdef.0.00000000',
    },
  ],
  next: undefined,
  connections: [
    {
      id: 1,
      name: 'reader-1',
      peer: '127.0.0.1:50123',
      connectedAtMs: 1_000,
      queueBytes: 2_048,
      streams: 2,
      liveStreams: 1,
      subscriptions: [
        {
          stream: 'events',
          state: 'catching-up',
          sent: 50,
          sentLagRows: 40,
          applied: 48,
          appliedLagRows: 60,
          saved: 40,
        },
        {
          stream: 'typing',
          state: 'live',
          sent: 7,
          sentLagRows: 0,
          applied: undefined,
          appliedLagRows: undefined,
          saved: undefined,
        },
      ],
    },
    {
      id: 2,
      name: undefined,
      peer: 'unix:/run/rowcast.sock',
      connectedAtMs: 61_000,
      queueBytes: 0,
      streams: 0,
      liveStreams: 0,
      subscriptions: [],
    },
  ],
};

const noCounts = new Counters().counts;

describe('the numbers', () => {
  test('what a worker has not told is null, so that JSON keeps the field', () => {
    const report = reportStatus(source, { counts: noCounts, now: 61_000 });
    const [events, typing] = (JSON.parse(JSON.stringify(report)) as StatusReport).connections[0]!.subscriptions;
    expect(events).toEqual(source.connections[0]!.subscriptions[0]);
    expect(typing).toMatchObject({ sent: 7, sentLagRows: 0, applied: null, appliedLagRows: null, saved: null });
  });

  test('the log and the histories of the streams are reported', () => {
    const { log, streams } = reportStatus(source, { counts: noCounts, now: 0 });
    expect([log, streams]).toEqual(['ok', source.streams]);
  });

  test('age is the time since the connection was made', () => {
    const report = reportStatus(source, { counts: noCounts, now: 61_000.4 });
    expect(report.connections.map(({ ageMs }) => ageMs)).toEqual([60_000, 0]);
  });

  test('a connection without NAME has the name null, so that JSON keeps the field', () => {
    const report = reportStatus(source, { counts: noCounts, now: 61_000 });
    expect(JSON.parse(JSON.stringify(report.connections[1]))).toMatchObject({ id: 2, name: null });
  });
});

describe('the counts', () => {
  test('refusals have the codes of the wire', () => expect(refusalCodes).toEqual(wireCodes));

  test('slow consumers, peers served less, and refused streams are counted apart from other faults', () => {
    const counters = new Counters();
    counters.handleConnected();
    counters.handleConnected();
    counters.handleWarning({ code: 'SLOW_CONSUMER' });
    counters.handleWarning({ code: 'UNKNOWN_COMMAND' });
    counters.handleWarning({ code: 'UNKNOWN_COMMAND' });
    counters.handleWarning({ code: 'GAP' });
    counters.handleWarning({ code: 'GAP' });
    counters.handleWarning({ code: 'RESET' });
    counters.handleWarning({ code: 'TRIMMED' });
    expect(counters.counts).toEqual({
      connectionsMade: 2,
      slowConsumersCut: 1,
      trimmedServed: 1,
      refusals: { GAP: 2, RESET: 1 },
      errors: { UNKNOWN_COMMAND: 2 },
    });
  });
});

describe('the table', () => {
  test('shows streams, connections with what was sent and applied, queue and age, and the counts', () => {
    const counters = new Counters();
    counters.handleConnected();
    counters.handleWarning({ code: 'GAP' });
    counters.handleWarning({ code: 'TRIMMED' });
    counters.handleWarning({ code: 'IDLE_TIMEOUT' });
    expect(formatStatus(reportStatus(source, { counts: counters.counts, now: 121_000 }))).toBe(
      [
        'primary example.com, its log is ok',
        '',
        'stream  earliest  latest',
        'events         1      54',
        'typing         -       0  not kept over a restart',
        '',
        'connection   peer                    age    queue    stream  sent  unsent rows  applied  unapplied rows  state',
        '#1 reader-1  127.0.0.1:50123         2 min  2.0 KiB  events    50           40       48              60  catching-up',
        '                                                     typing     7            0        -               -  live',
        '#2           unix:/run/rowcast.sock  1 min  0 B      -                                                   no subscription',
        '',
        'since the start: 1 connection, 0 cut as slow',
        'asked for rows that were dropped, and served the rest: 1',
        'streams refused: GAP 1',
        'connections ended and commands failed: IDLE_TIMEOUT 1',
        '',
      ].join('\n'),
    );
  });

  test('of one page says what is on others, and how to see it', () => {
    const [events] = source.streams;
    const relayed = { ...events!, stream: 'far', source: 'a relay', durable: undefined };
    const [connection] = source.connections;
    const page: StatusSource = {
      ...source,
      patterns: ['room:*', 'user:*'],
      streams: [events!, relayed],
      next: 'far',
      connections: [{ ...connection!, streams: 10_001, liveStreams: 9_000 }],
    };
    const text = formatStatus(reportStatus(page, { counts: noCounts, now: 121_000 }));
    expect(text).toContain(
      [
        'streams are made by their first row: room:*, user:*',
        '',
        'stream  earliest  latest',
        'events         1      54',
        'far            1      54  of a relay',
        '… and more: --after far shows the next, --all shows all',
        '',
      ].join('\n'),
    );
    expect(text).toMatch(/ 9999 on other pages +9000 of 10001 live\n/);
    expect(reportStatus(page, { counts: noCounts, now: 0 })).toMatchObject({
      next: 'far',
      streams: [{}, { durable: null, source: 'a relay' }],
    });
    expect(reportStatus(source, { counts: noCounts, now: 0 }).next).toBeNull();
  });

  test('says who holds rows of a stream, and how many rows that is', () => {
    const [events, typing] = source.streams;
    const position = { stream: 'events', token: 48, history: events!.history };
    const holders = [
      { worker: 'audit', saved: undefined, lagRows: 100, connected: false },
      { worker: 'reader-1', saved: position, lagRows: 60, connected: true },
    ];
    const held: StatusSource = { ...source, streams: [{ ...events!, holders, holderCount: 5 }, typing!] };
    const report = reportStatus(held, { counts: noCounts, now: 0 });
    expect(report.streams[0]).toMatchObject({
      holders: [
        { worker: 'audit', saved: null },
        { saved: `events=48@${events!.history}`, lagRows: 60 },
      ],
      holderCount: 5,
    });
    expect(report.streams[1]).not.toHaveProperty('holders');
    expect(formatStatus(report)).toContain(
      [
        '',
        'stream  rows held by  saved  unsaved rows',
        'events  audit             -           100  not connected',
        'events  reader-1         48            60',
        'events  3 more                             less far behind',
        '',
      ].join('\n'),
    );
    expect(formatStatus(reportStatus(source, { counts: noCounts, now: 0 }))).not.toContain('rows held by');
  });

  test('a worker cannot write control characters to the terminal by its name', () => {
    const hostile = { ...source, connections: [{ ...source.connections[1]!, name: '\u001b[2Jgone' }] };
    expect(formatStatus(reportStatus(hostile, { counts: noCounts, now: 0 }))).toContain('#2 \\u001b[2Jgone');
  });

  test.each([
    ['slow', 25_012, undefined, 'its last commit took 25012 ms; every commit since'],
    ['failing', 3, 'LOG_FULL', 'its last commit failed with LOG_FULL (the last commit took 3 ms); every commit since'],
    ['failed', undefined, 'LOG_FENCED', 'it takes no rows until it is opened again: LOG_FENCED since'],
  ] as const)('a log that is %s is explained in the second line', (log, lastCommitMs, code, text) => {
    const logTrouble = { sinceMs: 1_764_598_992_000, lastCommitMs, code };
    const [first, second] = formatStatus(
      reportStatus({ ...source, log, logTrouble }, { counts: noCounts, now: 0 }),
    ).split('\n');
    expect(first).toBe(`primary example.com, its log is ${log}`);
    expect(second).toContain(text);
    expect(second).toContain(' since 2025-12-01T14:23:12.000Z');
  });

  test('without connections it says so', () => {
    expect(formatStatus(reportStatus({ ...source, connections: [] }, { counts: noCounts, now: 0 }))).toContain(
      '\nno connections\n',
    );
  });

  test.each([
    [999, '0 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [172_800_000, '2 d'],
  ])('an age of %i ms is %s', (ageMs, text) => expect(formatAge(ageMs)).toBe(text));

  test.each([
    [1_023, '1023 B'],
    [1_536, '1.5 KiB'],
    [3_145_728, '3.0 MiB'],
  ])('%i bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});
