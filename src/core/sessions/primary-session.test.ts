import { describe, expect, test } from 'vitest';
import { MemoryStreams } from '../../../test/support/memory-streams.ts';
import { bytesOf, PrimaryEnd, T0 } from '../../../test/support/session-ends.ts';
import { LogError } from '../model/errors.ts';

const opened = (
  streams: MemoryStreams = new MemoryStreams('events', 'typing'),
  options: Partial<ConstructorParameters<typeof PrimaryEnd>[0]> = {},
): PrimaryEnd => PrimaryEnd.opened({ ...options, streams });

describe('greeting', () => {
  test('SERVER is the first line of every connection, and PING follows at once', () => {
    const end = new PrimaryEnd({ streams: new MemoryStreams('events', 'typing') });
    expect(end.open()).toEqual(['SERVER example.com', `PING ${T0} rowcast/1 log=abc streams=events,typing`]);
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
    ['REPLICATE nosuch 5', 'unknown stream nosuch'],
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
    const end = opened(undefined, { limits: { maxLineBytes: 16 } });
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
    expect(end.session.subscriptions).toEqual([{ stream: 'events', position: 2, state: 'live' }]);
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
    const end = opened();
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

describe('a worker whose token the history never gave is rewound', () => {
  test('POSITION before the earliest row kept, the rows that are kept, POSITION at latest', () => {
    const end = opened();
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.streams.trim('events', 1);
    expect(end.hear('REPLICATE events 90')).toEqual([
      'POSITION events 1',
      'RDATA events 2 2',
      'RDATA events 3 3',
      'POSITION events 3',
    ]);
  });

  test('where nothing is kept both POSITIONs are the same: rewound, and caught up', () => {
    const end = opened();
    expect(end.hear('REPLICATE events 90')).toEqual(['POSITION events 0', 'POSITION events 0']);
    end.streams.standAt('typing', 7);
    expect(end.hear('REPLICATE typing 8')).toEqual(['POSITION typing 7', 'POSITION typing 7']);
    expect(end.append('typing', 'x')).toEqual(['RDATA typing 8 "x"']);
  });
});

describe('rows that are no longer kept', () => {
  test('are refused by an ERROR that names stream, earliest and token', () => {
    const end = opened();
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.streams.trim('events', 3);
    expect(end.hear('REPLICATE events 2')).toEqual(['ERROR stream events starts at 4, asked for 2']);
    expect(end.outputs.of('event').at(-1)?.event).toMatchObject({ kind: 'failed', error: { code: 'GAP' } });
  });

  test('the token before the earliest row is still served', () => {
    const end = opened();
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.streams.trim('events', 4);
    expect(end.hear('REPLICATE events 4')).toEqual(['RDATA events 5 5', 'POSITION events 5']);
  });

  test('a subscription that was overtaken by a trim is told so', () => {
    const end = opened();
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.streams.trim('events', 3);
    end.session.handleReadFailed(end.now, 'events', new LogError('LOG_GAP', 'sqlite data/rowcast.db: starts at 4'));
    expect(end.drain()).toEqual(['ERROR stream events starts at 4, asked for 0']);
  });

  test('a log that cannot be read is not described to the peer', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    const error = new LogError('LOG_UNAVAILABLE', 'cannot read /srv/data/rowcast.db');
    end.session.handleReadFailed(end.now, 'events', error);
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
    end.session.handleReadFailed(end.now, 'events', new LogError('LOG_GAP', 'gone'));
    expect(end.drain()).toEqual([]);
    expect(end.isClosing).toBe(false);
  });
});
