import { describe, expect, test } from 'vitest';
import { describeRows } from '../../../test/support/session-ends.ts';
import type { Token } from '../model/token.ts';
import type { Greeting } from '../wire/greeting.ts';
import { type InterestOutput, Interests, type Position } from './interests.ts';

type From = Position | 'start' | 'now';

const rowcast = (...streams: readonly string[]): Greeting => ({
  logId: 'abc',
  streams: new Set(streams),
  volatileStreams: new Set(),
});
const at = (token: Token, logId = 'abc'): Position => ({ token, logId });

function following(from: Readonly<Record<string, From>>, onReset: 'fail' | 'earliest' | 'now' = 'fail'): Interests {
  const interests = new Interests();
  for (const [stream, start] of Object.entries(from)) interests.add({ stream, from: start, onReset });
  return interests;
}

const requests = (interests: Interests): string[] =>
  interests.takeRequests().map(({ stream, from }) => `${stream} ${from}`);
const told = (outputs: readonly InterestOutput[]): string[] => outputs.map((output) => describeRows(output));
const batch = (stream: string, token: Token, position: Token | undefined = token) =>
  ({ kind: 'batch', stream, token, rows: [], bytes: 10, position }) as const;
const position = (stream: string, token: Token, isLive = true) =>
  ({ kind: 'position', stream, token, isLive }) as const;

describe('from where a stream is asked for', () => {
  test('a token, the start, now', () => {
    const interests = following({ a: { token: 53 }, b: 'start', c: 'now' });
    interests.handleGreeted(rowcast('a', 'b', 'c'));
    expect(requests(interests)).toEqual(['a 53', 'b 0', 'c NOW']);
  });

  test('once per connection', () => {
    const interests = following({ a: { token: 53 } });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    expect(requests(interests)).toEqual([]);
    expect(interests.wasAsked('a')).toBe(true);
    interests.handleClosed();
    expect(interests.wasAsked('a')).toBe(false);
    interests.handleGreeted(rowcast('a'));
    expect(requests(interests)).toEqual(['a 53']);
  });

  test('after the last whole batch, with the history that it is of', () => {
    const interests = following({ a: 'start' });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    expect(interests.handleRows(batch('a', 7)).result).toMatchObject({ position: { token: 7, logId: 'abc' } });
    interests.handleClosed();
    interests.handleGreeted(rowcast('a'));
    expect(requests(interests)).toEqual(['a 7']);
  });

  test('a batch that tells no position moves nothing', () => {
    const interests = following({ a: 'now' });
    interests.handleGreeted(undefined);
    requests(interests);
    expect(interests.handleRows({ ...batch('a', 7), position: undefined }).result).toMatchObject({
      token: 7,
      position: undefined,
    });
    interests.handleClosed();
    interests.handleGreeted(undefined);
    expect(requests(interests)).toEqual(['a NOW']);
    interests.handleRows(position('a', 9));
    interests.handleClosed();
    expect(requests(interests)).toEqual(['a 9']);
  });

  test('rows of a stream that nobody follows any more are dropped', () => {
    const interests = following({ a: 'now' });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    interests.remove('a');
    expect(interests.handleRows(batch('a', 7))).toEqual({ result: undefined });
    expect(interests.isLive('a')).toBe(false);
  });

  test('so are rows of a request that was replaced by another one', () => {
    const interests = following({ a: 'now' });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    interests.add({ stream: 'a', from: { token: 3 }, onReset: 'fail' });
    expect(interests.handleRows(batch('a', 70)).result).toBeUndefined();
    expect(interests.handleRows(position('a', 70)).result).toBeUndefined();
    interests.handleClosed();
    interests.handleGreeted(rowcast('a'));
    expect(requests(interests)).toEqual(['a 3']);
  });
});

describe('live', () => {
  test('is when every stream has reached its POSITION on this connection', () => {
    const interests = following({ a: 'now', b: 'now' });
    interests.handleGreeted(rowcast('a', 'b'));
    requests(interests);
    interests.handleRows(position('a', 1));
    expect([interests.isLive('a'), interests.isLive('b'), interests.isAllLive]).toEqual([true, false, false]);
    interests.handleRows(position('b', 1));
    expect(interests.isAllLive).toBe(true);
    interests.handleClosed();
    expect(interests.isAllLive).toBe(false);
  });

  test('who follows nothing is live', () => {
    expect(new Interests().isAllLive).toBe(true);
  });

  test('who follows all is not before the primary has named a stream', () => {
    const interests = new Interests();
    interests.addAll({ from: 'now', onReset: 'fail' });
    expect(interests.isAllLive).toBe(false);
    interests.handleGreeted(undefined);
    requests(interests);
    expect(interests.isAllLive).toBe(false);
    interests.handleRows(position('events', 4));
    expect(interests.isAllLive).toBe(true);
  });
});

describe('another history', () => {
  test.each([
    ['fail', ['a failed RESET'], []],
    ['earliest', ['a reset'], ['a 0']],
    ['now', ['a reset'], ['a NOW']],
  ] as const)('a log id that is not that of the position is a reset: %s', (onReset, outputs, asked) => {
    const interests = following({ a: at(53, 'old') }, onReset);
    const [output] = interests.handleGreeted(rowcast('a')).results;
    expect(told([output!])).toEqual(outputs);
    expect(output).toMatchObject({
      error: { code: 'RESET', message: 'stream a has another history: its log id is abc, position 53 is of old' },
    });
    expect(requests(interests)).toEqual(asked);
  });

  test('the same log id, none at the position, or none in the greeting, is none', () => {
    const interests = following({ a: at(53), b: { token: 5 } });
    expect(interests.handleGreeted(rowcast('a', 'b')).results).toEqual([]);
    interests.handleClosed();
    expect(interests.handleGreeted({}).results).toEqual([]);
    expect(requests(interests)).toEqual(['a 53', 'b 5']);
  });

  test('a stream kept in memory is of the history of the memory', () => {
    const greeting = { ...rowcast('a', 'typing'), volatileLogId: 'mem2', volatileStreams: new Set(['typing']) };
    const interests = following({ a: at(53), typing: at(9, 'mem1') }, 'earliest');
    expect(told(interests.handleGreeted(greeting).results)).toEqual(['typing reset']);
    expect(requests(interests)).toEqual(['a 53', 'typing 0']);
  });

  test('a stream that is added later is checked too', () => {
    const interests = new Interests();
    expect(interests.checkAdded('a')).toEqual([]);
    interests.handleGreeted(rowcast('a'));
    expect(interests.checkAdded('a')).toEqual([]);
    interests.add({ stream: 'a', from: at(5, 'old'), onReset: 'now' });
    interests.add({ stream: 'b', from: 'now', onReset: 'now' });
    expect(told([...interests.checkAdded('a'), ...interests.checkAdded('b')])).toEqual([
      'a reset',
      'b failed UNKNOWN_STREAM',
    ]);
    expect(requests(interests)).toEqual(['a NOW']);
  });
});

describe('a greeting that came late, after something was asked for', () => {
  test('needs another connection where what was asked for is of another history', () => {
    const interests = following({ a: at(53, 'old'), b: { token: 5 } }, 'earliest');
    interests.handleGreeted(undefined);
    requests(interests);
    const { results, isReconnectNeeded } = interests.handleGreeted(rowcast('a', 'b'));
    expect([told(results), isReconnectNeeded]).toEqual([['a reset'], true]);
    interests.handleClosed();
    interests.handleGreeted(undefined);
    requests(interests);
    expect(interests.handleGreeted(rowcast('a', 'b')), 'not for ever').toEqual({
      results: [],
      isReconnectNeeded: false,
    });
  });

  test('needs one where all was asked for by one line: by name each stream comes in its order', () => {
    const interests = new Interests();
    interests.addAll({ from: 'now', onReset: 'fail' });
    interests.handleGreeted(undefined);
    expect(requests(interests)).toEqual(['ALL NOW']);
    expect(interests.handleGreeted(rowcast('a', 'b')).isReconnectNeeded).toBe(true);
    interests.handleClosed();
    expect(interests.handleGreeted(rowcast('a', 'b')).isReconnectNeeded).toBe(false);
    expect(requests(interests)).toEqual(['a NOW', 'b NOW']);
  });
});

describe('a history that ended on the connection', () => {
  const reset = { kind: 'reset', stream: 'a', token: 2 } as const;

  test.each([
    ['fail', 'a failed RESET', undefined, []],
    ['earliest', 'a reset @2', undefined, ['a 2']],
    ['now', 'a reset', 'reconnect', ['a NOW']],
  ] as const)('%s', (onReset, output, next, asked) => {
    const interests = following({ a: at(53) }, onReset);
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    const handled = interests.handleRows(reset);
    expect(told([handled.result!])).toEqual([output]);
    expect(handled.result).toMatchObject({
      error: { message: "stream a started afresh: the primary's history does not reach our position 53" },
    });
    expect(handled.next).toBe(next);
    expect(interests.handleRows(batch('a', 3)).result === undefined, 'rows of the new history').toBe(
      onReset !== 'earliest',
    );
    interests.handleClosed();
    interests.handleGreeted(rowcast('a'));
    expect(requests(interests)).toEqual(onReset === 'earliest' ? ['a 3'] : asked);
  });

  test('is nothing to who wants all that is kept and has received nothing', () => {
    const interests = following({ a: 'start' });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    expect(interests.handleRows(reset)).toEqual({ result: undefined });
    expect(interests.handleRows(batch('a', 3)).result).toBeDefined();
  });
});

describe('a gap', () => {
  const text = 'stream a starts at 40, asked for 7';

  test.each([
    ['fail', 'a failed GAP', []],
    ['earliest', 'a reset @39', ['a 39']],
    ['now', 'a reset', ['a NOW']],
  ] as const)('%s', (onReset, output, asked) => {
    const interests = following({ a: at(7), b: 'now' }, onReset);
    interests.handleGreeted(rowcast('a', 'b'));
    requests(interests);
    const outputs = interests.handlePeerError(text);
    expect(told(outputs)).toEqual([output]);
    expect(outputs[0]).toMatchObject({
      error: { code: 'GAP', message: 'rows of stream a after 7 are no longer kept: it starts at 40' },
    });
    interests.handleClosed();
    interests.handleGreeted(rowcast('a', 'b'));
    expect(requests(interests).filter((request) => request.startsWith('a'))).toEqual(asked);
  });

  test('is none to who wants all that is kept, however often the start moves', () => {
    const interests = following({ a: 'start' });
    for (const earliest of [40, 50]) {
      interests.handleGreeted(rowcast('a'));
      requests(interests);
      expect(interests.handlePeerError(`stream a starts at ${earliest}, asked for 0`)).toEqual([]);
      interests.handleClosed();
    }
    interests.handleGreeted(rowcast('a'));
    expect(requests(interests)).toEqual(['a 49']);
  });

  test('the start that one history told says nothing about another', () => {
    const interests = following({ a: 'start' });
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    interests.handlePeerError(text);
    interests.handleClosed();
    interests.handleGreeted({ ...rowcast('a'), logId: 'new' });
    expect(requests(interests)).toEqual(['a 0']);
  });

  test.each([
    'stream a starts at 0, asked for 7',
    'stream a starts at 9999999999999999, asked for 7',
    'stream a starts at -5, asked for 7',
  ])('impossible tokens in an ERROR of the peer give no impossible request: %s', (error) => {
    const interests = following({ a: at(7) }, 'earliest');
    interests.handleGreeted(rowcast('a'));
    requests(interests);
    interests.handlePeerError(error);
    interests.handleClosed();
    for (const { from } of interests.takeRequests())
      expect(from).toSatisfy((token: number) => Number.isSafeInteger(token) && token >= 0);
  });

  test.each([
    'Failed to keep up',
    'stream c starts at 40, asked for 7',
    'stream a starts at x, asked for 7',
    'unknown stream c',
    '',
  ])('any other ERROR is none: %j', (error) => {
    expect(following({ a: at(7) }).handlePeerError(error)).toEqual([]);
  });
});

describe('a real Synapse that a stream is too far behind for', () => {
  const text = "failed to handle replicate: Exception('stream a has fallen behind')";

  test.each([
    ['fail', 'a failed TOO_FAR_BEHIND', []],
    ['earliest', 'a failed TOO_FAR_BEHIND', []],
    ['now', 'a reset', ['a NOW']],
  ] as const)('is not asked the same again: onReset %s', (onReset, output, asked) => {
    const interests = following({ a: at(7), b: 'now' }, onReset);
    interests.handleGreeted(undefined);
    requests(interests);
    const outputs = interests.handlePeerError(text);
    expect(told(outputs)).toEqual([output]);
    expect(outputs[0]).toMatchObject({
      error: { name: 'PeerError', code: 'TOO_FAR_BEHIND', message: expect.stringContaining('start at now') as unknown },
    });
    interests.handleClosed();
    interests.handleGreeted(undefined);
    expect(requests(interests).filter((request) => request.startsWith('a'))).toEqual(asked);
  });
});

describe('a stream that the primary does not have', () => {
  test('fails by the greeting, and the others go on', () => {
    const interests = following({ a: 'now', b: 'now' });
    const outputs = interests.handleGreeted(rowcast('b')).results;
    expect(told(outputs)).toEqual(['a failed UNKNOWN_STREAM']);
    expect(outputs[0]).toMatchObject({
      error: { message: 'the primary has no stream a: declare it there, or check the name' },
    });
    expect(requests(interests)).toEqual(['b NOW']);
  });

  test('fails by ERROR where the greeting names no streams', () => {
    const interests = following({ a: 'now', b: 'now' });
    interests.handleGreeted({ logId: 'abc' });
    requests(interests);
    expect(told(interests.handlePeerError('unknown stream a'))).toEqual(['a failed UNKNOWN_STREAM']);
    interests.handleClosed();
    expect(requests(interests)).toEqual(['b NOW']);
  });

  test("fails by a real Synapse's ERROR too", () => {
    const interests = following({ a: 'now', b: 'now' });
    interests.handleGreeted(undefined);
    requests(interests);
    const text = "failed to handle replicate: Exception('unknown stream %s', 'a')";
    expect(told(interests.handlePeerError(text))).toEqual(['a failed UNKNOWN_STREAM']);
  });
});

describe('all streams of a primary that names them', () => {
  test('are asked for stream by stream, each from its own position', () => {
    const interests = new Interests();
    interests.addAll({ from: 'start', onReset: 'fail', positions: new Map([['b', at(7)]]) });
    interests.add({ stream: 'c', from: 'now', onReset: 'fail' });
    interests.handleGreeted(rowcast('a', 'b', 'c'));
    expect(requests(interests).toSorted()).toEqual(['a 0', 'b 7', 'c NOW']);
  });

  test('a stream that was given up, or failed, does not come back', () => {
    const interests = new Interests();
    interests.addAll({ from: 'now', onReset: 'fail' });
    interests.remove('b');
    interests.handleGreeted(rowcast('a', 'b'));
    expect(requests(interests)).toEqual(['a NOW']);
    interests.add({ stream: 'b', from: 'start', onReset: 'fail' });
    expect(requests(interests)).toEqual(['b 0']);
  });
});

describe('all streams of a primary that does not name them', () => {
  const followingAll = (from: From, named: Readonly<Record<string, From>> = {}): Interests => {
    const interests = following(named);
    interests.addAll({ from, onReset: 'fail' });
    interests.handleGreeted(undefined);
    return interests;
  };

  test('are asked for by ALL, and followed as they come', () => {
    const interests = followingAll('now');
    expect(requests(interests)).toEqual(['ALL NOW']);
    expect(
      told([
        interests.handleRows(position('events', 75)).result!,
        interests.handleRows({ ...batch('typing', 3), position: undefined }).result!,
      ]),
    ).toEqual(['events @75 live', 'typing 3 []']);
    expect(requests(interests)).toEqual([]);
  });

  test('one with a place of its own is asked for by name after ALL has told its POSITION, and only then counts', () => {
    const interests = followingAll('now', { events: { token: 53 } });
    expect(requests(interests)).toEqual(['ALL NOW']);
    expect(interests.handleRows({ ...batch('events', 70), position: undefined }), 'it is not yet its turn').toEqual({
      result: undefined,
    });
    expect(interests.handleRows(position('events', 75))).toEqual({ result: undefined, next: 'ask' });
    expect(interests.isLive('events')).toBe(false);
    expect(requests(interests)).toEqual(['events 53']);
    expect(told([interests.handleRows({ ...batch('events', 54), position: undefined }).result!])).toEqual([
      'events 54 []',
    ]);
    expect(told([interests.handleRows(position('events', 75)).result!])).toEqual(['events @75 live']);
    expect(requests(interests)).toEqual([]);
  });

  test('one that is asked for as ALL asks needs no line of its own', () => {
    const interests = followingAll('now', { events: 'now' });
    expect(requests(interests)).toEqual(['ALL NOW']);
    expect(interests.handleRows(position('events', 75)).result).toBeDefined();
    expect(requests(interests)).toEqual([]);
  });

  test('after a reconnect ALL finds the streams that are new, and the others resume', () => {
    const interests = followingAll('now');
    requests(interests);
    interests.handleRows(position('events', 75));
    interests.handleClosed();
    interests.handleGreeted(undefined);
    expect(requests(interests)).toEqual(['ALL NOW']);
    expect(interests.handleRows(position('brand_new', 4)).result).toBeDefined();
    expect(interests.handleRows(position('events', 90)).next).toBe('ask');
    expect(requests(interests)).toEqual(['events 75']);
  });

  test('one that was given up does not come back, and is asked for on another connection when it is wanted again', () => {
    const interests = followingAll('now');
    requests(interests);
    interests.remove('events');
    expect(interests.handleRows(position('events', 75)).result).toBeUndefined();
    interests.add({ stream: 'events', from: 'start', onReset: 'fail' });
    expect(interests.wasAsked('events')).toBe(true);
  });

  test('one that is added before it came waits for its POSITION', () => {
    const interests = followingAll('now');
    requests(interests);
    interests.add({ stream: 'events', from: { token: 3 }, onReset: 'fail' });
    expect(interests.wasAsked('events')).toBe(false);
    expect(requests(interests)).toEqual([]);
    expect(interests.handleRows(position('events', 75)).next).toBe('ask');
    expect(requests(interests)).toEqual(['events 3']);
  });
});
