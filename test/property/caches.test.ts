/**
 * No order of loads, invalidations, positions and cuts makes a cache lie. fast-check prints the
 * seed of a failure.
 */

import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { WhenSuspect } from '../../src/cache/index.ts';
import { CacheWorld, type Step } from '../support/cache-world.ts';

const RUNS = 10_000;

const entry = fc.nat({ max: 3 });
const load = fc.nat({ max: 7 });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      write: fc.oneof({ weight: 6, arbitrary: fc.nat({ max: 5 }) }, { weight: 1, arbitrary: fc.nat({ max: 7 }) }),
    }),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ kind: 'append' }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      lines: fc.constantFrom(1, 2, Infinity),
      held: fc.constantFrom(0, 0, 0, 1, 7),
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('read' as const), entry }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait-and-read' as const), entry }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'prefill' }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('query' as const, 'finish' as const), load }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fail' as const), load }) },
  { weight: 6, arbitrary: fc.constant<Step>({ kind: 'turn' }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'connect' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Step>({ kind: 'cut' }, { kind: 'cut' }, { kind: 'reset' }, { kind: 'trim' }),
  },
);

const settings = fc.record({
  whenSuspect: fc.constantFrom<WhenSuspect[]>('load', 'serve', { maxStaleMs: 1 }),
  prefixes: fc.constantFrom(0, 1),
  max: fc.constantFrom(2, 100),
});

// SPEC C1
test('a value that is returned after waitFor(token) resolved is never older than that token', async () => {
  let hits = 0;
  let discarded = 0;
  let suspect = 0;
  await fc.assert(
    fc.asyncProperty(
      settings,
      fc.boolean(),
      fc.array(step, { maxLength: 60, size: 'max' }),
      async (options, isLiveFirst, steps) => {
        const world = new CacheWorld(options);
        if (isLiveFirst) await world.run([{ kind: 'connect' }, { kind: 'send', lines: Infinity, held: 0 }]);
        await world.run(steps);
        await world.end();
        expect(world.faults).toEqual([]);
        const stats = world.caches.stats().caches['get']!;
        hits += stats.hits;
        discarded += stats.discardedFills;
        suspect += stats.suspectReads;
      },
    ),
    { numRuns: RUNS },
  );
  // What is never met is not proven.
  expect(Math.min(hits, discarded, suspect)).toBeGreaterThan(RUNS / 10);
});
