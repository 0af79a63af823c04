import { describe, expect, test } from 'vitest';
import { at, ERA, era, FollowerEnd, MEMORY, memoryEra, ORIGIN, rowcast } from '../../../test/support/worker-ends.ts';
import { PeerError } from '../model/errors.ts';
import type { History } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import { Delivery, type Item, MARK_COST } from './delivery.ts';

const bare = (token: number): Position => ({ stream: 'events', token, history: undefined });
const waitOf = (token: number, history: History = ERA): Position => at('events', token, history);
const other = memoryEra(7, 'bbbbbbbbbbbbbbbb');

const batch = (position: Position, cost = 10): Item => ({
  kind: 'batch',
  batch: { stream: 'events', token: position.token, position, rows: [1] },
  cost,
  position,
});
const moved = (position: Position, of: History | undefined = ERA): Item => ({
  kind: 'position',
  position,
  era: of,
  cost: MARK_COST,
});
const reset: Item = { kind: 'reset', error: new PeerError('RESET', 'started afresh'), cost: MARK_COST };

function delivered(...items: readonly Item[]): Delivery {
  const delivery = new Delivery({});
  apply(delivery, ...items);
  return delivery;
}

function apply(delivery: Delivery, ...items: readonly Item[]): void {
  for (const item of items) delivery.push(item);
  for (let i = 0; i < items.length; i++) delivery.finish(delivery.take()!, true);
}

describe('a wait is over', () => {
  test.each<[string, Delivery, Position, 'reached' | 'not-yet' | 'other-log']>([
    ['before anything was heard: no', delivered(), waitOf(0), 'not-yet'],
    ['before anything was heard, for a bare number: no', delivered(), bare(0), 'not-yet'],
    ['at the same history and token: yes', delivered(batch(at('events', 7))), waitOf(7), 'reached'],
    ['beyond it: yes', delivered(batch(at('events', 9))), waitOf(7), 'reached'],
    ['below it: no', delivered(batch(at('events', 6))), waitOf(7), 'not-yet'],
    [
      'at a row of a later era, whatever the tokens: yes',
      delivered(batch(at('events', 3))),
      waitOf(9, era(6)),
      'reached',
    ],
    ['at a row of an earlier era: no', delivered(batch(at('events', 9))), waitOf(3, era(8)), 'not-yet'],
    [
      'at the same number with another random part: no',
      delivered(batch(at('events', 9))),
      waitOf(3, era(7, 'ffffffff')),
      'not-yet',
    ],
    ['live in a later era: yes, it is void', delivered(moved(at('events', 3, era(5)), era(8))), waitOf(9), 'reached'],
    ['live in that era: no', delivered(moved(at('events', 3, era(5)), ERA)), waitOf(9), 'not-yet'],
    ['live in an earlier era: no', delivered(moved(at('events', 3, era(5)), era(6))), waitOf(9), 'not-yet'],
    ['for token 0: as soon as anything is known', delivered(batch(at('events', 1, era(5)))), waitOf(0), 'reached'],
    ['for token 0 at token 0: yes', delivered(moved(at('events', 0, ORIGIN), ERA)), waitOf(0, ERA), 'reached'],
    [
      'at token 0, which is older than every era: no',
      delivered(moved(at('events', 0, ERA), ERA)),
      waitOf(3, era(7)),
      'not-yet',
    ],
    ['at token 0, live in a later era: yes', delivered(moved(at('events', 0, ORIGIN), era(8))), waitOf(3), 'reached'],
    ['for another log: never', delivered(batch(at('events', 9))), waitOf(3, other), 'other-log'],
    ['for token 0 of another log: never', delivered(batch(at('events', 9))), waitOf(0, other), 'other-log'],
    ['by numbers alone, where neither has a history', delivered(batch(bare(9))), bare(7), 'reached'],
    ['by numbers alone: not before', delivered(batch(bare(6))), bare(7), 'not-yet'],
    ['a number says nothing of a history', delivered(batch(at('events', 9))), bare(7), 'not-yet'],
    ['a history is not reached by a number', delivered(batch(bare(9))), waitOf(7), 'not-yet'],
    ['but 0 is before everything', delivered(batch(at('events', 9))), bare(0), 'reached'],
  ])('%s', (_what, delivery, position, verdict) => {
    expect(delivery.judgeWait(position)).toBe(verdict);
  });

  test('what was applied before counts', () => {
    expect(new Delivery({ applied: at('events', 9) }).judgeWait(waitOf(9))).toBe('reached');
  });

  test('what was received and not applied does not', () => {
    const delivery = new Delivery({});
    delivery.push(batch(at('events', 7)));
    delivery.take();
    expect(delivery.judgeWait(waitOf(7))).toBe('not-yet');
  });

  test('a batch whose handler failed is not applied', () => {
    const delivery = new Delivery({});
    delivery.push(batch(at('events', 7)));
    delivery.finish(delivery.take()!, false);
    expect([delivery.applied, delivery.done]).toEqual([undefined, 1]);
  });

  test('what being live has proven is forgotten with the connection, also where it waits to be applied', () => {
    const delivery = delivered(moved(at('events', 3, era(5)), era(8)));
    expect(delivery.judgeWait(waitOf(9))).toBe('reached');
    delivery.handleCut();
    expect(delivery.judgeWait(waitOf(9))).toBe('not-yet');
    delivery.push(moved(at('events', 3, era(5)), era(8)));
    delivery.handleCut();
    delivery.finish(delivery.take()!, true);
    expect(delivery.judgeWait(waitOf(9))).toBe('not-yet');
    apply(delivery, moved(at('events', 3, era(5)), era(8)));
    expect(delivery.judgeWait(waitOf(9))).toBe('reached');
  });

  test('and at a reset, with everything that was applied', () => {
    const delivery = delivered(moved(at('events', 3, era(5)), era(8)), reset);
    expect([delivery.applied, delivery.saved, delivery.judgeWait(waitOf(3))]).toEqual([
      undefined,
      undefined,
      'not-yet',
    ]);
    apply(delivery, batch(at('events', 3, era(5))));
    expect(delivery.judgeWait(waitOf(9))).toBe('not-yet');
  });
});

describe('a follower', () => {
  function live(): FollowerEnd {
    const end = new FollowerEnd();
    end.subscribe('events', at('events', 3, era(5)), 'earliest');
    end.greetedBy(rowcast(era(8)));
    end.hear(`POSITION events 3 ${era(5)}`);
    return end;
  }
  const judge = (end: FollowerEnd, position: Position): string =>
    end.follower.judgeWait(end.subscription('events'), position);

  test('a row that the log lost is void once the stream is live in a later era than its own', () => {
    expect(judge(live(), waitOf(9))).toBe('reached');
  });

  test('ERA says that the log has begun another one, and proves nothing before the next POSITION', () => {
    const end = live();
    expect(judge(end, waitOf(9, era(8)))).toBe('not-yet');
    end.hear('ERA 8f3c1d2e4b5a6978 9.a1b2c3d4');
    expect(judge(end, waitOf(9, era(8)))).toBe('not-yet');
    end.hear(`POSITION events 3 ${era(5)}`);
    expect(judge(end, waitOf(9, era(8)))).toBe('reached');
    expect(judge(end, waitOf(9, era(9)))).toBe('not-yet');
    end.hear('ERA 8f3c1d2e4b5a6978 10.a1b2c3d4', `POSITION events 3 ${era(5)}`);
    expect(judge(end, waitOf(9, era(9)))).toBe('reached');
  });

  test('of the other log it says nothing of this stream', () => {
    const end = live();
    end.hear('ERA 0123456789abcdef 99.00c0ffee', `POSITION events 3 ${era(5)}`);
    expect(judge(end, waitOf(9, era(8)))).toBe('not-yet');
  });

  test('what a connection proved is gone with it', () => {
    const end = live();
    end.close();
    expect(judge(end, waitOf(9))).toBe('not-yet');
    end.wait();
    end.open();
    end.hear('SERVER example.com', `PING ${rowcast(era(8))}`);
    expect(judge(end, waitOf(9))).toBe('not-yet');
    end.hear(`POSITION events 3 ${era(5)}`);
    expect(judge(end, waitOf(9))).toBe('reached');
  });

  test('another log is refused while the primary that is asked does not have it, and not before it said so', () => {
    const end = live();
    expect(judge(end, waitOf(9, other))).toBe('other-log');
    end.close();
    expect(judge(end, waitOf(9, other)), 'the primary may come back with it').toBe('not-yet');
    end.wait();
    end.open();
    end.hear('SERVER example.com', `PING ${rowcast(other)}`);
    expect(judge(end, waitOf(9, other)), 'it did, and the stream has yet to hear').toBe('not-yet');
    end.hear('REFUSED events RESET {}', `HISTORY events 0 ${other}`);
    expect(judge(end, waitOf(9, other))).toBe('not-yet');
    expect(judge(end, waitOf(9, era(8))), 'of the old one nothing is known any more').toBe('not-yet');
    end.hear('RDATA events 9 1');
    expect(judge(end, waitOf(9, other))).toBe('reached');
    expect(judge(end, waitOf(9, era(8)))).toBe('other-log');
  });

  test('the other log of the same primary is another log too, once the stream is live in its own', () => {
    const end = live();
    expect(judge(end, waitOf(9, MEMORY))).toBe('other-log');
  });

  test('a position that a volatile stream got after a restart of the primary is waited for through the reset', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'now', 'earliest');
    end.greetedBy(rowcast());
    end.hear(`POSITION events 9 ${MEMORY}`);
    end.regreetedBy(rowcast(ERA, other));
    expect(judge(end, waitOf(2, other))).toBe('not-yet');
    end.hear('REFUSED events RESET {}', `HISTORY events 0 ${other}`, 'RDATA events 1 1');
    expect(judge(end, waitOf(2, other))).toBe('not-yet');
    end.hear('RDATA events 2 1');
    expect(judge(end, waitOf(2, other))).toBe('reached');
  });
});

describe('items', () => {
  test('come in order, each counted when it is through', () => {
    const delivery = new Delivery({});
    delivery.push(batch(at('events', 7)));
    delivery.push(moved(at('events', 8)));
    expect([delivery.pushed, delivery.done]).toEqual([2, 0]);
    delivery.finish(delivery.take()!, true);
    expect([delivery.applied, delivery.done]).toEqual([at('events', 7), 1]);
    delivery.finish(delivery.take()!, true);
    expect(delivery.take()).toBeUndefined();
    expect(delivery.applied).toEqual(at('events', 8));
  });

  test('what is given up is told by what it counts for', () => {
    const delivery = new Delivery({});
    for (const item of [batch(at('events', 7), 30), reset, batch(at('events', 1), 12)]) delivery.push(item);
    expect(delivery.clear()).toBe(42 + MARK_COST);
    expect(delivery.take()).toBeUndefined();
  });

  test('a checkpoint that was written before a reset saves nothing after it', () => {
    const delivery = delivered(batch(at('events', 7)));
    const { lineage } = delivery;
    delivery.handleSaved(at('events', 7), lineage);
    expect(delivery.saved).toEqual(at('events', 7));
    apply(delivery, reset);
    delivery.handleSaved(at('events', 7), lineage);
    expect(delivery.saved).toBeUndefined();
    delivery.handleSaved(at('events', 1), delivery.lineage);
    expect(delivery.saved).toEqual(at('events', 1));
  });
});
