/**
 * Streams that are followed through patterns: several patterns, their boundaries, and streams that
 * are deleted and made again (docs/protocol.md, "Patterns and every stream").
 */

import { describe, expect, test } from 'vitest';
import {
  at,
  ERA,
  era,
  FollowerEnd,
  type FollowerEndOptions,
  MEMORY,
  ORIGIN,
  ROWCAST,
  rowcast,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import type { Position } from '../model/position.ts';

const MEMORY_ORIGIN = `${MEMORY.slice(0, 16)}.0.00000000`;
const DELETED = '{"earliest":1,"latest":0,"deleted":true}';

const made = (token: number, stream: string): string => `RDATA $streams ${token} {"stream":"${stream}","made":1}`;
const deleted = (token: number, stream: string): string => `RDATA $streams ${token} {"stream":"${stream}","deleted":1}`;
const requestsOf = (lines: readonly string[]): string[] =>
  lines.filter((line) => / (?!\$streams)/.test(line.slice(0, line.indexOf(' ') + 2)) && !line.includes('$streams'));

/** The catalog of the volatile log is read, and empty. */
const NO_VOLATILE = [
  `POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`,
  'RELEASED $streams.volatile',
  `POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`,
];

/** The answer to START: rows of `$streams`, and where it stands. */
function list(upTo: number, ...rows: readonly string[]): string[] {
  return ['RELEASED $streams', `HISTORY $streams 0 ${ERA}`, ...rows, `POSITION $streams ${upTo} ${ERA}`];
}

interface Following extends FollowerEndOptions {
  readonly from?: 'start' | 'now';
  readonly positions?: readonly Position[];
}

/** Follows `room:*` at a primary that has `room:1` at token 1 of `$streams`, and is live. */
function following({ from = 'now', positions, ...options }: Following = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribeMatching('room:*', from, 'fail', positions);
  end.greetedBy(ROWCAST);
  end.hear(...NO_VOLATILE, `POSITION $streams 1 ${ERA}`, ...list(1, made(1, 'room:1')), `POSITION room:1 5 ${ERA}`);
  expect(end.follower.isLive).toBe(true);
  end.takeRows();
  return end;
}

describe('a pattern', () => {
  test('brings the streams that it matches and no others, now and later', () => {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'start');
    end.greetedBy(ROWCAST);
    end.hear(...NO_VOLATILE, `POSITION $streams 3 ${ERA}`);
    expect(end.hear(...list(3, made(1, 'room:1'), made(2, 'room:1:log'), made(3, 'users')))).toEqual([
      'REPLICATE room:1 START',
    ]);
    expect(end.hear(made(4, 'rooms'), made(5, 'room:2'))).toEqual([`REPLICATE room:2 0 ${ORIGIN}`]);
  });

  test('a stream by name is not followed through it, and a narrower pattern wins over all', () => {
    const end = new FollowerEnd();
    end.subscribe('room:1', 'start');
    end.subscribeAll('now');
    end.subscribeMatching('room:*', 'start');
    end.greetedBy(ROWCAST);
    end.hear(...NO_VOLATILE, `POSITION $streams 3 ${ERA}`);
    expect(end.hear(...list(3, made(1, 'room:1'), made(2, 'room:2'), made(3, 'users')))).toEqual([
      'REPLICATE room:2 START',
      'REPLICATE users NOW',
    ]);
  });

  test('is asked for by one reading of each catalog, however many there are', () => {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'start');
    end.subscribeMatching('user:*', 'now');
    const other = 'cccccccccccccccc.3.00000001';
    expect(end.greetedBy(`${rowcast()} src=${other}`)).toEqual([
      'REPLICATE $streams NOW',
      'REPLICATE $streams.volatile NOW',
      'REPLICATE $streams.cccccccccccccccc NOW',
    ]);
    end.hear(`POSITION $streams.cccccccccccccccc 1 ${other}`);
    expect(
      end.hear(
        'RELEASED $streams.cccccccccccccccc',
        `HISTORY $streams.cccccccccccccccc 0 ${other}`,
        'RDATA $streams.cccccccccccccccc 1 {"stream":"user:1","made":1}',
        `POSITION $streams.cccccccccccccccc 1 ${other}`,
      ),
      'a stream waits for the catalog that lists it, and for no other',
    ).toEqual(['REPLICATE user:1 NOW']);
  });

  // SPEC S18
  test('that begins later has a boundary of its own: what was made before it is followed from where it says', () => {
    const end = following();
    expect(end.hear(made(2, 'user:1'))).toEqual([]);
    expect(end.subscribeMatching('user:*', 'now'), 'the catalog is read again, for this pattern').toEqual([
      'RELEASE $streams',
      'REPLICATE $streams START',
      'RELEASE $streams.volatile',
      'REPLICATE $streams.volatile START',
    ]);
    expect(end.hear(...list(4, made(1, 'room:1'), made(2, 'user:1'), made(3, 'user:2'), made(4, 'room:2')))).toEqual([
      'REPLICATE user:1 NOW',
      `REPLICATE user:2 0 ${ORIGIN}`,
      `REPLICATE room:2 0 ${ORIGIN}`,
    ]);
    expect([...end.follower.boundaries]).toEqual([
      at('$streams.volatile/room:*', 0, MEMORY_ORIGIN),
      at('$streams.volatile/user:*', 0, MEMORY_ORIGIN),
      at('$streams/room:*', 1),
      at('$streams/user:*', 2),
    ]);
  });

  test('that begins while the worker is cut off has its boundary where the catalog stands after it', () => {
    const end = following();
    end.close();
    end.subscribeMatching('user:*', 'now');
    end.wait();
    end.open();
    end.hear('SERVER example.com', `PING ${ROWCAST}`);
    expect(end.hear(made(2, 'user:1'), made(3, 'room:2'), `POSITION $streams 3 ${ERA}`)).toEqual([
      'RELEASE $streams',
      'REPLICATE $streams START',
    ]);
    expect(end.hear(...list(3, made(1, 'room:1'), made(2, 'user:1'), made(3, 'room:2')))).toEqual([
      `REPLICATE room:1 5 ${ERA}`,
      'REPLICATE user:1 NOW',
      `REPLICATE room:2 0 ${ORIGIN}`,
    ]);
  });

  test('that a checkpoint does not know begins now, beside one that it knows', () => {
    const end = new FollowerEnd();
    const positions = [at('$streams/room:*', 1)];
    end.subscribeMatching('room:*', 'now', 'fail', positions);
    end.subscribeMatching('user:*', 'now', 'fail', positions);
    expect(end.greetedBy(ROWCAST)).toContain(`REPLICATE $streams 1 ${ERA}`);
    end.hear(...NO_VOLATILE, `POSITION $streams 3 ${ERA}`);
    expect(end.hear(...list(3, made(1, 'room:1'), made(2, 'user:1'), made(3, 'room:2')))).toEqual([
      'REPLICATE room:1 NOW',
      'REPLICATE user:1 NOW',
      `REPLICATE room:2 0 ${ORIGIN}`,
    ]);
  });

  test('the highest boundary of a catalog proves the others; where it is void, all of them are', () => {
    const end = new FollowerEnd();
    const positions = [at('$streams/room:*', 1), at('$streams/user:*', 9)];
    end.subscribeMatching('room:*', 'now', 'fail', positions);
    expect(end.greetedBy(ROWCAST)).toContain(`REPLICATE $streams 9 ${ERA}`);
    expect(end.hear('REFUSED $streams RESET {}')).toEqual(['REPLICATE $streams START']);
    expect(
      requestsOf(
        end.hear(`HISTORY $streams 0 ${ERA}`, made(1, 'room:1'), made(2, 'user:1'), `POSITION $streams 2 ${ERA}`),
      ),
    ).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
    expect([...end.follower.boundaries].map(({ stream, token }) => [stream, token])).toEqual([
      ['$streams/room:*', 0],
      ['$streams/user:*', 0],
    ]);
  });

  test('that is given up ends its streams and no others; its names do not fall to all', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now');
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(ROWCAST);
    end.hear(...NO_VOLATILE, `POSITION $streams 2 ${ERA}`, ...list(2, made(1, 'room:1'), made(2, 'users')));
    expect(end.unsubscribeMatching('room:*')).toEqual(['RELEASE room:1']);
    expect(end.hear('RELEASED room:1', made(3, 'room:2'), made(4, 'users:2'))).toEqual([
      `REPLICATE users:2 0 ${ORIGIN}`,
    ]);
    expect(end.unsubscribeMatching('**')).toEqual([
      'RELEASE $streams',
      'RELEASE $streams.volatile',
      'RELEASE users',
      'RELEASE users:2',
    ]);
    expect(end.subscribeMatching('room:*', 'now', 'fail', 'anew'), 'it may begin again at once').toEqual([
      `REPLICATE $streams 2 ${ERA}`,
      `REPLICATE $streams.volatile 0 ${MEMORY_ORIGIN}`,
    ]);
    end.hear(...NO_VOLATILE, 'RELEASED $streams', `POSITION $streams 4 ${ERA}`);
    expect([...end.follower.boundaries].at(-1), 'and has a new boundary').toEqual(at('$streams/room:*', 4));
  });

  test('at a primary that is not Rowcast it stands for the names that ALL NOW answers', () => {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'now');
    expect(end.greetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
    end.hear('POSITION events 5', 'POSITION room:1 7', 'RDATA users 6 1', 'RDATA room:2 1 1');
    expect(end.takeRows()).toEqual(['room:1 @7 live']);
    expect(end.follower.isLive).toBe(false);
    end.hear('POSITION room:2 1');
    expect(end.follower.isLive).toBe(true);
  });

  test('for an observer a later one takes another connection', () => {
    const end = new FollowerEnd({ isObserver: true });
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(ROWCAST);
    end.subscribeMatching('user:*', 'now');
    end.close();
    expect(end.disconnected.text).toBe('connecting again to ask for the streams of user:*');
  });
});

describe('a stream that is deleted', () => {
  test('is told as a reset after what came before, without an error, and is forgotten', () => {
    const end = following();
    end.hear('RDATA room:1 6 "last"');
    expect(end.hear(deleted(2, 'room:1'))).toEqual(['RELEASE room:1']);
    expect(end.takeRows()).toEqual(['room:1 6 ["last"] @6', 'room:1 deleted']);
    expect(end.outputs.of('ended')).toEqual([]);
    expect(end.follower.isLive).toBe(true);
    end.hear(`REFUSED room:1 RESET ${DELETED}`, 'RELEASED room:1');
    expect(end.takeRows()).toEqual([]);
    expect(requestsOf(end.regreetedBy(ROWCAST))).toEqual([]);
    expect(requestsOf(end.hear(`POSITION $streams 2 ${ERA}`))).toEqual([]);
  });

  test('may be refused before the catalog tells', () => {
    const end = following();
    expect(end.hear(`REFUSED room:1 RESET ${DELETED}`)).toEqual([]);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
    expect(end.hear(deleted(2, 'room:1'))).toEqual([]);
    expect(end.takeRows(), 'once').toEqual([]);
  });

  test('and made again is followed from its first row, whatever is still on its way of the old one', () => {
    const end = following();
    const again = era(8);
    expect(end.hear(`ERA 8f3c1d2e4b5a6978 8.a1b2c3d4`, deleted(2, 'room:1'), `HISTORY $streams 2 ${again}`)).toEqual([
      'RELEASE room:1',
    ]);
    expect(end.hear(made(3, 'room:1'))).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
    end.hear('RDATA room:1 6 "old"', `REFUSED room:1 RESET ${DELETED}`, 'RELEASED room:1');
    end.hear(`HISTORY room:1 0 ${again}`, 'RDATA room:1 1 "new"', `POSITION room:1 1 ${again}`);
    expect(end.takeRows()).toEqual(['room:1 deleted', 'room:1 1 ["new"] @1', 'room:1 @1 live']);
    expect(end.follower.isLive).toBe(true);
  });

  test('again and again, and nothing is left of it', () => {
    const end = following();
    const first = end.hear(deleted(2, 'room:1'), 'RELEASED room:1');
    expect(first).toEqual(['RELEASE room:1']);
    for (let token = 3; token < 203; token += 2) {
      const name = `room:${token}`;
      end.hear(made(token, name), `POSITION ${name} 0 ${ORIGIN}`, deleted(token + 1, name), `RELEASED ${name}`);
    }
    expect(requestsOf(end.regreetedBy(ROWCAST))).toEqual([]);
    expect(requestsOf(end.hear(`POSITION $streams 202 ${ERA}`))).toEqual([]);
    expect(end.follower.isLive).toBe(false);
    end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`);
    expect(end.follower.isLive).toBe(true);
  });

  test('while the worker was cut off is told, and not asked for', () => {
    const end = following();
    end.regreetedBy(ROWCAST);
    expect(requestsOf(end.hear(deleted(2, 'room:1'), `POSITION $streams 2 ${ERA}`))).toEqual([]);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
  });

  test('and made again while the worker was cut off is told, and followed from its first row', () => {
    const end = following();
    end.regreetedBy(rowcast(era(8)));
    expect(
      requestsOf(
        end.hear(
          deleted(2, 'room:1'),
          `HISTORY $streams 2 ${era(8)}`,
          made(3, 'room:1'),
          `POSITION $streams 3 ${era(8)}`,
        ),
      ),
    ).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
  });

  test('with its rows of the catalog dropped together is known by the next time it is made', () => {
    const end = following();
    end.regreetedBy(rowcast(era(8)));
    expect(
      requestsOf(end.hear(`HISTORY $streams 2 ${era(8)}`, made(3, 'room:1'), `POSITION $streams 3 ${era(8)}`)),
    ).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
  });

  test('made and deleted while the worker was cut off is told to nobody', () => {
    const end = following();
    end.regreetedBy(ROWCAST);
    expect(requestsOf(end.hear(made(2, 'room:2'), deleted(3, 'room:2'), `POSITION $streams 3 ${ERA}`))).toEqual([
      `REPLICATE room:1 5 ${ERA}`,
    ]);
    expect(end.outputs.of('discovered')).toHaveLength(1);
  });

  test('and made again before NOW was answered is followed from its first row once the catalog tells', () => {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(rowcast(era(8)));
    end.hear(...NO_VOLATILE, `POSITION $streams 1 ${ERA}`);
    expect(end.hear(...list(1, made(1, 'room:1')))).toEqual(['REPLICATE room:1 NOW']);
    end.hear(`POSITION room:1 3 ${era(8)}`);
    expect(end.hear(deleted(2, 'room:1'), `HISTORY $streams 2 ${era(8)}`)).toEqual(['RELEASE room:1']);
    expect(end.hear(made(3, 'room:1'))).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
    expect(end.takeRows()).toEqual(['room:1 @3 live', 'room:1 deleted']);
  });

  test('by name is a reset as onReset says', () => {
    const end = new FollowerEnd();
    end.subscribe('room:1', at('room:1', 5), 'earliest');
    end.subscribe('room:2', at('room:2', 5), 'fail');
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 2 ${ERA}`, ...list(2, made(1, 'room:1'), made(2, 'room:2')), deleted(3, 'room:1'));
    expect(end.hear(`REFUSED room:1 RESET ${DELETED}`)).toEqual(['REPLICATE room:1 START']);
    end.hear(`POSITION room:1 0 ${ORIGIN}`, `REFUSED room:2 RESET ${DELETED}`);
    expect(end.takeRows()).toEqual(['room:1 reset', 'room:1 @0 live', 'room:2 failed RESET']);
  });

  test('once it was given up may come back when it is made again', () => {
    const end = following();
    end.unsubscribe('room:1');
    end.hear('RELEASED room:1');
    expect(end.hear(deleted(2, 'room:1'))).toEqual([]);
    expect(end.outputs.of('gone').map(({ stream }) => stream)).toEqual(['room:1']);
    expect(end.hear(`HISTORY $streams 2 ${ERA}`, made(3, 'room:1'))).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
  });

  test('by name and given up does not come back through a pattern', () => {
    const end = following();
    end.subscribe('room:9', 'now');
    end.unsubscribe('room:9');
    expect(end.hear('RELEASED room:9', made(2, 'room:9'), deleted(3, 'room:9'), made(4, 'room:9'))).toEqual([]);
  });

  test('is left by an observer without a word, and takes another connection when it is made again', () => {
    const end = new FollowerEnd({ isObserver: true });
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`);
    end.hear(`HISTORY $streams 0 ${ERA}`, made(1, 'room:1'), `POSITION $streams 1 ${ERA}`, `POSITION room:1 5 ${ERA}`);
    expect(end.hear(deleted(2, 'room:1'), 'RDATA room:1 6 1')).toEqual([]);
    expect(end.takeRows()).toEqual(['room:1 @5 live', 'room:1 deleted']);
    expect(end.hear(`REFUSED room:1 RESET ${DELETED}`, made(3, 'room:1'))).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
  });
});

describe('a checkpoint that knows a stream', () => {
  /** Its listing, as the first thing that a new process hears. */
  function resumed(position: Position, rows: readonly string[], upTo: number): FollowerEnd {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'now', 'fail', [at('$streams/room:*', 1), position]);
    end.greetedBy(rowcast(era(9)));
    end.hear(...NO_VOLATILE, `POSITION $streams ${upTo} ${ERA}`);
    end.outputs.takeLines();
    end.hear('RELEASED $streams', ...rows, `POSITION $streams ${upTo} ${era(9)}`);
    return end;
  }
  const asked = (end: FollowerEnd): string[] =>
    requestsOf(end.outputs.of('transmit').map(({ bytes }) => Buffer.from(bytes).toString().trim())).filter((line) =>
      line.startsWith('REPLICATE'),
    );

  test('that was deleted while the worker was away tells so', () => {
    const end = resumed(at('room:1', 5), [`HISTORY $streams 0 ${ERA}`, made(1, 'room:1'), deleted(2, 'room:1')], 2);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
    expect(asked(end)).toEqual([]);
  });

  test('that was deleted and made again while the worker was away tells so, and follows it from its first row', () => {
    const rows = [
      `HISTORY $streams 0 ${ERA}`,
      made(1, 'room:1'),
      deleted(2, 'room:1'),
      `HISTORY $streams 2 ${era(8)}`,
      made(3, 'room:1'),
    ];
    const end = resumed(at('room:1', 5), rows, 3);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
    expect(asked(end)).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
  });

  test('that had been deleted and made again before goes on where it was', () => {
    const rows = [
      `HISTORY $streams 0 ${ERA}`,
      made(1, 'room:1'),
      deleted(2, 'room:1'),
      `HISTORY $streams 2 ${era(8)}`,
      made(3, 'room:1'),
    ];
    const end = resumed(at('room:1', 5, era(8)), rows, 3);
    expect(end.takeRows()).toEqual([]);
    expect(asked(end)).toEqual([`REPLICATE room:1 5 ${era(8)}`]);
  });

  test('that no catalog has asks for it, and is told that it was deleted', () => {
    const end = resumed(at('room:1', 5), [`HISTORY $streams 0 ${ERA}`, made(3, 'room:2')], 3);
    expect(asked(end)).toEqual([`REPLICATE room:2 0 ${ORIGIN}`, `REPLICATE room:1 5 ${ERA}`]);
    end.hear(`REFUSED room:1 RESET ${DELETED}`);
    expect(end.takeRows()).toEqual(['room:1 deleted']);
  });
});

describe('a catalog that started afresh', () => {
  test('makes every stream that is not followed a new one, and lists the others again without harm', () => {
    const end = following();
    end.regreetedBy(rowcast(era(8)));
    expect(end.hear('REFUSED $streams RESET {}')).toEqual(['REPLICATE $streams START']);
    expect(
      requestsOf(
        end.hear(`HISTORY $streams 0 ${ERA}`, made(1, 'room:1'), made(2, 'room:2'), `POSITION $streams 2 ${era(8)}`),
      ),
    ).toEqual([`REPLICATE room:2 0 ${ORIGIN}`, `REPLICATE room:1 5 ${ERA}`]);
    expect(end.takeRows()).toEqual([]);
  });
});

test('a stream that was found, deleted and made again before anything of it was read is a new one', () => {
  const end = new FollowerEnd();
  end.subscribeMatching('room:*', 'now');
  end.greetedBy(ROWCAST);
  end.hear(...NO_VOLATILE, `POSITION $streams 1 ${ERA}`);
  expect(end.hear(...list(1, made(1, 'room:1')))).toEqual(['REPLICATE room:1 NOW']);
  end.subscribeMatching('user:*', 'now');
  end.regreetedBy(rowcast(era(8)));
  end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`, `POSITION $streams 3 ${ERA}`);
  const rows = [made(1, 'room:1'), deleted(2, 'room:1'), `HISTORY $streams 2 ${era(8)}`, made(3, 'room:1')];
  expect(requestsOf(end.hear(...list(3, ...rows)))).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
});

describe('a stream that was found and of which nothing was read', () => {
  /** `room:1` is asked for from now on when the connection is cut. */
  function found(): FollowerEnd {
    const end = new FollowerEnd();
    end.subscribeMatching('room:*', 'now');
    end.greetedBy(ROWCAST);
    end.hear(...NO_VOLATILE, `POSITION $streams 1 ${ERA}`);
    expect(end.hear(...list(1, made(1, 'room:1')))).toEqual(['REPLICATE room:1 NOW']);
    end.regreetedBy(rowcast(era(8)));
    end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`, 'REFUSED $streams RESET {}');
    return end;
  }

  test('is a new one where the catalog started afresh', () => {
    const end = found();
    expect(
      requestsOf(end.hear(`HISTORY $streams 0 ${era(8)}`, made(1, 'room:1'), `POSITION $streams 1 ${era(8)}`)),
    ).toEqual([`REPLICATE room:1 0 ${ORIGIN}`]);
  });

  test('is forgotten where the catalog does not have it any more', () => {
    const end = found();
    expect(requestsOf(end.hear(`POSITION $streams 0 ${ORIGIN}`))).toEqual([]);
    expect(end.follower.isLive).toBe(true);
  });
});

test('a stream that a new catalog lists later, and that is live at token 0, is not told as deleted', () => {
  const end = following();
  end.regreetedBy(rowcast(era(8)));
  end.hear('REFUSED $streams RESET {}', `POSITION $streams 0 ${ORIGIN}`);
  expect(end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`)).toEqual([`REPLICATE room:1 5 ${ERA}`]);
  end.hear(`REFUSED room:1 RESET ${DELETED}`, `HISTORY $streams 0 ${era(8)}`, made(1, 'room:1'));
  end.hear(`POSITION room:1 0 ${ORIGIN}`);
  end.takeRows();
  expect(end.hear(made(2, 'room:1'))).toEqual([]);
  expect(end.takeRows()).toEqual([]);
});

describe('a wait for a stream that is not known yet', () => {
  test('is over where its row is void: the catalog is past the era of the row, and has no such stream', () => {
    const end = following();
    expect(end.follower.judgeAwaited(at('room:9', 1))).toBe('not-yet');
    end.regreetedBy(rowcast(era(8)));
    expect(end.follower.judgeAwaited(at('room:9', 1)), 'the catalog is not read yet').toBe('not-yet');
    end.hear(`POSITION $streams 1 ${ERA}`, `POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`);
    expect(end.outputs.of('listed').length).toBeGreaterThan(0);
    expect(end.follower.judgeAwaited(at('room:9', 1))).toBe('reached');
    expect(end.follower.judgeAwaited(at('room:9', 1, era(8)))).toBe('not-yet');
    end.subscribeMatching('user:*', 'now');
    expect(end.follower.judgeAwaited(at('user:9', 1)), 'it is not read for this pattern yet').toBe('not-yet');
  });

  test('is over where the stream was deleted since', () => {
    const end = following();
    end.hear(made(2, 'room:9'), deleted(3, 'room:9'));
    expect(end.outputs.of('gone')).toEqual([{ kind: 'gone', stream: 'room:9', history: ERA, isLast: true }]);
    expect(end.follower.judgeAwaited(at('room:9', 1))).toBe('reached');
    expect(end.follower.judgeAwaited(at('room:9', 1, era(8))), 'it may be made again').toBe('not-yet');
    expect(end.follower.judgeAwaited(at('room:8', 1))).toBe('not-yet');
  });

  test('waits if a pattern matches its name', () => {
    const end = following();
    expect(end.follower.isAwaited('room:9')).toBe(true);
    expect(end.follower.isAwaited('users')).toBe(false);
    expect(end.follower.judgeAwaited(at('room:9', 1))).toBe('not-yet');
    expect(end.follower.judgeAwaited(at('room:9', 1, 'cccccccccccccccc.7.00000000'))).toBe('other-log');
  });
});
