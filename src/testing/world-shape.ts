/** What a world is like: how many take part, how large and slow everything is. Drawn from the seed, small, so that every bound is met. */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import {
  defaultPrimaryLimits,
  defaultWorkerLimits,
  type PrimaryLimits,
  type WorkerLimits,
} from '../core/wire/limits.ts';

export interface WorldShape {
  readonly streams: readonly Stream[];
  readonly workers: number;
  /** Faults and appends come for this long; then everyone has calmMs to reach `latest`. */
  readonly faultsForMs: Millis;
  readonly calmMs: Millis;
  readonly meanFaultGapMs: Millis;
  readonly meanAppendGapMs: Millis;
  /** Batches of each stream that are there before the first worker comes. */
  readonly batchesBefore: number;
  readonly maxRowsOfBatch: number;
  /** Of a hundred rows, how many are large. */
  readonly largePercent: number;
  readonly batchLimits: BatchLimits;
  readonly primaryLimits: PrimaryLimits;
  readonly workerLimits: WorkerLimits;
  readonly slowConsumer: 'disconnect' | 'catch-up';
  readonly tailBytes: number;
  readonly network: { readonly maxWindowBytes: number; readonly maxDelayMs: Millis; readonly tinyPercent: number };
  readonly log: {
    readonly maxCommitMs: Millis;
    readonly maxHintMs: Millis;
    readonly maxReadMs: Millis;
    readonly chunksPercent: number;
  };
  /** Of a hundred positions, how many a worker stores at once. */
  readonly storedPercent: number;
  /** What a subscriber takes for one batch. */
  readonly maxApplyMs: Millis;
  /** When all is done, nothing happens for a while: a connection must outlive that. */
  readonly hasSilence: boolean;
}

/** The longest text that a large row carries beside what every row has. */
export const LARGE_ROW_CHARS = 1_200;

/** A link moves at most its window within a delay: narrow ones are quick, so that what waits can pass in the time that there is. */
const speeds: readonly { readonly maxWindowBytes: number; readonly maxDelayMs: Millis }[] = [
  { maxWindowBytes: 160, maxDelayMs: 1 },
  { maxWindowBytes: 600, maxDelayMs: 4 },
  { maxWindowBytes: 3_000, maxDelayMs: 15 },
  { maxWindowBytes: 16_000, maxDelayMs: 1 },
  { maxWindowBytes: 16_000, maxDelayMs: 30 },
];

export function drawShape(random: Random): WorldShape {
  const pick = <Choice>(...choices: readonly Choice[]): Choice =>
    choices[randomInteger(random, 0, choices.length - 1)]!;
  const batchLimits: BatchLimits = { maxLineBytes: 1_500, maxBatchBytes: 10_000 };
  const sessionLimits = {
    maxLineBytes: batchLimits.maxLineBytes,
    keepAliveIntervalMs: 200,
    idleTimeoutMs: 600,
    flushTimeoutMs: 100,
  };
  return {
    streams: drawStreams(random),
    workers: pick(2, 2, 2, 3),
    faultsForMs: pick(1_000, 2_000, 3_000),
    calmMs: 8_000,
    meanFaultGapMs: pick(80, 200, 500),
    meanAppendGapMs: pick(20, 60, 150),
    batchesBefore: pick(0, 3, 15),
    maxRowsOfBatch: pick(1, 3, 6),
    largePercent: pick(0, 3, 10),
    batchLimits,
    primaryLimits: {
      ...defaultPrimaryLimits,
      ...sessionLimits,
      pageBytes: pick(1, 150, 600, 3_000, 65_536),
      maxLagRows: pick(4, 25, 1_000),
      stalledTimeoutMs: pick(250, 450, 5_000),
    },
    workerLimits: {
      ...defaultWorkerLimits,
      ...sessionLimits,
      maxBatchBytes: batchLimits.maxBatchBytes,
      maxQueuedBytes: pick(1, 200, 1_500, 20_000),
      maxQueuedCommands: 5,
      connectTimeoutMs: 300,
      greetingTimeoutMs: pick(80, 200, 1_000),
      minBackoffMs: 10,
      maxBackoffMs: 300,
    },
    slowConsumer: pick('disconnect', 'disconnect', 'catch-up'),
    tailBytes: pick(0, 600, 5_000, 1_000_000),
    network: { ...pick(...speeds), tinyPercent: pick(0, 0, 15) },
    log: {
      maxCommitMs: pick(0, 5, 30),
      maxHintMs: pick(0, 0, 20),
      maxReadMs: pick(0, 0, 10, 60),
      chunksPercent: pick(0, 80, 100),
    },
    storedPercent: pick(20, 100),
    maxApplyMs: pick(0, 0, 3, 15),
    hasSilence: random.next() < 0.2,
  };
}

function drawStreams(random: Random): Stream[] {
  const names = ['events', 'typing', 'caches', 'presence'];
  return names.slice(0, randomInteger(random, 2, 4)).map((name, i) => {
    // The first is durable and the second is not, so that every world has both.
    const durable = i === 0 || (i > 1 && random.next() < 0.6);
    return defineStream(name, { durable });
  });
}
