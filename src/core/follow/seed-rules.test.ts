/** What a worker makes of a primary that is not Rowcast: as lenient as a real Synapse needs. */

import { describe, expect, test } from 'vitest';
import { at, FollowerEnd, ROWCAST, SYNAPSE } from '../../../test/support/worker-ends.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';
import type { Resume } from './subscription-state.ts';

type OnReset = SubscriptionSpec['onReset'];
type From = Resume | number;

const FAR_BEHIND = (stream: string): string =>
  `ERROR failed to handle replicate: Exception('stream ${stream} has fallen behind')`;

/** Connected to a primary that is not Rowcast, and through with what it asks for. */
function following(from: Readonly<Record<string, From>>, onReset: OnReset = 'fail'): FollowerEnd {
  const end = new FollowerEnd();
  for (const [stream, place] of Object.entries(from)) end.subscribe(stream, place, onReset);
  end.greetedBy(SYNAPSE);
  return end;
}

function followingAll(from: 'start' | 'now', named: Readonly<Record<string, From>> = {}): FollowerEnd {
  const end = new FollowerEnd();
  for (const [stream, place] of Object.entries(named)) end.subscribe(stream, place);
  end.subscribeAll(from);
  end.greetedBy(SYNAPSE);
  return end;
}

describe('a place is asked for by its number alone', () => {
  test('from a token, from the start, from now', () => {
    const end = new FollowerEnd();
    for (const [stream, from] of Object.entries({ a: 53, b: 'start', c: 'now' } as const)) end.subscribe(stream, from);
    expect(end.greetedBy(SYNAPSE)).toEqual(['REPLICATE a 53', 'REPLICATE b 0', 'REPLICATE c NOW']);
  });

  test('a position that has a history says nothing of it: the seed knows none', () => {
    const end = new FollowerEnd();
    end.subscribe('events', at('events', 53));
    expect(end.greetedBy(SYNAPSE)).toEqual(['REPLICATE events 53']);
  });

  test('nor does one of a Rowcast primary that was late to say who it is', () => {
    const end = new FollowerEnd();
    end.subscribe('events', at('events', 53));
    end.start().open();
    expect(end.passTime(1_000)).toEqual(['REPLICATE events 53']);
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([]);
    end.close();
    expect(end.disconnected.text).toBe('connecting again: the primary said late who it is');
  });
});

describe('catch-up', () => {
  test('moves the position only at POSITION, and no row is dropped for its token', () => {
    const end = following({ account_data: 10 });
    for (const token of [12, 14, 14, 11, 13]) end.hear(`RDATA account_data ${token} ${token}`);
    end.hear('PING 2', 'POSITION account_data 14');
    expect(end.takeRows()).toEqual([
      'account_data 12 [12]',
      'account_data 14 [14]',
      'account_data 14 [14]',
      'account_data 11 [11]',
      'account_data 13 [13]',
      'account_data @14 live',
    ]);
  });

  test('rows of a batch come together', () => {
    const end = following({ events: 53 });
    end.hear('RDATA events batch "a"', 'RDATA events batch "b"');
    expect(end.takeRows()).toEqual([]);
    end.hear('RDATA events 54 "c"', 'POSITION events 54');
    expect(end.takeRows()).toEqual(['events 54 ["a","b","c"]', 'events @54 live']);
  });

  test('batches of several streams do not mix', () => {
    const end = following({ events: 0, typing: 0 });
    end.hear('RDATA events batch 1', 'RDATA typing 1 "x"', 'RDATA events 1 2');
    expect(end.takeRows()).toEqual(['typing 1 ["x"]', 'events 1 [1,2]']);
  });

  test('a cut before the first POSITION of a stream from now asks for now again', () => {
    const end = following({ a: 'now' });
    end.hear('RDATA a 7 1');
    expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE a NOW']);
    end.hear('POSITION a 9');
    expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE a 9']);
  });
});

describe('a live position', () => {
  test('moves to the highest token of a run once another line comes, and never falls', () => {
    const end = following({ backfill: 'now' });
    end.hear('POSITION backfill 45');
    end.takeRows();
    for (const token of [67, 66, 53, 46, 47]) end.hear(`RDATA backfill ${token} ${token}`);
    expect(end.takeRows()).toEqual([
      'backfill 67 [67]',
      'backfill 66 [66]',
      'backfill 53 [53]',
      'backfill 46 [46]',
      'backfill 47 [47]',
    ]);
    end.hear('PING 2');
    expect(end.takeRows()).toEqual(['backfill @67']);
    end.hear('RDATA backfill 48 48', 'PING 3');
    expect(end.takeRows(), 'it never falls').toEqual(['backfill 48 [48]']);
  });

  test.each(['PING 2', 'SYNC x', 'ERROR careful', 'SERVER example.com', 'RDATA typing 2 1', 'POSITION typing 2'])(
    'a line that is not of the run ends it: %s',
    (line) => {
      const end = following({ events: 'now', typing: 'now' });
      end.hear('POSITION events 5', 'POSITION typing 1', 'RDATA events 6 1', line);
      expect(end.takeRows()).toContain('events @6');
    },
  );

  test('moves when a whole line comes, however the bytes were cut', () => {
    const end = following({ events: 'now', typing: 'now' });
    end.hear('POSITION events 1', 'POSITION typing 1');
    end.takeRows();
    end.hearBytes(Buffer.from('RDATA events 2 1\nRDATA ev'));
    end.hearBytes(Buffer.from('ents 3 1\nRDATA typing 2'));
    expect(end.takeRows()).toEqual(['events 2 [1]', 'events 3 [1]']);
    end.hearBytes(Buffer.from(' 1\n'));
    expect(end.takeRows()).toEqual(['events @3', 'typing 2 [1]']);
  });

  test('of each stream moves by itself', () => {
    const end = followingAll('now');
    end.hear('POSITION a 1', 'POSITION b 1', 'RDATA a 2 0', 'RDATA b batch 0', 'RDATA a 3 0', 'RDATA b 5 0', 'PING 2');
    expect(end.takeRows()).toEqual([
      'a @1 live',
      'b @1 live',
      'a 2 [0]',
      'a @2',
      'a 3 [0]',
      'a @3',
      'b 5 [0,0]',
      'b @5',
    ]);
  });
});

describe('a history that ended', () => {
  test.each([
    ['fail', ['typing failed RESET'], []],
    ['earliest', ['typing reset', 'typing @3 live'], ['REPLICATE typing 3']],
    ['now', ['typing reset'], ['REPLICATE typing NOW']],
  ] as const)('is told by a lower POSITION: onReset %s', (onReset, rows, lines) => {
    const end = following({ typing: 12 }, onReset);
    end.hear('POSITION typing 3');
    expect(end.takeRows()).toEqual(rows);
    expect(end.outputs.of('close'), 'to ask for now takes a new connection').toHaveLength(onReset === 'now' ? 1 : 0);
    expect(end.regreetedBy(SYNAPSE)).toEqual(lines);
  });

  test.each([
    ['fail', ['federation failed RESET']],
    [
      'earliest',
      ['federation reset', 'federation 1 [0]', 'federation 2 [0]', 'federation 39 [0]', 'federation @39 live'],
    ],
    ['now', ['federation reset']],
  ] as const)('is told in catch-up by a row at or below what was asked for, once: onReset %s', (onReset, rows) => {
    const end = following({ federation: 38 }, onReset);
    for (const token of [1, 2, 39]) end.hear(`RDATA federation ${token} 0`);
    end.hear('POSITION federation 39');
    expect(end.takeRows()).toEqual(rows);
  });

  test('from 0 or now there is nothing to reset', () => {
    const end = following({ a: 'now', b: 0 });
    end.hear('RDATA a 1 0', 'RDATA b 1 0');
    expect(end.takeRows()).toEqual(['a 1 [0]', 'b 1 [0]']);
  });

  test('what a reset overtakes moves no position: neither rows of the same run nor a torn batch', () => {
    const end = following({ typing: 12 }, 'earliest');
    end.hear('POSITION typing 12', 'RDATA typing 60 "old"', 'RDATA typing batch "torn"', 'POSITION typing 3', 'PING 2');
    end.hear('RDATA typing 4 "new"', 'PING 3');
    expect(end.takeRows()).toEqual([
      'typing @12 live',
      'typing 60 ["old"]',
      'typing reset',
      'typing @3 live',
      'typing 4 ["new"]',
      'typing @4',
    ]);
  });

  test('the row that told of it is not given to a subscriber that goes on from now', () => {
    const end = following({ typing: 12 }, 'now');
    end.hear('RDATA typing 1 "a"', 'POSITION typing 3');
    expect(end.takeRows()).toEqual(['typing reset']);
    end.close();
    expect(end.disconnected.text).toBe('connecting again to ask for stream typing anew');
  });
});

describe('a stream that the primary refuses', () => {
  test.each([
    ['as Rowcast says it', 'ERROR unknown stream a'],
    ['as a real Synapse says it', "ERROR failed to handle replicate: Exception('unknown stream %s', 'a')"],
  ])('because it does not have it, fails; others go on: %s', (_how, line) => {
    const end = following({ a: 'now', b: 'now' });
    end.hear(line);
    expect(end.takeRows()).toEqual(['a failed UNKNOWN_STREAM']);
    expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE b NOW']);
  });

  test.each([
    ['fail', ['a failed TOO_FAR_BEHIND'], []],
    ['earliest', ['a failed TOO_FAR_BEHIND'], []],
    ['now', ['a reset'], ['REPLICATE a NOW']],
  ] as const)('because it is too far behind, is not asked the same again: onReset %s', (onReset, rows, asked) => {
    const end = following({ a: 7, b: 'now' }, onReset);
    end.hear(FAR_BEHIND('a'));
    expect(end.takeRows()).toEqual(rows);
    const lines = end.regreetedBy(SYNAPSE);
    expect(lines.filter((line) => line.startsWith('REPLICATE a'))).toEqual(asked);
    expect(lines).toContain('REPLICATE b NOW');
  });

  test('the connection that ended for it says so', () => {
    const end = following({ a: 7 });
    end.hear(FAR_BEHIND('a'));
    end.close();
    expect(end.disconnected).toMatchObject({ code: 'TOO_FAR_BEHIND' });
  });

  test.each(['Failed to keep up', 'unknown stream c', "failed to handle replicate: Exception('other')", ''])(
    'any other ERROR refuses nothing: %j',
    (text) => {
      const end = following({ a: 7 });
      end.hear(`ERROR ${text}`);
      expect(end.takeRows()).toEqual([]);
      expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE a 7']);
    },
  );
});

describe('every stream', () => {
  test('is asked for by ALL, and followed as they come', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now');
    expect(end.greetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
    expect(end.follower.isLive, 'before the primary has named a stream nothing is').toBe(false);
    expect(end.hear('POSITION events 75', 'POSITION typing 3')).toEqual([]);
    end.hear('RDATA events 76 1', 'PING 2');
    expect(end.takeRows()).toEqual(['events @75 live', 'typing @3 live', 'events 76 [1]', 'events @76']);
    expect(end.follower.isLive).toBe(true);
  });

  test('one with a place of its own is asked for by its name, once ALL has told its POSITION', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 53);
    end.subscribeAll('now', 'fail', [{ stream: 'typing', token: 9, history: undefined }]);
    expect(end.greetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
    expect(end.hear('POSITION events 80', 'POSITION presence 5')).toEqual(['REPLICATE events 53']);
    expect(end.hear('POSITION typing 12')).toEqual(['REPLICATE typing 9']);
    end.hear('RDATA events 54 "a"', 'RDATA events 80 "b"', 'POSITION events 80', 'POSITION typing 12');
    expect(end.takeRows()).toEqual([
      'presence @5 live',
      'events 54 ["a"]',
      'events 80 ["b"]',
      'events @80 live',
      'typing @12 live',
    ]);
    expect(end.follower.isLive).toBe(true);
  });

  test('one that is refused as too far behind before ALL has told its POSITION goes on with new rows', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'now', [{ stream: 'typing', token: 9, history: undefined }]);
    end.greetedBy(SYNAPSE);
    end.hear("ERROR failed to handle replicate: Exception('stream typing has fallen behind')");
    end.hear('POSITION typing 12', 'RDATA typing 13 "new"', 'PING 2');
    expect(end.takeRows()).toEqual(['typing reset', 'typing @12 live', 'typing 13 ["new"]', 'typing @13']);
  });

  test('rows of ALL move nothing of a stream that is asked for by its name, and a live one is no reset', () => {
    const end = followingAll('now', { backfill: 53 });
    end.hear('POSITION backfill 80', 'RDATA backfill 81 "of ALL"', 'RDATA backfill 46 "live"');
    end.hear('RDATA backfill 54 "asked for"', 'PING 2');
    expect(end.takeRows()).toEqual(['backfill 81 ["of ALL"]', 'backfill 46 ["live"]', 'backfill 54 ["asked for"]']);
    expect(end.isLive('backfill')).toBe(false);
    end.hear('POSITION backfill 81');
    expect(end.takeRows()).toEqual(['backfill @81 live']);
  });

  test('a cut before the catch-up is over loses nothing of it', () => {
    const end = followingAll('now', { events: 53 });
    end.hear('RDATA events 81 "live, of ALL"', 'POSITION events 80', 'RDATA events 82 "live"');
    expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
    expect(end.hear('POSITION events 90')).toEqual(['REPLICATE events 53']);
  });

  test('after a reconnect ALL finds the streams that are new, and the others resume', () => {
    const end = followingAll('now');
    end.hear('POSITION events 75');
    expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
    expect(end.hear('POSITION brand_new 4', 'POSITION events 90')).toEqual(['REPLICATE events 75']);
  });

  test('one that was given up does not come back, and is asked for on another connection when it is wanted again', () => {
    const end = followingAll('now');
    end.hear('POSITION events 75');
    end.unsubscribe('events');
    end.hear('RDATA events 76 1', 'POSITION events 80');
    expect(end.takeRows()).toEqual(['events @75 live']);
    end.subscribe('events', 'start');
    end.close();
    expect(end.disconnected.text).toBe('connecting again to ask for stream events anew');
  });

  test('one that is added before it came waits for its POSITION', () => {
    const end = followingAll('now');
    expect(end.subscribe('events', 3)).toEqual([]);
    expect(end.hear('POSITION events 75')).toEqual(['REPLICATE events 3']);
  });

  test('to follow every stream as well takes a new connection', () => {
    const end = following({ events: 5 });
    end.hear('POSITION events 5');
    end.subscribeAll('now');
    end.close();
    expect(end.disconnected.text).toBe('connecting again to ask for the streams of **');
    end.wait();
    end.open();
    expect(end.hear('SERVER example.com', `PING ${SYNAPSE}`)).toEqual(['REPLICATE ALL NOW']);
  });

  // SPEC P5
  test('one that is refused for ever ends once, as an error, and rows of the others do not come again', () => {
    const end = followingAll('start');
    const refused = ['events', 'receipts', 'presence'];
    const rest = ['typing', 'pushers'];
    for (let connection = 0; connection < 8; connection++) {
      let asked: string[] = end.hear('POSITION events 20000', 'POSITION typing 2', 'POSITION receipts 30000');
      asked.push(...end.hear('POSITION presence 40000', 'POSITION pushers 1'));
      // A real Synapse takes one request after the other, and closes at the first one that it
      // refuses.
      for (let isOpen = true; isOpen && asked.length > 0; ) {
        const [line, ...more] = asked;
        const [, stream, from] = line!.split(' ');
        asked = more;
        if (refused.includes(stream!)) {
          end.hear(FAR_BEHIND(stream!));
          isOpen = false;
        } else {
          if (from === '0') asked.push(...end.hear(`RDATA ${stream} 1 "of ${stream}"`));
          asked.push(...end.hear(`POSITION ${stream} 1`));
        }
      }
      end.regreetedBy(SYNAPSE);
    }
    const told = end.takeRows();
    expect(told.filter((row) => row.includes('failed')).toSorted()).toEqual(
      refused.map((stream) => `${stream} failed TOO_FAR_BEHIND`).toSorted(),
    );
    for (const stream of rest) expect(told.filter((row) => row === `${stream} 1 ["of ${stream}"]`)).toHaveLength(1);
    for (const stream of refused) expect(end.subscription(stream).isEnded).toBe(true);
  });

  test('one that ALL does not name is not asked for, and the others go on', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'fail', [{ stream: 'gone', token: 9, history: undefined }]);
    end.greetedBy(SYNAPSE);
    expect(end.hear('POSITION events 75'), 'ALL has not named it').toEqual([]);
    end.hear('RDATA events 76 1', 'PING 2');
    expect(end.takeRows()).toEqual(['events @75 live', 'events 76 [1]', 'events @76']);
  });
});

test('a stream and a row that nobody knows are passed over', () => {
  const end = following({ events: 'now' });
  end.hear('POSITION events 5', 'RDATA nosuch 1 ["x"]', 'RDATA events 6 []', 'POSITION nosuch 7');
  expect(end.takeRows()).toEqual(['events @5 live', 'events 6 [[]]', 'events @6']);
  expect(end.outputs.of('close')).toEqual([]);
});

test('rows of a stream that was left are dropped; wanted again, it is asked for on another connection', () => {
  const end = following({ events: 5 });
  end.unsubscribe('events');
  end.hear('RDATA events 6 1', 'POSITION events 6');
  expect(end.takeRows()).toEqual([]);
  end.subscribe('events', 1);
  end.hear('RDATA events 6 "old request"');
  end.close();
  expect(end.disconnected.text).toBe('connecting again to ask for stream events anew');
  end.wait();
  end.open();
  expect(end.hear('SERVER example.com', `PING ${SYNAPSE}`)).toEqual(['REPLICATE events 1']);
  expect(end.takeRows()).toEqual([]);
});

test('a fault is answered by ERROR and a close', () => {
  const end = following({ events: 'now' });
  expect(end.hear(`POSITION events 5 8f3c`)).toEqual([
    expect.stringMatching(/^ERROR failed to parse line for POSITION/),
  ]);
  expect(end.outputs.of('close')).toHaveLength(1);
});
