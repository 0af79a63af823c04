/** A worker that follows every stream of a Rowcast primary (docs/protocol.md, "Every stream"). */

import { describe, expect, test } from 'vitest';
import {
  at,
  ERA,
  FollowerEnd,
  type FollowerEndOptions,
  MEMORY,
  memoryEra,
  ORIGIN,
  ROWCAST,
  rowcast,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';

const MEMORY_ORIGIN = `${MEMORY.slice(0, 16)}.0.00000000`;

const made = (catalog: StreamName, token: Token, stream: StreamName): string =>
  `RDATA ${catalog} ${token} {"stream":"${stream}","made":1764281400123}`;

interface Answer {
  readonly history?: string;
  readonly pending?: boolean;
}

/** The whole of a catalog, as the primary gives it to START. */
function listing(
  catalog: StreamName,
  streams: readonly StreamName[],
  { history = ERA, pending = true }: Answer = {},
): string[] {
  return [
    ...(pending ? [`RELEASED ${catalog}`] : []),
    ...(streams.length > 0 ? [`HISTORY ${catalog} 0 ${history}`] : []),
    ...streams.map((stream, i) => made(catalog, i + 1, stream)),
    `POSITION ${catalog} ${streams.length} ${streams.length > 0 ? history : `${history.slice(0, 16)}.0.00000000`}`,
  ];
}

const NONE = [
  `POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`,
  ...listing('$streams.volatile', [], { history: MEMORY }),
];

/** Follows everything; the primary has these durable streams and no others. */
function following(
  from: 'start' | 'now',
  streams: readonly StreamName[],
  options: FollowerEndOptions & {
    readonly onReset?: SubscriptionSpec['onReset'];
    readonly positions?: readonly Position[];
  } = {},
): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribeAll(from, options.onReset, options.positions);
  end.greetedBy(ROWCAST);
  end.hear(...NONE, `POSITION $streams ${streams.length} ${streams.length > 0 ? ERA : ORIGIN}`);
  return end;
}

/** A boundary as a checkpoint keeps it. */
const boundary = (catalog: StreamName, token: Token, history?: string, pattern = '**'): Position =>
  at(`${catalog}/${pattern}`, token, history);
const boundariesOf = (end: FollowerEnd): Position[] => [...end.follower.boundaries];
const requestsOf = (lines: readonly string[]): string[] =>
  lines.filter((line) => line.startsWith('REPLICATE ') && !line.includes('$streams'));

describe('the boundary', () => {
  test('is where $streams stands now; then it asks for all of it, without waiting for RELEASED', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now');
    expect(end.greetedBy(ROWCAST)).toEqual(['REPLICATE $streams NOW', 'REPLICATE $streams.volatile NOW']);
    expect(end.hear(`POSITION $streams 7 ${ERA}`)).toEqual(['RELEASE $streams', 'REPLICATE $streams START']);
    expect(end.hear(`POSITION $streams.volatile 0 ${MEMORY_ORIGIN}`)).toEqual([
      'RELEASE $streams.volatile',
      'REPLICATE $streams.volatile START',
    ]);
    expect(boundariesOf(end)).toEqual([boundary('$streams', 7), boundary('$streams.volatile', 0, MEMORY_ORIGIN)]);
    expect(end.outputs.of('boundary'), 'the application is told to store them').toHaveLength(2);
  });

  test.each([
    ['start', ['REPLICATE events START', 'REPLICATE users START']],
    ['now', ['REPLICATE events NOW', 'REPLICATE users NOW']],
  ] as const)('a stream that was made at or below it is followed from %s', (from, lines) => {
    const end = following(from, ['events', 'users']);
    expect(end.hear(...listing('$streams', ['events', 'users']))).toEqual(lines);
  });

  test.each(['start', 'now'] as const)(
    'one that is made above it is followed from its first row, whatever %s says, and never by START',
    (from) => {
      const end = following(from, ['events']);
      expect(end.hear(...listing('$streams', ['events', 'made-meanwhile']))).toContain(
        `REPLICATE made-meanwhile 0 ${ORIGIN}`,
      );
      expect(end.hear(made('$streams', 3, 'made-later'))).toEqual([`REPLICATE made-later 0 ${ORIGIN}`]);
      end.hear(`HISTORY made-later 0 ${ERA}`, 'RDATA made-later 1 "first"');
      expect(end.takeRows()).toContain('made-later 1 ["first"] @1');
      expect(end.hear('REFUSED made-meanwhile GAP {"earliest":9}'), 'what was cut off is told').toEqual([]);
      expect(end.takeRows()).toEqual(['made-meanwhile failed GAP']);
    },
  );

  test('it is kept in a checkpoint: what the primary gained while the worker was away is followed from its first row', () => {
    const positions = [boundary('$streams', 1), at('events', 90)];
    const end = new FollowerEnd();
    end.subscribeAll('now', 'fail', positions);
    expect(end.greetedBy(ROWCAST)).toEqual([`REPLICATE $streams 1 ${ERA}`, 'REPLICATE $streams.volatile NOW']);
    expect(end.hear(made('$streams', 2, 'gained'))).toEqual([]);
    expect(end.hear(`POSITION $streams 2 ${ERA}`)).toEqual(['RELEASE $streams', 'REPLICATE $streams START']);
    expect(requestsOf(end.hear(...listing('$streams', ['events', 'gained'])))).toEqual([
      `REPLICATE gained 0 ${ORIGIN}`,
      `REPLICATE events 90 ${ERA}`,
    ]);
    expect(boundariesOf(end)[0], 'it stays').toEqual(boundary('$streams', 1));
  });

  test('a checkpoint that knows the boundary and not a stream below it says nothing of that stream', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'fail', [boundary('$streams', 1)]);
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 1 ${ERA}`);
    expect(requestsOf(end.hear(...listing('$streams', ['events'])))).toEqual(['REPLICATE events NOW']);
  });

  test('it outlives connections, also one that took the primary for another', () => {
    const end = following('now', []);
    end.hear(...listing('$streams', []));
    end.reconnect();
    expect(end.passTime(1_000), 'it says nothing').toEqual(['REPLICATE ALL NOW']);
    end.hear('POSITION events 3');
    expect(end.regreetedBy(ROWCAST)).toContain(`REPLICATE $streams 0 ${ORIGIN}`);
    expect(boundariesOf(end)).toContainEqual(boundary('$streams', 0, ORIGIN));
    end.hear(`HISTORY $streams 0 ${ERA}`, made('$streams', 1, 'gained'), `POSITION $streams 1 ${ERA}`);
    expect(requestsOf(end.hear(...listing('$streams', ['gained'])))).toEqual([`REPLICATE gained 0 ${ORIGIN}`]);
  });

  test('a cut before it is known loses nothing: it is asked for again', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now');
    end.greetedBy(ROWCAST);
    expect(end.regreetedBy(ROWCAST)).toEqual(['REPLICATE $streams NOW', 'REPLICATE $streams.volatile NOW']);
  });

  test('a cut in the middle of the list proves it again, and asks for nobody twice', () => {
    const end = following('now', ['events', 'users']);
    const lines = listing('$streams', ['events', 'users']);
    expect(end.hear(...lines.slice(0, 3))).toEqual([]);
    expect(end.regreetedBy(ROWCAST)).toContain(`REPLICATE $streams 2 ${ERA}`);
    expect(end.hear(`POSITION $streams 2 ${ERA}`)).toEqual(['RELEASE $streams', 'REPLICATE $streams START']);
    expect(end.hear(...lines), 'at the boundary').toEqual(['REPLICATE events NOW', 'REPLICATE users NOW']);
    expect(end.hear(made('$streams', 3, 'later')), 'above it').toEqual([`REPLICATE later 0 ${ORIGIN}`]);
  });

  // SPEC S19
  test('where a log has lost it while the list was read, everything that is made since is new', () => {
    const end = following('now', ['events', 'users']);
    end.hear(...listing('$streams', ['events', 'users']).slice(0, 2));
    end.regreetedBy(ROWCAST);
    expect(end.hear('REFUSED $streams RESET {}')).toEqual(['REPLICATE $streams START']);
    end.hear(`HISTORY $streams 0 ${ERA}`, made('$streams', 1, 'gained'));
    expect(end.hear(`POSITION $streams 1 ${ERA}`)).toEqual([`REPLICATE gained 0 ${ORIGIN}`]);
  });
});

describe('following them', () => {
  test('those that are followed by name are not followed twice', () => {
    const end = new FollowerEnd();
    end.subscribe('users', at('users', 53));
    end.subscribeAll('start');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 2 ${ERA}`);
    expect(end.hear(...listing('$streams', ['events', 'users']))).toEqual(['REPLICATE events START']);
  });

  test('each goes on from its own place, also those that only the checkpoint knows', () => {
    const end = new FollowerEnd();
    end.subscribeAll('start', 'fail', [at('users', 9)]);
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 1 ${ERA}`);
    expect(end.hear(...listing('$streams', ['events']))).toEqual(['REPLICATE events START']);
    expect(requestsOf(end.hear(...NONE)), 'every catalog was read').toEqual([`REPLICATE users 9 ${ERA}`]);
  });

  test('the follower is live when the catalogs are, and every stream of them', () => {
    const end = following('now', ['events']);
    expect(end.follower.isLive).toBe(false);
    end.hear(...listing('$streams', ['events']));
    expect(end.follower.isLive).toBe(false);
    end.hear(`POSITION events 5 ${ERA}`);
    expect(end.follower.isLive).toBe(true);
    expect(end.events.filter((kind) => kind === 'live')).toHaveLength(1);
    end.hear(made('$streams', 2, 'later'));
    expect(end.follower.isLive).toBe(false);
    end.hear(`POSITION later 0 ${ORIGIN}`);
    expect(end.follower.isLive).toBe(true);
  });

  test('a primary without a stream is live at once', () => {
    const end = following('now', []);
    end.hear(...listing('$streams', []));
    expect(end.follower.isLive).toBe(true);
  });

  test('one that was given up, or failed, does not come back', () => {
    const end = following('now', ['events', 'users']);
    end.hear(...listing('$streams', ['events', 'users']));
    end.unsubscribe('events');
    end.hear('RELEASED events', `POSITION users 5 ${ERA}`, 'REFUSED users RESET {}');
    expect(end.takeRows()).toContain('users failed RESET');
    expect(requestsOf(end.regreetedBy(ROWCAST))).toEqual([]);
    expect(end.subscribe('events', 'start')).toEqual(['REPLICATE events START']);
  });

  test('to follow everything as well takes no new connection', () => {
    const end = new FollowerEnd();
    end.greetedBy(ROWCAST);
    expect(end.subscribeAll('now')).toEqual(['REPLICATE $streams NOW', 'REPLICATE $streams.volatile NOW']);
  });

  test('a stream that is declared no more is no failure; it is asked for again on the next connection', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'fail', [boundary('$streams', 2), at('gone', 9)]);
    end.greetedBy(ROWCAST);
    end.hear(...NONE, `POSITION $streams 2 ${ERA}`, ...listing('$streams', ['events', 'gone']));
    end.hear('REFUSED gone UNKNOWN_STREAM {}', `POSITION events 1 ${ERA}`);
    expect(end.outputs.of('ended')).toEqual([]);
    expect(end.follower.isLive).toBe(true);
    end.regreetedBy(ROWCAST);
    expect(end.hear(`POSITION $streams 2 ${ERA}`)).toContain(`REPLICATE gone 9 ${ERA}`);
    end.hear('RDATA gone 10 1');
    expect(end.takeRows()).toContain('gone 10 [1] @10');
  });

  test('one that came back goes on where it was, not where the checkpoint once stood', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'fail', [at('events', 9)]);
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 1 ${ERA}`, ...listing('$streams', ['events']));
    end.hear('RDATA events 10 1', 'REFUSED events UNKNOWN_STREAM {}');
    end.regreetedBy(ROWCAST);
    expect(requestsOf(end.hear(`POSITION $streams 1 ${ERA}`))).toEqual([`REPLICATE events 10 ${ERA}`]);
  });
});

describe('another history', () => {
  const restarted = memoryEra(8, 'bbbbbbbbbbbbbbbb');

  test('after a volatile restart every volatile stream that is not followed is new; those that are hear of their reset', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now', 'by-durability');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION $streams 0 ${ORIGIN}`, ...listing('$streams', []));
    end.hear(
      `POSITION $streams.volatile 1 ${MEMORY}`,
      ...listing('$streams.volatile', ['typing'], { history: MEMORY }),
    );
    end.hear(`POSITION typing 5 ${MEMORY}`);
    expect(end.regreetedBy(rowcast(ERA, restarted))).toEqual([
      `REPLICATE $streams 0 ${ORIGIN}`,
      `REPLICATE $streams.volatile 1 ${MEMORY}`,
    ]);
    const facts = `{"earliest":1,"latest":2,"history":"${restarted}"}`;
    expect(end.hear(`REFUSED $streams.volatile RESET ${facts}`)).toEqual(['REPLICATE $streams.volatile START']);
    const lines = end.hear(
      ...listing('$streams.volatile', ['presence', 'typing'], { history: restarted, pending: false }),
    );
    expect(lines).toEqual([`REPLICATE presence 0 bbbbbbbbbbbbbbbb.0.00000000`, `REPLICATE typing 5 ${MEMORY}`]);
    expect(end.hear(`REFUSED typing RESET ${facts}`)).toEqual(['REPLICATE typing START']);
    expect(boundariesOf(end)[1]).toEqual(boundary('$streams.volatile', 0, restarted));
    expect(end.takeRows()).toContain('typing reset');
  });

  test('an observer, which asks for no boundary, takes the end of its first list for it', () => {
    const end = new FollowerEnd({ isObserver: true });
    end.subscribeAll('now');
    expect(end.greetedBy(ROWCAST)).toEqual(['REPLICATE $streams START', 'REPLICATE $streams.volatile START']);
    expect(end.hear(...listing('$streams', ['events'], { pending: false }))).toEqual(['REPLICATE events NOW']);
    expect(end.hear(made('$streams', 2, 'later'))).toEqual([`REPLICATE later 0 ${ORIGIN}`]);
  });

  test('one whose checkpoint is of another log takes all for new, as others are told by RESET', () => {
    const end = new FollowerEnd({ isObserver: true });
    end.subscribeAll('now', 'fail', [boundary('$streams', 50, 'cccccccccccccccc.7.00000000')]);
    end.greetedBy(ROWCAST);
    expect(end.hear(...listing('$streams', ['events'], { pending: false }))).toEqual([`REPLICATE events 0 ${ORIGIN}`]);
  });
});

describe('what a primary may not say', () => {
  test.each([
    ['a row that names no stream', '{"made":1}'],
    ['a row that is none', 'null'],
    ['a name that is none', '{"stream":"two words","made":1}'],
    ['a name of its own', '{"stream":"$streams","made":1}'],
  ])('%s', (_what, row) => {
    const end = following('now', []);
    const [error] = end.hear('RELEASED $streams', `HISTORY $streams 0 ${ERA}`, `RDATA $streams 1 ${row}`);
    expect(error).toMatch(/^ERROR stream \$streams has a row that names no stream/);
    end.close();
    expect(end.disconnected.code).toBe('INVALID_ROW');
  });

  test('a row of a later version is passed over', () => {
    const end = following('now', []);
    expect(
      end.hear('RELEASED $streams', `HISTORY $streams 0 ${ERA}`, 'RDATA $streams 1 {"stream":"events","moved":1}'),
    ).toEqual([]);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test('that it has no stream of its streams: nobody would know what is missed', () => {
    const end = new FollowerEnd();
    end.subscribeAll('now');
    end.greetedBy(ROWCAST);
    expect(end.hear('REFUSED $streams UNKNOWN_STREAM {}')).toEqual([expect.stringMatching(/^ERROR /)]);
    end.close();
    expect(end.disconnected.code).toBe('UNKNOWN_STREAM');
    end.wait();
    end.open();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([
      'REPLICATE $streams NOW',
      'REPLICATE $streams.volatile NOW',
    ]);
  });
});

test('toward a primary that is not Rowcast there are no catalogs', () => {
  const end = following('now', []);
  expect(end.regreetedBy(SYNAPSE)).toEqual(['REPLICATE ALL NOW']);
  end.hear('POSITION $streams 4', 'POSITION events 5');
  expect(end.takeRows()).toEqual(['events @5 live']);
  expect(end.regreetedBy(ROWCAST)).toContain(`REPLICATE $streams 0 ${ORIGIN}`);
});

// SPEC S7
test('1,500 streams are followed on one connection, each asked for once', () => {
  const names = Array.from({ length: 1_500 }, (_, i) => `room-${i}`);
  const end = following('start', names);
  const lines = end.hear(...listing('$streams', names));
  expect(lines).toEqual(names.map((name) => `REPLICATE ${name} START`));
  end.hear(...names.flatMap((name) => [`HISTORY ${name} 0 ${ERA}`, `RDATA ${name} 1 1`, `POSITION ${name} 1 ${ERA}`]));
  expect(end.follower.isLive).toBe(true);
  expect(end.batches).toHaveLength(1_500);
  expect(end.outputs.of('connect')).toHaveLength(1);
  end.regreetedBy(ROWCAST);
  expect(requestsOf(end.hear(`POSITION $streams 1500 ${ERA}`))).toHaveLength(1_500);
});
