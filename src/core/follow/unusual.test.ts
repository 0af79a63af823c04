/** Rare events, or events with an unhealthy primary. Each of these went wrong once. */

import { describe, expect, test } from 'vitest';
import { at, ERA, era, FollowerEnd, memoryEra, ROWCAST, SYNAPSE } from '../../../test/support/worker-ends.ts';
import { PrimaryEnd } from '../../../test/support/primary-end.ts';

const made = (token: number, stream: string, catalog = '$streams'): string =>
  `RDATA ${catalog} ${token} {"stream":"${stream}","made":1}`;

/** Follows all from now: the durable log has `events`, the boundary is 1. */
function followingAll(options: ConstructorParameters<typeof FollowerEnd>[0] = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribeAll('now', 'fail');
  expect(end.greetedBy(ROWCAST)).toEqual(['REPLICATE $streams NOW', 'REPLICATE $streams.volatile NOW']);
  end.hear(`POSITION $streams 1 ${ERA}`, `POSITION $streams.volatile 0 ${memoryEra(0)}`);
  expect(
    end.hear('RELEASED $streams', `HISTORY $streams 0 ${ERA}`, made(1, 'events'), `POSITION $streams 1 ${ERA}`),
  ).toEqual(['REPLICATE events NOW']);
  end.hear('RELEASED $streams.volatile', `POSITION $streams.volatile 0 ${memoryEra(0)}`, `POSITION events 5 ${ERA}`);
  return end;
}

describe('a primary of another kind on the next connection', () => {
  test('a number that a primary without histories gave is not asked of a Rowcast primary: it is told as RESET', () => {
    const end = new FollowerEnd();
    end.subscribe('caches', 'now', 'now');
    end.greetedBy(SYNAPSE);
    end.hear('POSITION caches 100');
    end.takeRows();
    expect(end.regreetedBy(ROWCAST)).toEqual(['REPLICATE caches NOW']);
    expect(end.takeRows()).toEqual(['caches reset']);
  });

  test('rows of a primary without histories do not follow a position that has one without a RESET', () => {
    const end = new FollowerEnd();
    end.subscribe('events', at('events', 5), 'earliest');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION events 5 ${ERA}`);
    end.regreetedBy(SYNAPSE);
    end.takeRows();
    end.hear('RDATA events 6 "x"', 'POSITION events 6');
    expect(end.takeRows()[0]).toBe('events reset');
  });
});

describe('the boundary', () => {
  test.each([
    ['late', true],
    ['of another kind', false],
  ])('outlives a primary that is %s', (_what, isLate) => {
    const end = followingAll();
    end.close();
    end.wait();
    end.open();
    if (isLate) {
      end.passTime(1_000);
      end.hear('SERVER example.com', `PING ${ROWCAST}`);
    } else end.hear('SERVER example.com', `PING ${SYNAPSE}`);
    expect([...end.follower.boundaries].map(({ token }) => token)).toEqual([1, 0]);
    end.close();
    end.wait();
    end.open();
    const asked = end.hear('SERVER example.com', `PING ${ROWCAST}`);
    expect(asked).not.toContain('REPLICATE $streams NOW');
  });
});

test('a stream too many is told again on each connection, never passed over', () => {
  const end = followingAll({ limits: { maxStreams: 3 } });
  end.hear(made(2, 'news'));
  end.close();
  expect(end.disconnected.code).toBe('TOO_MANY_STREAMS');
  end.wait();
  end.open();
  expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toContain(`REPLICATE $streams 1 ${ERA}`);
});

test('an ERA of the same number is a fault', () => {
  const end = new FollowerEnd();
  end.subscribe('events', 'now');
  end.greetedBy(ROWCAST);
  const [logId] = ERA.split('.');
  expect(end.hear(`ERA ${logId} 7.ffffffff`).join()).toMatch(/^ERROR /);
});

test('nothing is acknowledged of a replication that nothing came of', () => {
  const end = new FollowerEnd();
  end.subscribeAll('now');
  end.greetedBy(ROWCAST);
  end.hear(`POSITION $streams 9 ${ERA}`);
  end.hear('RELEASED $streams', `HISTORY $streams 0 ${ERA}`);
  expect(end.passTime(1_000).filter((line) => line.startsWith('APPLIED'))).toEqual([]);
});

test('to give up the one stream that is not live makes the worker live', () => {
  const end = new FollowerEnd();
  end.subscribe('events', 'now');
  end.subscribe('typing', 'now');
  end.greetedBy(ROWCAST);
  end.hear(`POSITION events 5 ${ERA}`);
  expect(end.events).not.toContain('live');
  end.unsubscribe('typing');
  expect(end.follower.isLive).toBe(true);
  expect(end.events).toContain('live');
});

test('an era that begins before the peer has greeted is told when it has', () => {
  const end = PrimaryEnd.opened();
  end.beginEra(era(2));
  expect(end.hear('PING 1 rowcast/2')).toEqual(['ERA 8f3c1d2e4b5a6978 2.a1b2c3d4']);
});

test('attributes that the socket takes are progress', () => {
  const end = PrimaryEnd.rowcast({}, ' attr');
  end.streams.appendWith({ long: 'x'.repeat(600_000) }, 'events', 1);
  end.isWriting = false;
  end.hear('REPLICATE events START');
  const start = end.now;
  for (let i = 1; i <= 11; i++) {
    end.now = start + i * 6_000;
    end.session.handleProgress(end.now, 600_000 - i * 20_000);
    end.hear('PING 2');
    end.session.handleTimeout(end.now);
    end.poll();
  }
  expect(end.codes).toEqual([]);
});

test('moves and resets that wait for a handler count as what waits', () => {
  const end = new FollowerEnd({ limits: { maxQueuedBytes: 10_000 } });
  end.subscribe('events', at('events', 5), 'now');
  end.greetedBy(ROWCAST);
  end.isApplying = false;
  for (let i = 0; i < 1_000; i++) end.hear(`POSITION events 5 ${ERA}`, 'REFUSED events RESET {}');
  expect(end.follower.isPaused).toBe(true);
});

test('what is not heard any more is not live: from our own ERROR on all that comes is discarded', () => {
  const end = new FollowerEnd();
  end.subscribe('caches', 'now', 'now');
  end.greetedBy(ROWCAST);
  end.hear(`POSITION caches 5 ${ERA}`);
  expect(end.isLive('caches')).toBe(true);
  expect(end.hear('NONSENSE')).toEqual(['ERROR invalid command: NONSENSE']);
  end.hear('RDATA caches 6 ["user",["a"]]');
  expect(end.takeRows().join()).not.toContain('caches 6');
  expect(end.isLive('caches')).toBe(false);
});

test('rows of the catalog that cannot be followed do not count as waiting for ever', () => {
  const end = new FollowerEnd({ limits: { maxStreams: 3, maxQueuedBytes: 100 } });
  end.subscribeAll('now');
  end.greetedBy(ROWCAST);
  end.hear(`POSITION $streams 0 ${ERA}`, 'RELEASED $streams', `HISTORY $streams 0 ${ERA}`, made(1, 'a'));
  let after = 1;
  for (let i = 0; i < 8 && !end.follower.isPaused; i++) {
    end.hear(made(after + 1, `s${after}`));
    const asked = end.regreetedBy(ROWCAST).find((line) => line.startsWith('REPLICATE $streams '));
    after = Number(asked?.split(' ')[2]);
  }
  expect(end.follower.isPaused).toBe(false);
});
