/**
 * APPLIED: what a worker tells of its handlers and its checkpoint (docs/protocol.md, "APPLIED").
 */

import { describe, expect, test } from 'vitest';
import {
  at,
  ERA,
  era,
  FollowerEnd,
  type FollowerEndOptions,
  ROWCAST,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import { defaultWorkerLimits } from '../wire/limits.ts';

const EVERY = defaultWorkerLimits.appliedIntervalMs;

const acknowledged = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith('APPLIED '));

/** Live at token 5, which a checkpoint holds, and what that gave to tell is told. */
function following(options: FollowerEndOptions = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribe('events', at('events', 5), 'earliest', { applied: at('events', 5), saved: at('events', 5) });
  end.greetedBy(ROWCAST);
  end.hear(`POSITION events 5 ${ERA}`);
  expect(acknowledged(end.passTime(EVERY))).toEqual(['APPLIED events 5 5']);
  return end;
}

const tell = (end: FollowerEnd): string[] => acknowledged(end.passTime(EVERY));

test('what was applied is told within a second, and at most once a second and stream', () => {
  const end = following();
  const told: string[] = [];
  for (let i = 0; i < 100; i++) {
    end.hear(`RDATA events ${6 + i} 1`);
    told.push(...acknowledged(end.passTime(100)));
  }
  expect(told).toHaveLength(10);
  expect(told[0]).toMatch(/^APPLIED events \d+ 5$/);
  expect(told.at(-1)).toBe('APPLIED events 105 5');
});

test('streams that moved are told in one go, others not', () => {
  const end = following();
  end.subscribe('typing', 'now');
  end.subscribe('receipts', 'now');
  end.hear(`POSITION typing 3 ${ERA}`, `POSITION receipts 8 ${ERA}`);
  expect(tell(end)).toEqual(['APPLIED typing 3 NONE', 'APPLIED receipts 8 NONE']);
  end.hear('RDATA receipts 9 1', 'RDATA events 6 1');
  expect(tell(end)).toEqual(['APPLIED receipts 9 NONE', 'APPLIED events 6 5']);
});

test('nothing that moved is nothing to tell, also when PING is due', () => {
  const end = following();
  expect(acknowledged(end.passTime(14_000))).toEqual([]);
  end.hear(`POSITION events 5 ${ERA}`);
  expect(tell(end)).toEqual([]);
});

test('what waits for its handler is not applied', () => {
  const end = following();
  end.isApplying = false;
  end.hear('RDATA events 6 1', 'RDATA events 7 1');
  expect(tell(end)).toEqual([]);
  end.apply(1);
  expect(tell(end)).toEqual(['APPLIED events 6 5']);
});

test('what was applied is told once in appliedIntervalMs', () => {
  const end = new FollowerEnd({ limits: { appliedIntervalMs: 50 } });
  end.subscribe('events', 'now');
  end.greetedBy(ROWCAST);
  end.hear(`POSITION events 5 ${ERA}`);
  expect(acknowledged(end.passTime(50))).toEqual(['APPLIED events 5 NONE']);
  end.hear('RDATA events 6 1');
  expect(acknowledged(end.passTime(49))).toEqual([]);
  expect(acknowledged(end.passTime(1))).toEqual(['APPLIED events 6 NONE']);
});

describe('saved', () => {
  test('is told once a checkpoint holds it, also when nothing else moved', () => {
    const end = following();
    end.hear('RDATA events 6 1');
    expect(tell(end)).toEqual(['APPLIED events 6 5']);
    end.saved('events');
    expect(tell(end)).toEqual(['APPLIED events 6 6']);
  });

  test('a place that a person named is saved by nobody', () => {
    const end = new FollowerEnd();
    end.subscribe('events', at('events', 5), 'fail', { applied: at('events', 5) });
    end.greetedBy(ROWCAST);
    end.hear(`POSITION events 5 ${ERA}`);
    expect(tell(end)).toEqual(['APPLIED events 5 NONE']);
  });

  // SPEC D9
  test('what was saved before a reset is never told after it, nor is a write that ends after it', () => {
    const end = following();
    const subscription = end.subscription('events');
    const { lineage } = subscription.delivery;
    end.hear('RDATA events 6 1', 'REFUSED events RESET {}', `HISTORY events 0 ${era(8)}`, 'RDATA events 8 1');
    end.follower.handleSaved(end.now, subscription, at('events', 6), lineage);
    expect(tell(end)).toEqual(['APPLIED events 8 NONE']);
    end.saved('events');
    expect(tell(end)).toEqual(['APPLIED events 8 8']);
  });

  test('a subscription from the start has nothing saved, whatever an earlier one had', () => {
    const end = following();
    end.unsubscribe('events');
    end.subscribe('events', 'start');
    end.hear('RELEASED events', `HISTORY events 0 ${ERA}`, 'RDATA events 1 1');
    expect(tell(end)).toEqual(['APPLIED events 1 NONE']);
  });
});

describe('only what the present replication is about', () => {
  test('nothing while it is asked for, refused, or released', () => {
    const end = following();
    end.hear('RDATA events 6 1', 'REFUSED events AHEAD {}');
    expect(tell(end)).toEqual([]);
    const again = following();
    again.hear('RDATA events 6 1');
    again.unsubscribe('events');
    expect(tell(again)).toEqual([]);
    again.subscribe('events', at('events', 6));
    expect(tell(again)).toEqual([]);
  });

  test('nothing below where it began: rows of before the cut are not of it', () => {
    const end = following();
    end.isApplying = false;
    end.hear('RDATA events 6 1', 'RDATA events 7 1', 'RDATA events 8 1');
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE events 8 ${ERA}`]);
    end.hear(`POSITION events 8 ${ERA}`);
    end.apply(2);
    expect(tell(end)).toEqual([]);
    end.apply();
    expect(tell(end)).toEqual(['APPLIED events 8 5']);
  });

  test('nothing of before a reset that waits to be applied', () => {
    const end = following();
    end.isApplying = false;
    end.hear('RDATA events 60 1', 'REFUSED events RESET {}', `HISTORY events 0 ${era(8)}`, 'RDATA events 1 1');
    expect(tell(end)).toEqual([]);
    end.apply(1);
    expect(tell(end)).toEqual([]);
    end.apply();
    expect(tell(end)).toEqual(['APPLIED events 1 NONE']);
  });

  test('after a reconnect the same is told again: the primary has forgotten it with the connection', () => {
    const end = following();
    end.regreetedBy(ROWCAST);
    end.hear(`POSITION events 5 ${ERA}`);
    expect(tell(end)).toEqual(['APPLIED events 5 5']);
  });
});

test('a worker that stops tells at once what it has not told', () => {
  const end = following();
  end.hear('RDATA events 6 1');
  expect(end.stop()).toEqual(['APPLIED events 6 5']);
});

test('no other primary is told, nor is any by an observer', () => {
  const lenient = new FollowerEnd();
  lenient.subscribe('events', 5);
  lenient.greetedBy(SYNAPSE);
  lenient.hear('POSITION events 5', 'RDATA events 6 1', 'PING 2');
  expect(tell(lenient)).toEqual([]);
  const observer = new FollowerEnd({ isObserver: true });
  observer.subscribe('events', at('events', 5));
  observer.greetedBy(ROWCAST);
  observer.hear(`POSITION events 5 ${ERA}`, 'RDATA events 6 1');
  expect(tell(observer)).toEqual([]);
});
