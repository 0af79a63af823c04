/** The checkers can fail: each of them finds the machine that is broken on purpose, and no other checker does. */

import { expect, test } from 'vitest';
import { allCheckers } from '../../src/testing/checkers.ts';
import { Truth } from '../../src/testing/truth.ts';
import { runWorld } from '../../src/testing/world.ts';
import type { WorldParts } from '../../src/testing/world-result.ts';
import type { WorldShape } from '../../src/testing/world-shape.ts';
import * as broken from './broken.ts';

interface Case {
  readonly name: string;
  readonly parts: Partial<WorldParts>;
  readonly checker: string;
  /** Where the seeds alone do not bring it out soon. */
  readonly shape?: Partial<WorldShape>;
}

const cases: readonly Case[] = [
  { name: 'a primary that drops a row', parts: broken.dropsARow, checker: 'whole batches' },
  { name: 'a primary that splits a batch', parts: broken.splitsABatch, checker: 'whole batches' },
  { name: 'a primary that joins batches', parts: broken.joinsBatches, checker: 'whole batches' },
  { name: 'a primary that drops a batch', parts: broken.dropsABatch, checker: 'nothing missing' },
  { name: 'a primary that swaps rows', parts: broken.swapsRows, checker: 'in order' },
  { name: 'a follower that repeats a batch', parts: broken.repeatsABatch, checker: 'each row once' },
  {
    name: 'a follower that moves the position before the rows',
    parts: broken.movesPositionEarly,
    checker: 'honest positions',
  },
  {
    name: 'a follower that does not say of which history a position is',
    parts: broken.tellsNoHistory,
    checker: 'honest positions',
  },
  { name: 'a follower that lets the position fall', parts: broken.letsPositionFall, checker: 'honest positions' },
  { name: 'a follower that tells a reset where there is none', parts: broken.tellsFalseReset, checker: 'true resets' },
  { name: 'a follower that hides a reset', parts: broken.hidesReset, checker: 'true resets' },
  {
    name: 'an application that stores positions before it applies',
    parts: broken.storesEarly,
    checker: 'at least once',
  },
  { name: 'a primary that sends however much waits', parts: broken.sendsWithoutEnd, checker: 'bounded memory' },
  { name: 'a follower that takes however much waits', parts: broken.takesWithoutEnd, checker: 'bounded memory' },
  { name: 'a follower that does not pause the connection', parts: broken.keepsReading, checker: 'bounded memory' },
  { name: 'a primary that sends no keep-alive', parts: broken.sendsNoKeepAlive, checker: 'keep-alive' },
  { name: 'a primary that notices no silence', parts: broken.noticesNoSilence, checker: 'keep-alive' },
  {
    name: 'a primary that is too quick to call a worker slow',
    parts: broken.callsEveryoneSlow,
    checker: 'slow means slow',
  },
  { name: 'a primary that never sends POSITION', parts: broken.sendsNoPosition, checker: 'everyone reaches latest' },
  { name: 'a primary that forgets hints', parts: broken.forgetsHints, checker: 'everyone reaches latest' },
  { name: 'a primary that throws on its input', parts: broken.throwsOnInput, checker: 'nothing throws' },
  { name: 'a primary that throws on an answer', parts: broken.throwsOnAnswer, checker: 'nothing throws' },
  {
    name: 'a log that acknowledges before it keeps',
    parts: broken.acknowledgesEarly,
    checker: 'acknowledged is kept',
    shape: { log: { maxCommitMs: 60, maxHintMs: 0, maxReadMs: 0, chunksPercent: 100 }, meanFaultGapMs: 60 },
  },
];

const SEEDS = 40;

test.each(cases)('"$checker" finds $name', async ({ parts, checker, shape = {} }) => {
  const reports = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { failure } = await runWorld({ seed, parts, shape });
    if (failure !== undefined) reports.add(failure.checkers.join(' and '));
  }
  expect([...reports]).toEqual([checker]);
});

test('there is a broken machine for every checker', () => {
  const truth = new Truth(() => ({ logId: 'a', earliest: 1, latest: 0 }));
  const names = allCheckers(truth).map(({ name }) => name);
  expect(new Set(cases.map(({ checker }) => checker))).toEqual(new Set(names));
});

test('half a batch in a log after a start is found', () => {
  const truth = new Truth(() => ({ logId: 'a', earliest: 1, latest: 1 }));
  const rows = [0, 1].map((index) => ({ batch: 7, index, of: 3 }));
  const saw = allCheckers(truth).map((checker) =>
    checker.see({ kind: 'recovered', stream: 'events', logId: 'a', earliest: 1, rows }),
  );
  expect(saw.filter((text) => text !== undefined)).toEqual(['events holds 2 of the 3 rows of batch 7 after a start']);
});
