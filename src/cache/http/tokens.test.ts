import { readFile } from 'node:fs/promises';
import * as fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../../test/support/collector.ts';
import { deploy, settle } from '../../../test/support/deployment.ts';
import { UsageError } from '../../core/model/errors.ts';
import { formatPosition, formatPositions, type Position } from '../../core/model/position.ts';
import { defineStream, streamNameFault } from '../../core/model/stream.ts';
import type { Primary } from '../../primary/primary.ts';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import type { Worker } from '../../worker/worker.ts';
import {
  type AwaitTokensOptions,
  currentTokens,
  defaultAwaitTokensOptions,
  judgeRequests,
  MAX_HEADER_LENGTH,
  MAX_STREAMS,
  parseTokens,
  STALE_HEADER,
  TOKEN_HEADER,
} from './tokens.ts';

const events = defineStream('events');
const others = defineStream('others');
const noSignal = (): AbortSignal => {
  throw new Error('nobody waits, so nobody asks whether the client is there');
};
const staying = (): AbortSignal => new AbortController().signal;

const OLD = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
const NEW = '8f3c1d2e4b5a6978.1764281401.00ff00ff';

function at(stream: string, token: number, history: string | undefined = OLD): Position {
  return { stream, token, history };
}

function faultOf(header: string): string {
  try {
    parseTokens(header);
    return 'none';
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as UsageError).message;
  }
}

test('whatever the names of streams and their histories, a header that was written is read as the same', () => {
  const name = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => streamNameFault(text) === undefined);
  const place = fc.tuple(fc.maxSafeNat(), fc.constantFrom(OLD, NEW, undefined));
  const places = fc.dictionary(name, place, { minKeys: 1, maxKeys: MAX_STREAMS / 8, noNullPrototype: true });
  fc.assert(
    fc.property(places, (given) => {
      const positions = Object.entries(given).map(([stream, [token, history]]) => ({ stream, token, history }));
      const header = formatPositions(positions);
      expect(header).toMatch(/^[\x21-\x7e]+$/);
      expect(parseTokens(header)).toEqual(positions);
    }),
  );
});

test('whatever comes as a header, it is read or refused with a reason', () => {
  const scraps = fc.constantFrom(
    '=',
    ',',
    ' ',
    '%',
    '%2',
    '%2C',
    '%ff',
    'events',
    'ALL',
    '1',
    '-1',
    '9007199254740992',
    '@',
    OLD,
    '\u0000',
    '\t',
    'ü',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(scraps).map((parts) => parts.join('')),
      ),
      (header) => {
        const fault = faultOf(header);
        if (fault === 'none') expect(parseTokens(header).length).toBeGreaterThan(0);
        else expect(fault).toContain(`${TOKEN_HEADER} cannot be read: `);
      },
    ),
  );
});

test('spaces after commas are allowed, and of a stream that is named twice both positions count', () => {
  expect(parseTokens(`events=3@${OLD}, others=1@,\t events=5@${NEW} , events=4`)).toEqual([
    at('events', 3),
    at('others', 1),
    at('events', 5, NEW),
    { stream: 'events', token: 4, history: undefined },
  ]);
});

test('within one history the higher token of a stream counts', () => {
  expect(parseTokens(`events=3@${OLD},events=5@,events=4@`)).toEqual([at('events', 5)]);
});

test('what is wrong with a header is said in words', () => {
  const begin =
    'Rowcast-Token cannot be read: a position is as in events=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4, not';
  expect(faultOf('events')).toBe(`${begin} 'events': it is not a stream name, = and a token`);
  expect(faultOf('events=1=2')).toBe(`${begin} 'events=1=2': it is not a stream name, = and a token`);
  expect(faultOf('')).toBe(`${begin} '': it is not a stream name, = and a token`);
  expect(faultOf('=1')).toBe(`${begin} '=1': a stream name is empty`);
  expect(faultOf('a%20b=1')).toBe(`${begin} 'a%20b=1': a stream name has a space or control character`);
  expect(faultOf('%e0=1')).toBe(`${begin} '%e0=1': its percent-encoding is broken`);
  expect(faultOf('events=9007199254740992')).toContain("not '9007199254740992'");
  expect(faultOf('events=1@')).toBe(`${begin} 'events=1@': '' is no history`);
  expect(faultOf('events=1@8f3c.1.2')).toBe(`${begin} 'events=1@8f3c.1.2': '8f3c.1.2' is no history`);
});

test('a header may be so long and name so many streams, and no more', () => {
  const header = (count: number): string => formatPositions(Array.from({ length: count }, (_, i) => at(`s${i}`, 1)));
  expect(parseTokens(header(MAX_STREAMS))).toHaveLength(MAX_STREAMS);
  expect(faultOf(header(MAX_STREAMS + 1))).toMatch(/: it names more than 64 positions$/);
  const long = 'events=1,'.repeat(MAX_HEADER_LENGTH / 8).slice(0, MAX_HEADER_LENGTH - 8);
  const longest = `${long.slice(0, long.lastIndexOf(','))},events=1`.padEnd(MAX_HEADER_LENGTH);
  expect(parseTokens(longest)).toEqual([{ stream: 'events', token: 1, history: undefined }]);
  expect(faultOf(`${longest} `)).toMatch(/: it has 4097 characters, and 4096 are allowed$/);
});

test('streams that would make a header which nobody takes are refused when it is set up', async () => {
  const many = Array.from({ length: MAX_STREAMS + 1 }, (_, i) => defineStream(`s${i}`));
  const long = Array.from({ length: 6 }, (_, i) => defineStream(`${i}${'é'.repeat(120)}`));
  const primary = await deploy().primary({ streams: [...many, ...long] });
  expect(currentTokens(primary, { streams: many.slice(1) })()).toMatch(/^s1=0@[^@]+,s2=0@,.*,s64=0@$/);
  expect(() => currentTokens(primary, { streams: many })).toThrow('are at most 64; these are 65 and may need ');
  expect(() => currentTokens(primary, { streams: long })).toThrow(
    'streams of sendTokens fit in a header of 4096 characters',
  );
});

test('a stream that is to be sent twice is sent once', async () => {
  const primary = await deploy().primary({ streams: [events] });
  expect(currentTokens(primary, { streams: [events, 'events'] })()).toBe(formatPosition(primary.position(events)));
});

test('options that make no sense are refused when it is set up', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  const refused = (options: unknown): unknown => {
    try {
      return judgeRequests(reader, options as AwaitTokensOptions);
    } catch (error) {
      return (error as { code: unknown }).code;
    }
  };
  expect(refused({ timeoutMs: NaN })).toBe('INVALID_OPTION');
  expect(refused({ timeoutMs: Infinity })).toBe('INVALID_OPTION');
  expect(refused({ onTimeout: 'wait' })).toBe('INVALID_OPTION');
  expect(refused({ streams: [] })).toBe('INVALID_OPTION');
  expect(refused({ streams: ['a b'] })).toBe('INVALID_STREAM_NAME');
  expect(refused({ timeoutMs: undefined, onTimeout: undefined, streams: undefined })).toBeTypeOf('function');
  expect(() => currentTokens(server, undefined as never)).toThrow(
    'the options of sendTokens are an object with streams',
  );
});

test('a request that need not wait is judged at once, without a promise', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  reader.subscribe(events, { from: 'start' }, () => {});
  const judge = judgeRequests(reader);
  expect(judge(undefined, noSignal)).toEqual({ kind: 'go-on' });
  // Token 0 is before the first row: it is reached even where nothing is known.
  expect(judge(`events=0@${OLD},nosuch=0`, noSignal)).toEqual({ kind: 'go-on' });
  expect(judge('events=x', noSignal)).toMatchObject({ kind: 'refuse', status: 400 });
  const written = await server.append(events, [1]);
  await reader.start();
  expect(judge(formatPosition(written), noSignal)).toEqual({ kind: 'go-on' });
});

test('all streams of a request wait at the same time, within one bound', async () => {
  const { server, worker, clock, judge } = await heldBack({ timeoutMs: 50 });
  const began = clock.now();
  const asked = [
    { ...server.position(events), token: 2 },
    { ...server.position(events), stream: 'others', token: 3 },
  ];
  const here = formatPosition(worker.position(events)!);
  const verdict = judge(`${formatPositions(asked)},nosuch=9`, staying);
  await settle();
  while (clock.step(began + 50));
  const refused = await verdict;
  expect(refused).toMatchObject({ kind: 'refuse', status: 503, headers: { 'retry-after': '1' } });
  expect(JSON.parse((refused as { body: string }).body)).toEqual({
    error: {
      code: 'WAIT_TIMEOUT',
      message:
        `not reached within 50 ms: ${formatPosition(asked[0]!)} (here: ${here}), ` +
        `${formatPosition(asked[1]!)} (here: ${here.replace('events', 'others')}); try again`,
    },
  });
  expect(worker.position(events)).toMatchObject({ token: 0 });
});

test('only the streams that were not reached are called stale', async () => {
  const { server, worker, clock, gate, judge } = await heldBack({ timeoutMs: 50, onTimeout: 'serve' });
  const position = server.position(events);
  const verdict = judge(formatPositions([position, { ...position, stream: 'others', token: 3 }]), staying);
  gate.open();
  await settle();
  while (clock.step(clock.now() + 50));
  expect(await verdict).toEqual({ kind: 'go-on', stale: formatPosition(worker.position(others)!) });
});

test('a position of another log, or without a history, is answered at once with its code', async () => {
  const { server, judge } = await heldBack({});
  const behind = formatPosition(server.position(events));
  expect(judge(`events=1@${OLD}`, noSignal)).toMatchObject({
    kind: 'refuse',
    status: 503,
    headers: { 'retry-after': '1' },
    body: expect.stringMatching(
      /"code":"OTHER_LOG","message":"events=1@8f3c[^ ]+ is of another log than .*: forget it"/,
    ),
  });
  expect(judge(`${behind},events=1`, noSignal)).toMatchObject({
    kind: 'refuse',
    status: 503,
    body: expect.stringMatching(/"code":"INVALID_POSITION","message":"events=1 has no history: send Rowcast-Token as/),
  });
});

test("with onTimeout: 'serve' such a request is served at once, and every stream that was not reached is called stale", async () => {
  const { server, worker, judge } = await heldBack({ onTimeout: 'serve' });
  const behind = formatPosition(server.position(events));
  expect(judge(`${behind},others=7@${OLD},events=1`, noSignal)).toEqual({
    kind: 'go-on',
    stale: formatPositions([worker.position(events)!, worker.position(others)!]),
  });
});

test('a stream that is named with two histories waits for both', async () => {
  const { server, clock, gate, judge } = await heldBack({ timeoutMs: 50 });
  const written = server.position(events);
  const earlier = { ...written, token: 9, history: written.history!.replace(/\.\d+\./, '.1.') };
  const later = { ...written, history: written.history!.replace(/\.\d+\./, '.9999999999.') };
  const both = judge(formatPositions([earlier, written]), staying);
  gate.open();
  expect(await both).toEqual({ kind: 'go-on' });
  const never = judge(formatPositions([written, later]), staying);
  await settle();
  while (clock.step(clock.now() + 50));
  expect(await never).toMatchObject({ kind: 'refuse', body: expect.stringContaining(formatPosition(later)) });
});

test('the answer does not tell the client why the worker is behind', async () => {
  const { server, worker, gate, judge } = await heldBack({});
  worker.on('error', () => {});
  const verdict = judge(formatPosition(server.position(events)), staying);
  gate.fail(new Error('password=secret'));
  const refused = await verdict;
  expect(refused).toMatchObject({ kind: 'refuse', status: 503, body: expect.stringContaining('WAIT_TIMEOUT') });
  expect(JSON.stringify(refused)).not.toContain('secret');
});

test('a client that has left before the wait begins is let go', async () => {
  const { server, judge } = await heldBack({});
  expect(await judge(formatPosition(server.position(events)), () => AbortSignal.abort())).toEqual({ kind: 'gone' });
});

test('the guide names the headers, and every limit and default with its value', async () => {
  const guide = await readFile(new URL('../../../docs/guides/read-your-writes.md', import.meta.url), 'utf8');
  for (const header of [TOKEN_HEADER, STALE_HEADER]) expect(guide).toContain(header);
  const { timeoutMs, onTimeout } = defaultAwaitTokensOptions;
  expect(guide).toContain(`\`timeoutMs\` (${timeoutMs.toLocaleString('en')} by default)`);
  expect(guide).toContain(`\`onTimeout: '${onTimeout}'\` (the default)`);
  expect(guide).toContain(`${MAX_HEADER_LENGTH.toLocaleString('en')} characters or ${MAX_STREAMS} streams`);
});

interface HeldBack {
  readonly server: Primary;
  readonly worker: Worker;
  readonly clock: VirtualClock;
  readonly gate: { readonly open: () => void; readonly fail: (error: Error) => void };
  readonly judge: ReturnType<typeof judgeRequests>;
}

/**
 * A worker that is live at token 0, whose handler of `events` has token 1 and does not finish until
 * the gate opens.
 */
async function heldBack(options: AwaitTokensOptions): Promise<HeldBack> {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events, others] });
  const clock = new VirtualClock();
  const reader = worker({ clock });
  const gate = new Gate();
  let failure: Error | undefined;
  // A worker stops when its handlers are through.
  onTestFinished(() => gate.open());
  reader.subscribe(events, { from: 'now' }, async () => {
    await gate.opened;
    if (failure !== undefined) throw failure;
  });
  reader.subscribe(others, { from: 'now' }, () => {});
  await reader.start();
  await server.append(events, [1]);
  const fail = (error: Error): void => {
    failure = error;
    gate.open();
  };
  return { server, worker: reader, clock, gate: { open: gate.open, fail }, judge: judgeRequests(reader, options) };
}
