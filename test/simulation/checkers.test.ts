/**
 * The checkers can fail: each one finds the machine that is broken on purpose, and no other checker
 * does.
 */

import { expect, test } from 'vitest';
import { type CheckerName, checkerNames } from '../../src/testing/checkers.ts';
import { runWorld } from '../../src/testing/world.ts';
import type { WorldParts } from '../../src/testing/world-result.ts';
import type { WorldShape } from '../../src/testing/world-shape.ts';
import * as broken from './broken.ts';

interface Case {
  readonly name: string;
  readonly parts: Partial<WorldParts>;
  readonly checker: CheckerName;
  /** What else is true of it: no row may come that would show it before the end. */
  readonly also?: readonly CheckerName[];
  /** Where the seeds alone do not bring it out soon. */
  readonly shape?: Partial<WorldShape>;
}

const cases: readonly Case[] = [
  { name: 'a primary that drops a row', parts: broken.dropsARow, checker: 'whole batches' },
  {
    name: 'a primary that splits a batch',
    parts: broken.splitsABatch,
    checker: 'whole batches',
    // Two rows of one token are a fault, where the first one has been read.
    also: ['nothing throws'],
  },
  { name: 'a primary that joins batches', parts: broken.joinsBatches, checker: 'whole batches' },
  {
    name: 'a primary that drops a batch',
    parts: broken.dropsABatch,
    checker: 'nothing missing',
    also: ['new streams from their first row'],
  },
  { name: 'a primary that swaps rows', parts: broken.swapsRows, checker: 'once and in order' },
  { name: 'a worker that repeats a batch', parts: broken.repeatsABatch, checker: 'once and in order' },
  {
    name: 'a log that compares numbers alone',
    parts: broken.knowsNoHistories,
    checker: 'one history',
    also: ['everyone reaches latest'],
    shape: {
      history: { losesTails: true, restores: true, copies: false },
      log: {
        maxCommitMs: 0,
        maxHintMs: 0,
        maxReadMs: 0,
        failsPercent: 0,
        chunksPercent: 100,
        syncedPercent: 0,
        skipsPercent: 10,
      },
      meanFaultGapMs: 60,
    },
  },
  { name: 'a worker that saves positions too early', parts: broken.savesEarly, checker: 'honest positions' },
  {
    name: 'a worker that follows new streams from new rows on',
    parts: broken.missesFirstRows,
    checker: 'new streams from their first row',
    also: ['nothing missing', 'honest positions'],
    shape: { deletes: true, batchesBefore: 0 },
  },
  {
    name: 'a worker that tells of no deletion',
    parts: broken.tellsNoDeletion,
    checker: 'deletions are told',
    also: ['one history', 'honest positions', 'everyone reaches latest'],
    shape: { deletes: true, churns: true },
  },
  {
    name: 'a checkpoint that keeps what was deleted',
    parts: broken.savesForEver,
    checker: 'the deleted are forgotten',
    also: ['honest positions'],
    shape: { deletes: true, calmMs: 2_000 },
  },
  {
    name: 'a log that forgets what it deleted',
    parts: broken.deletesInMemoryAlone,
    checker: 'acknowledged is kept',
    // Where histories change, an acknowledged deletion may be lost, and nobody can blame the log.
    shape: { deletes: true, meanFaultGapMs: 60, history: { losesTails: false, restores: false, copies: false } },
  },
  { name: 'a worker that tells a reset where there is none', parts: broken.tellsFalseReset, checker: 'true resets' },
  {
    name: 'a worker that does not wait long enough',
    parts: broken.waitsTooShort,
    checker: 'waits are honest',
    shape: { waitsPercent: 60 },
  },
  {
    name: 'a worker that waits for ever',
    parts: broken.waitsForEver,
    checker: 'waits end',
    shape: { waitsPercent: 60 },
  },
  { name: 'a worker that does not end', parts: broken.neverStops, checker: 'ends in time' },
  { name: 'a primary that sends however much waits', parts: broken.sendsWithoutEnd, checker: 'bounded memory' },
  { name: 'a worker that does not pause the connection', parts: broken.keepsReading, checker: 'bounded memory' },
  { name: 'a primary that sends no keep-alive', parts: broken.sendsNoKeepAlive, checker: 'keep-alive' },
  { name: 'a primary that notices no silence', parts: broken.noticesNoSilence, checker: 'keep-alive' },
  {
    name: 'a primary that is too quick to call a worker slow',
    parts: broken.callsEveryoneSlow,
    checker: 'slow means slow',
  },
  { name: 'a primary that hangs up', parts: broken.hangsUp, checker: 'no undue end' },
  { name: 'a primary that never sends POSITION', parts: broken.sendsNoPosition, checker: 'everyone reaches latest' },
  { name: 'a log that forgets hints', parts: broken.forgetsHints, checker: 'everyone reaches latest' },
  { name: 'a socket that throws', parts: broken.throwsOnOutput, checker: 'nothing throws' },
  {
    name: 'a log that acknowledges before it keeps',
    parts: broken.acknowledgesEarly,
    checker: 'acknowledged is kept',
  },
];

const MOST_SEEDS = 60;
const ENOUGH_REPORTS = 4;

test.each(cases)('"$checker" finds $name', async ({ parts, checker, also, shape = {} }) => {
  const reports: string[] = [];
  const others: ReadonlySet<string> = new Set(also);
  for (let seed = 1; seed <= MOST_SEEDS && reports.length < ENOUGH_REPORTS; seed++) {
    const { failure } = await runWorld({ seed, parts, shape });
    if (failure !== undefined && !others.has(failure.checker)) reports.push(failure.checker);
  }
  expect(reports).toEqual(Array.from({ length: ENOUGH_REPORTS }, () => checker));
});

test('there is a broken machine for every checker', () => {
  expect(new Set(cases.map(({ checker }) => checker))).toEqual(new Set(checkerNames));
});
