import { describe, expect, test } from 'vitest';
import { era, MemoryStreams } from '../../../test/support/memory-streams.ts';
import { bytesOf, PrimaryEnd, type PrimaryEndOptions, T0 } from '../../../test/support/primary-end.ts';
import { LogError } from '../model/errors.ts';

// The peer of this file is not Rowcast: every line to it is the seed's (docs/protocol.md,
// "Commands").
const opened = (options?: PrimaryEndOptions): PrimaryEnd => PrimaryEnd.opened(options);

describe('greeting', () => {
  test('SERVER is the first line of every connection, and PING follows at once', () => {
    const end = new PrimaryEnd({ streams: new MemoryStreams('events', 'typing') });
    const { durable, volatile } = end.streams.eras;
    expect(end.open()).toEqual(['SERVER example.com', `PING ${T0} rowcast/2 log=${durable} mem=${volatile}`]);
  });

  test('a session opens once', () => {
    expect(() => opened().open()).toThrow(/Bug in Rowcast/);
  });

  test('a worker is known by its last NAME', () => {
    const end = opened();
    expect(end.session.workerName).toBeUndefined();
    end.hear('NAME reader 1');
    end.hear('NAME reader-2');
    expect(end.session.workerName).toBe('reader-2');
    expect(end.outputs.of('event').map(({ event }) => event)).toEqual([
      { kind: 'named', workerName: 'reader 1' },
      { kind: 'named', workerName: 'reader-2' },
    ]);
  });
});

describe('what a worker says', () => {
  test('commands for the application are told in order', () => {
    const end = opened();
    expect(end.hear('USER_SYNC @a:b start 5', 'FEDERATION_ACK 7', 'SYNC x', 'INVALIDATE_CACHE c []')).toEqual([]);
    expect(end.outputs.of('event').map(({ event }) => event)).toEqual([
      { kind: 'command', command: { name: 'USER_SYNC', userId: '@a:b', state: 'start', lastSyncMs: 5 } },
      { kind: 'command', command: { name: 'FEDERATION_ACK', token: 7 } },
      { kind: 'command', command: { name: 'SYNC', text: 'x' } },
      { kind: 'command', command: { name: 'INVALIDATE_CACHE', cacheName: 'c', keys: [] } },
    ]);
  });

  test('an ERROR is reported and the connection lives on', () => {
    const end = opened();
    expect(end.hear('ERROR out of sorts', 'REPLICATE events NOW')).toEqual(['POSITION events 0']);
    expect(end.outputs.of('event')[0]?.event).toEqual({ kind: 'peer-error', text: 'out of sorts' });
  });

  test.each([
    ['RDATA events 1 []', 'invalid command: RDATA'],
    ['POSITION events 1', 'invalid command: POSITION'],
    ['SERVER me', 'invalid command: SERVER'],
    ['FOO bar', 'invalid command: FOO'],
    ['REPLICATE events abc', 'failed to parse line for REPLICATE: expected a token (0 to 2^53-1), not abc'],
    ['REPLICATE events START', 'failed to parse line for REPLICATE: expected a token (0 to 2^53-1), not START'],
    ['RELEASE events', 'invalid command: RELEASE'],
    ['APPLIED events 1 1', 'invalid command: APPLIED'],
    ['REPLICATE nosuch 5', 'unknown stream nosuch'],
    ['REPLICATE $streams NOW', 'unknown stream $streams'],
  ])('%s is answered by ERROR and a close, and what follows is not read', (line, text) => {
    const end = opened();
    expect(end.hear('NAME a', line, 'NAME b', 'REPLICATE nosuch 6')).toEqual([`ERROR ${text}`]);
    expect(end.hear('REPLICATE events NOW')).toEqual([]);
    expect(end.session.workerName).toBe('a');
    expect(end.outputs.story.slice(-3)).toEqual(['event', `ERROR ${text}`, 'close']);
    expect(end.events).toEqual(['named', 'failed']);
  });

  test('bytes that are not UTF-8 after a line that failed are not a second fault', () => {
    const end = opened();
    expect(end.hearBytes(Buffer.concat([bytesOf('REPLICATE nosuch 5'), Buffer.from([0xff, 0x0a])]))).toEqual([
      'ERROR unknown stream nosuch',
    ]);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('bytes that are not UTF-8 are answered after the good lines before them', () => {
    const end = opened();
    expect(end.hearBytes(Buffer.concat([bytesOf('REPLICATE events NOW'), Buffer.from([0xff, 0x0a])]))).toEqual([
      'POSITION events 0',
      'ERROR invalid UTF-8',
    ]);
  });

  test('a line over maxLineBytes is answered', () => {
    const end = opened({ limits: { maxLineBytes: 16 } });
    expect(end.hear('NAME 12345678901')).toEqual([]);
    expect(end.hear('NAME 123456789012')).toEqual(['ERROR Line length exceeded']);
  });

  test('no text of a peer makes an answer that cannot be sent', () => {
    for (let length = 95; length < 105; length++) {
      const end = opened();
      expect(end.hear(`${'x'.repeat(length)}😀😀😀`)).toEqual([expect.stringMatching(/^ERROR invalid command: x+/)]);
    }
  });
});

describe('REPLICATE', () => {
  test('from NOW is answered by POSITION, and live rows follow', () => {
    const end = opened();
    end.streams.append('events', 'old');
    expect(end.hear('REPLICATE events NOW')).toEqual(['POSITION events 1']);
    expect(end.append('events', 'new')).toEqual(['RDATA events 2 "new"']);
    expect(end.session.subscriptions).toEqual([expect.objectContaining({ stream: 'events', sent: 2, state: 'live' })]);
  });

  test('from a token: rows after it in whole batches, POSITION once at the end, then live rows by the same path', () => {
    const end = opened();
    for (let i = 1; i <= 4; i++) end.streams.append('events', `${i}a`, `${i}b`);
    expect(end.hear('REPLICATE events 2')).toEqual([
      'RDATA events batch "3a"',
      'RDATA events 3 "3b"',
      'RDATA events batch "4a"',
      'RDATA events 4 "4b"',
      'POSITION events 4',
    ]);
    expect(end.append('events', 5)).toEqual(['RDATA events 5 5']);
    expect(end.append('events', 6)).toEqual(['RDATA events 6 6']);
    expect(end.events).toEqual(['subscribed', 'live']);
  });

  test('from the latest token there is nothing to catch up with', () => {
    const end = opened();
    end.streams.append('events', 1);
    expect(end.hear('REPLICATE events 1')).toEqual(['POSITION events 1']);
  });

  test('from a negative token means from 0', () => {
    const end = opened();
    end.streams.append('events', 1);
    expect(end.hear('REPLICATE events -1')).toEqual(['RDATA events 1 1', 'POSITION events 1']);
  });

  test('ALL NOW is every stream from now', () => {
    const end = opened();
    end.streams.append('events', 1);
    expect(end.hear('REPLICATE ALL NOW')).toEqual(['POSITION events 1', 'POSITION typing 0']);
    expect(end.append('typing', 'x')).toEqual(['RDATA typing 1 "x"']);
  });

  test('ALL with a number is each stream from that token', () => {
    const end = opened();
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.streams.append('typing', 1);
    end.streams.append('typing', 2);
    expect(end.hear('REPLICATE ALL 1')).toEqual([
      'RDATA events 2 2',
      'RDATA events 3 3',
      'POSITION events 3',
      'RDATA typing 2 2',
      'POSITION typing 2',
    ]);
  });

  test('ALL stops at the first stream that cannot be served', () => {
    const end = opened({ trimmed: 'refuse' });
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.streams.trim('events', 2);
    expect(end.hear('REPLICATE ALL 0')).toEqual(['ERROR stream events starts at 3, asked for 0']);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('for a stream that is replicated already starts it afresh from the new token', () => {
    const end = opened();
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.hear('REPLICATE events NOW');
    expect(end.hear('REPLICATE events 1')).toEqual(['RDATA events 2 2', 'RDATA events 3 3', 'POSITION events 3']);
    expect(end.append('events', 4)).toEqual(['RDATA events 4 4']);
    expect(end.session.subscriptions).toHaveLength(1);
  });

  test('a page that was read for an older request is not sent', () => {
    const end = opened();
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.isReading = false;
    expect(end.hear('REPLICATE events 0')).toEqual([]);
    expect(end.hear('REPLICATE events 2')).toEqual([]);
    end.isReading = true;
    const stale = end.outputs.of('read')[0]!;
    expect(stale.after).toBe(0);
    expect(end.answer()).toEqual(['RDATA events 3 3', 'POSITION events 3']);
  });

  test('asking again and again for the same stream waits in line once', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.hear(...Array.from({ length: 1_000 }, () => 'REPLICATE events 0'));
    expect(end.answer()).toEqual([]);
    expect(end.answer()).toEqual(['RDATA events 1 1', 'POSITION events 1']);
    expect(end.outputs.of('read')).toHaveLength(2);
  });
});

describe('a worker whose token was never given here, which knows itself what it has', () => {
  test('gets POSITION at latest alone, no row twice, and live rows', () => {
    const end = opened();
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.streams.trim('events', 1);
    expect(end.hear('REPLICATE events 90')).toEqual(['POSITION events 3']);
    expect(end.append('events', 4)).toEqual(['RDATA events 4 4']);
    expect(end.codes).toEqual([]);
  });

  test('also where nothing is kept', () => {
    const end = opened();
    expect(end.hear('REPLICATE events 90')).toEqual(['POSITION events 0']);
    end.streams.standAt('typing', 7);
    expect(end.hear('REPLICATE typing 8')).toEqual(['POSITION typing 7']);
    expect(end.append('typing', 'x')).toEqual(['RDATA typing 8 "x"']);
  });
});

describe('rows that are no longer kept', () => {
  const trimmedTo = (upTo: number, options?: PrimaryEndOptions): PrimaryEnd => {
    const end = opened(options);
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.streams.trim('events', upTo);
    return end;
  };

  test('are left out: what is kept comes, then POSITION, and the application is warned', () => {
    const end = trimmedTo(3);
    expect(end.hear('NAME old', 'REPLICATE events 2')).toEqual([
      'RDATA events 4 4',
      'RDATA events 5 5',
      'POSITION events 5',
    ]);
    expect(end.outputs.of('event').find(({ event }) => event.kind === 'refused')?.event).toMatchObject({
      error: {
        code: 'TRIMMED',
        message: 'worker old asked for stream events after 2, which starts at 4: it gets what is kept',
        facts: { stream: 'events', earliest: 4, asked: 2 },
      },
    });
    expect(end.isClosing).toBe(false);
  });

  test('where nothing at all is kept, POSITION comes alone', () => {
    const end = trimmedTo(5);
    expect(end.hear('REPLICATE events 2')).toEqual(['POSITION events 5']);
    expect(end.codes).toEqual(['TRIMMED']);
    expect(end.append('events', 6)).toEqual(['RDATA events 6 6']);
  });

  test("with `trimmed: 'refuse'` they are refused by an ERROR that names stream, earliest and token", () => {
    const end = trimmedTo(3, { trimmed: 'refuse' });
    expect(end.hear('REPLICATE events 2')).toEqual(['ERROR stream events starts at 4, asked for 2']);
    expect(end.outputs.of('event').at(-1)?.event).toMatchObject({ kind: 'failed', error: { code: 'GAP' } });
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('the token before the earliest row is still served, and nobody is warned', () => {
    const end = trimmedTo(4);
    expect(end.hear('REPLICATE events 4')).toEqual(['RDATA events 5 5', 'POSITION events 5']);
    expect(end.codes).toEqual([]);
  });

  test.each(['serve', 'refuse'] as const)('a catch-up that was overtaken by a trim: %s', (trimmed) => {
    const end = opened({ trimmed });
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.streams.trim('events', 3);
    const gap = new LogError('LOG_GAP', 'sqlite data/rowcast.db: starts at 4');
    if (trimmed === 'refuse') {
      expect(end.failRead(gap)).toEqual(['ERROR stream events starts at 4, asked for 0']);
      return;
    }
    expect(end.failRead(gap)).toEqual([]);
    expect(end.answer()).toEqual(['RDATA events 4 4', 'RDATA events 5 5', 'POSITION events 5']);
    expect(end.codes).toEqual(['TRIMMED']);
  });

  test.each([
    [6, ['RDATA events 7 7', 'POSITION events 7']],
    [7, ['POSITION events 7']],
  ])('a live stream whose rows up to %i are trimmed unread gets what is kept, then POSITION', (upTo, expected) => {
    const end = trimmedTo(0);
    end.hear('REPLICATE events NOW');
    end.isReading = false;
    end.append('events', 6);
    end.append('events', 7);
    end.streams.trim('events', upTo);
    end.isReading = true;
    expect(end.failRead(new LogError('LOG_GAP', 'gone'))).toEqual(expected);
    expect(end.codes).toEqual(['TRIMMED']);
    expect(end.append('events', 8)).toEqual(['RDATA events 8 8']);
  });

  test('a log that cannot be read is not described to the peer', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    const error = new LogError('LOG_UNAVAILABLE', 'cannot read /srv/data/rowcast.db');
    expect(end.failRead(error)).toEqual(['ERROR cannot read stream events']);
    expect(end.outputs.of('close')).toEqual([{ kind: 'close', reason: error }]);
  });

  test('neither is one that cannot be asked', () => {
    const end = opened();
    end.isJudging = false;
    end.hear('REPLICATE events 0');
    const error = new LogError('LOG_UNAVAILABLE', 'cannot read /srv/data/rowcast.db');
    end.session.handleJudgeFailed(end.now, end.outputs.of('judge')[0]!, error);
    expect(end.drain()).toEqual(['ERROR cannot read stream events']);
    expect(end.outputs.of('close')).toEqual([{ kind: 'close', reason: error }]);
  });

  test('a read that fails after its subscription was replaced harms nobody', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0', 'REPLICATE events NOW');
    end.hear('REPLICATE events 0', 'REPLICATE events NOW');
    expect(end.outputs.of('read')).toHaveLength(0);
    end.hear('REPLICATE events 0');
    end.hear('REPLICATE events NOW');
    expect(end.failRead(new LogError('LOG_GAP', 'gone'))).toEqual([]);
    expect(end.isClosing).toBe(false);
  });

  test('so does a verdict that comes too late', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isJudging = false;
    end.hear('REPLICATE events 0', 'REPLICATE events NOW');
    const late = end.outputs.of('judge')[0]!;
    for (const verdict of ['on', 'gap', 'reset', 'ahead'] as const)
      expect(end.judged({ request: late, verdict })).toEqual([]);
    end.session.handleJudgeFailed(end.now, late, new LogError('LOG_UNAVAILABLE', 'gone'));
    expect(end.drain()).toEqual([]);
    expect(end.stateOf('events')).toBe('live');
  });
});

describe('the lines of the seed, and no other', () => {
  test.each([
    ['sends no PING', []],
    ['sends any other PING', ['PING 1490197665630']],
    ['sends that of an earlier Rowcast', ['PING 1490197665630 rowcast/1']],
    ['says rowcast/2 in a later PING only', ['PING 1', 'PING 2 rowcast/2 attr']],
  ])('go to a peer that %s', (_what, pings) => {
    const end = opened();
    end.hear(...pings);
    end.streams.appendWith({ traceparent: '00-1' }, 'events', 1);
    end.streams.era = era(2);
    end.streams.append('events', 2);
    expect(end.hear('REPLICATE events 0')).toEqual(['RDATA events 1 1', 'RDATA events 2 2', 'POSITION events 2']);
    expect(end.beginEra(era(3))).toEqual([]);
    expect(end.append('events', 3)).toEqual(['RDATA events 3 3']);
    expect(end.hear('RELEASE events')).toEqual(['ERROR invalid command: RELEASE']);
  });
});
