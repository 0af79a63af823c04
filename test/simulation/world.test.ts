/** Worlds from seeds: whatever befalls primary, workers, links and log, every checker is content, and everyone reaches `latest`. */

import { expect, test } from 'vitest';
import { runWorld } from '../../src/testing/world.ts';
import { describeFailure } from '../../src/testing/world-result.ts';

/**
 * Seeds that found a bug, and which. A change of what a world draws gives a seed another meaning: then it is one more seed,
 * and its text says what to look for should it come back.
 */
const named: readonly (readonly [seed: number, found: string])[] = [
  [2, 'a greeting that came late left the worker under the lenient rules: its positions had no log id'],
  [213, 'under the lenient rules rows came again after a reconnect that a Rowcast primary would not have repeated'],
  [25, 'a link that died before the first PING came was never given up'],
  [13, 'a start that moved twice before the first row came was told as a gap'],
  [1, 'a start that had moved was told as a reset when the stream began another history'],
  [1965, 'a subscription added to an open connection was not checked against the history of the primary'],
  [8307, 'a start that had moved was asked of another history, whose greeting came late'],
  [
    42,
    'whoever followed all streams of a Rowcast primary that greeted late stayed under the lenient rules, and missed rows',
  ],
  [38591, 'a worker that had read a row before its hint came was ahead of the primary that it came back to'],
];

test.each(named)('seed %i stays well: %s', async (seed) => {
  await expectWell(seed, 1);
});

const ranges = [1, 501, 1_001, 1_501, 2_001, 2_501];

test.each(ranges)('500 worlds from seed %i are well', async (first) => {
  await expectWell(first, 500);
});

const chance = 1_000_000 + Math.floor(Math.random() * 1_000_000_000);

test(`300 worlds from seed ${chance}, which is another one in every run, are well`, async () => {
  await expectWell(chance, 300);
});

test('a seed repeats what it did, to the last millisecond', async () => {
  for (const seed of [4, 5, 6]) {
    const first = await runWorld({ seed, keepsTrace: true });
    const second = await runWorld({ seed, keepsTrace: true });
    expect(first.trace.length).toBeGreaterThan(100);
    expect(second).toEqual(first);
  }
});

test('worlds are not idle: rows are applied in each, and most have faults of several kinds', async () => {
  const kinds = new Set<string>();
  for (let seed = 1; seed <= 50; seed++) {
    const { appliedBatches, faults } = await runWorld({ seed });
    expect(appliedBatches, `batches applied in the world of seed ${seed}`).toBeGreaterThan(5);
    for (const fault of faults) kinds.add(fault.replaceAll(/\d+/g, '').replace(/^ ms: /, ''));
  }
  expect(kinds.size).toBeGreaterThan(12);
});

async function expectWell(first: number, count: number): Promise<void> {
  const failures: string[] = [];
  for (let seed = first; seed < first + count; seed++) {
    const result = await runWorld({ seed });
    if (result.failure !== undefined) failures.push(describeFailure(result));
  }
  expect(failures, failures.join('\n\n')).toEqual([]);
}
