/**
 * The shape of a world: how many take part, how large and how slow everything is. Drawn from the
 * seed, and small, so that every bound is reached.
 */

import type { Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import { type Declaration, defineStreams, type StreamPattern } from '../core/model/declarations.ts';
import { boolean, hidden, integerFrom, listOf, msFromZero, oneOf } from '../core/model/option-kinds.ts';
import type { Kind, OptionTable } from '../core/model/options.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import { defineStream, type Retention, type Stream, type StreamName } from '../core/model/stream.ts';
import type { CheckpointTimes } from './fake-checkpoint.ts';
import type { FakeLogTimes } from './fake-log.ts';
import {
  defaultPrimaryLimits,
  defaultWorkerLimits,
  type PrimaryLimits,
  type WorkerLimits,
} from '../core/wire/limits.ts';

/** The numbers that a seed draws for a world. */
export interface WorldShape {
  readonly declarations: readonly Declaration[];
  /** The streams that are appended to, by name or by a pattern. Each is made by its first batch. */
  readonly names: readonly StreamName[];
  /** Ever more streams of a pattern are made and deleted. */
  readonly churns: boolean;
  readonly workers: number;
  /** So many of the declarations, the last ones, are of a later process of the primary. */
  readonly lateStreams: number;
  /** Faults and appends come for this long; then everyone has calmMs to reach `latest`. */
  readonly faultsForMs: Millis;
  readonly calmMs: Millis;
  readonly meanFaultGapMs: Millis;
  readonly meanAppendGapMs: Millis;
  /** Streams are deleted. */
  readonly deletes: boolean;
  /** Batches of each stream before the first worker comes. */
  readonly batchesBefore: number;
  readonly maxRowsOfBatch: number;
  /** How many of a hundred rows are large. */
  readonly largePercent: number;
  readonly batchLimits: BatchLimits;
  readonly primaryLimits: PrimaryLimits;
  readonly workerLimits: WorkerLimits;
  readonly slowConsumer: 'disconnect' | 'catch-up';
  readonly tailBytes: number;
  readonly network: { readonly maxWindowBytes: number; readonly maxDelayMs: Millis; readonly tinyPercent: number };
  readonly log: FakeLogTimes;
  /** Faults of the primary's disk besides trims. */
  readonly history: HistoryFaults;
  readonly checkpoint: CheckpointTimes;
  /** The longest time of a handler for one batch. */
  readonly maxApplyMs: Millis;
  /** At how many of a hundred batches a handler throws. */
  readonly handlersThrowPercent: number;
  /** At how many of a hundred events a listener throws. */
  readonly listenersThrowPercent: number;
  /** For how many of a hundred acknowledged batches a worker waits. */
  readonly waitsPercent: number;
  /** Nothing happens for a while at the end. Connections must outlive it. */
  readonly hasSilence: boolean;
}

/** Several numbers as one: each is what its part of the world takes. */
function group<Numbers>(): Kind<Numbers> {
  return hidden('an object', (value) => typeof value === 'object' && value !== null);
}

export const shapeTable: OptionTable<Partial<WorldShape>> = {
  declarations: listOf('a list'),
  names: listOf('a list'),
  churns: boolean,
  workers: integerFrom(0),
  lateStreams: integerFrom(0),
  faultsForMs: msFromZero,
  calmMs: msFromZero,
  meanFaultGapMs: msFromZero,
  meanAppendGapMs: msFromZero,
  deletes: boolean,
  batchesBefore: integerFrom(0),
  maxRowsOfBatch: integerFrom(0),
  largePercent: integerFrom(0),
  batchLimits: group(),
  primaryLimits: group(),
  workerLimits: group(),
  slowConsumer: oneOf('disconnect', 'catch-up'),
  tailBytes: integerFrom(0),
  network: group(),
  log: group(),
  history: group(),
  checkpoint: group(),
  maxApplyMs: msFromZero,
  handlersThrowPercent: integerFrom(0),
  listenersThrowPercent: integerFrom(0),
  waitsPercent: integerFrom(0),
  hasSilence: boolean,
};

export interface HistoryFaults {
  /** Power cuts lose unsynced commits. */
  readonly losesTails: boolean;
  /** Older copies replace the log. */
  readonly restores: boolean;
  /** A copy is opened beside the log, and some connections reach the copy. */
  readonly copies: boolean;
}

const noHistoryFaults: HistoryFaults = Object.freeze({ losesTails: false, restores: false, copies: false });

/** The longest text that a large row has in addition to every row's fields. */
export const LARGE_ROW_CHARS = 1_200;

/**
 * A link moves at most its window in one delay. Narrow links are fast, so that queued bytes pass in
 * the available time.
 */
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
  const history = drawHistoryFaults(random);
  // Sometimes the back-off of a real deployment. The world then gives it enough time.
  const backoff = pick({ minBackoffMs: 10, maxBackoffMs: 300 }, { minBackoffMs: 10, maxBackoffMs: 300 }, {});
  const limits = { ...defaultWorkerLimits, ...backoff };
  const streams = drawStreams(random);
  const patterns = drawPatterns(random);
  const declarations = [...streams, ...patterns];
  const names = [...streams.map(({ name }) => name), ...patterns.flatMap((pattern) => drawNames(random, pattern))];
  const deletes = pick(false, true, true);
  return {
    declarations,
    names,
    deletes,
    churns: deletes && random.next() < 0.15,
    lateStreams: Math.min(pick(0, 0, 0, 1, 3), declarations.length - 1),
    workers: pick(1, 2, 2, 3),
    faultsForMs: pick(600, 1_200),
    calmMs: 8_000 + 2 * limits.maxBackoffMs,
    meanFaultGapMs: pick(50, 100, 250),
    meanAppendGapMs: pick(20, 50, 100),
    batchesBefore: pick(0, 3, 10),
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
      ...limits,
      ...sessionLimits,
      maxBatchBytes: batchLimits.maxBatchBytes,
      maxQueuedBytes: pick(1, 200, 1_500, 20_000),
      maxQueuedCommands: 5,
      connectTimeoutMs: 300,
      greetingTimeoutMs: pick(60, 300, 1_000),
    },
    slowConsumer: pick('disconnect', 'disconnect', 'catch-up'),
    tailBytes: pick(0, 600, 5_000, 1_000_000),
    network: { ...pick(...speeds), tinyPercent: pick(0, 0, 15) },
    log: {
      maxCommitMs: pick(0, 5, 30),
      maxHintMs: pick(0, 0, 20),
      maxReadMs: pick(0, 0, 10, 60),
      failsPercent: pick(0, 0, 0, 5, 20),
      chunksPercent: pick(0, 80, 100),
      syncedPercent: history.losesTails ? pick(0, 50) : 100,
      skipsPercent: 10,
    },
    history,
    checkpoint: { maxSaveMs: pick(0, 0, 20, 150), failsPercent: pick(0, 0, 20) },
    maxApplyMs: pick(0, 0, 3, 15),
    handlersThrowPercent: pick(0, 0, 3),
    listenersThrowPercent: pick(0, 0, 10),
    waitsPercent: pick(0, 20, 60),
    hasSilence: random.next() < 0.1,
  };
}

/** Half of all worlds have no faults of history, as in ordinary operation. */
function drawHistoryFaults(random: Random): HistoryFaults {
  const isOrdinary = random.next() < 0.5;
  const draw = (): boolean => random.next() < 0.5;
  const drawn = { losesTails: draw(), restores: draw(), copies: draw() };
  return isOrdinary ? noHistoryFaults : drawn;
}

const names = ['events', 'typing', 'caches', 'presence'];

function drawStreams(random: Random): Stream[] {
  const isWide = random.next() < 0.15;
  const count = isWide ? randomInteger(random, 5, 20) : randomInteger(random, 1, 4);
  return Array.from({ length: count }, (_, i) => {
    const name = names[i] ?? `stream_${i}`;
    // The first is durable and the second is not, so that nearly every world has both.
    const durable = i === 0 || (i > 1 && random.next() < 0.6);
    return defineStream(name, { durable, retain: drawRetention(random) });
  });
}

/** Half of all worlds have streams of patterns. */
function drawPatterns(random: Random): StreamPattern[] {
  if (random.next() < 0.5) return [];
  const rooms = defineStreams('room:*', { durable: random.next() < 0.7, retain: drawRetention(random) });
  if (random.next() < 0.6) return [rooms];
  return [rooms, defineStreams('desk:*:in*', { durable: random.next() < 0.5, retain: drawRetention(random) })];
}

function drawNames(random: Random, { pattern }: StreamPattern): StreamName[] {
  return Array.from({ length: randomInteger(random, 1, 4) }, (_, i) => nameOfPattern(pattern, i + 1));
}

/** A name that a pattern of the world matches. */
export function nameOfPattern(pattern: NamePattern, number: number): StreamName {
  return pattern.replaceAll('*', String(number));
}

function drawRetention(random: Random): Retention {
  return random.next() < 0.25 ? { rows: randomInteger(random, 1, 20) } : {};
}
