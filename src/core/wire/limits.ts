/**
 * Every limit of the protocol with its default. docs/protocol.md, "Limits", gives the reasons, and
 * a test compares.
 */

import type { Millis } from '../../base/clock.ts';
import { type BatchLimits, defaultBatchLimits } from '../model/batch.ts';
import { integerFrom } from '../model/option-kinds.ts';
import { type OptionTable, optionError } from '../model/options.ts';

export interface SessionLimits {
  /** The longest line, in bytes without its LF, in and out. */
  readonly maxLineBytes: number;
  /** Send PING after sending nothing for this long. */
  readonly keepAliveIntervalMs: Millis;
  /** Close when a peer that has sent PING is silent for this long. */
  readonly idleTimeoutMs: Millis;
  /** How long a last ERROR line may take to leave before the connection is cut. */
  readonly flushTimeoutMs: Millis;
}

/** The limits of a primary (docs/protocol.md, "Limits"). */
export interface PrimaryLimits extends SessionLimits {
  /** A page read for one session ends with the chunk that reaches this many bytes. */
  readonly pageBytes: number;
  /** A live subscription that is further behind is a slow consumer. */
  readonly maxLagRows: number;
  /** A socket that takes no byte for this long while rows wait is a slow consumer. */
  readonly stalledTimeoutMs: Millis;
  /** The most streams on one connection. */
  readonly maxReplications: number;
  /** How long a log may take to answer a read before the stream counts as unavailable. */
  readonly sourceTimeoutMs: Millis;
}

/** The limits of a worker (docs/protocol.md, "Limits"). */
export interface WorkerLimits extends SessionLimits {
  /** The most memory that the rows of one connection's unfinished batches may take, in bytes. */
  readonly maxBatchBytes: number;
  /** Stop reading while this many bytes of rows wait for the application. */
  readonly maxQueuedBytes: number;
  /** The most streams that a worker follows. A primary cannot make it follow more. */
  readonly maxStreams: number;
  /** How often, at most, a primary is told what was applied. */
  readonly appliedIntervalMs: Millis;
  /**
   * The most commands that wait while disconnected. Beyond it the oldest is dropped with a warning.
   */
  readonly maxQueuedCommands: number;
  /** How long a connection may take to open. */
  readonly connectTimeoutMs: Millis;
  /** How long to wait for SERVER and the first PING before requesting rows. */
  readonly greetingTimeoutMs: Millis;
  /** The shortest wait before connecting again. */
  readonly minBackoffMs: Millis;
  /** The longest wait before connecting again. */
  readonly maxBackoffMs: Millis;
}

const defaultSessionLimits: SessionLimits = Object.freeze({
  maxLineBytes: defaultBatchLimits.maxLineBytes,
  keepAliveIntervalMs: 5_000,
  idleTimeoutMs: 15_000,
  flushTimeoutMs: 1_000,
});

/** The limits of createPrimary where its options give no others. */
export const defaultPrimaryLimits: PrimaryLimits = Object.freeze({
  ...defaultSessionLimits,
  pageBytes: 64 * 1024,
  maxLagRows: 1_000_000,
  stalledTimeoutMs: 60_000,
  maxReplications: 100_000,
  sourceTimeoutMs: 30_000,
});

/** The limits of createWorker where its options give no others. */
export const defaultWorkerLimits: WorkerLimits = Object.freeze({
  ...defaultSessionLimits,
  maxBatchBytes: defaultBatchLimits.maxBatchBytes,
  maxQueuedBytes: 1024 * 1024,
  maxStreams: 100_000,
  appliedIntervalMs: 1_000,
  maxQueuedCommands: 1_000,
  connectTimeoutMs: 10_000,
  greetingTimeoutMs: 1_000,
  minBackoffMs: 100,
  maxBackoffMs: 30_000,
});

const fromOne = integerFrom(1);

const sessionLimitTable: OptionTable<Partial<SessionLimits>> = {
  maxLineBytes: fromOne,
  keepAliveIntervalMs: fromOne,
  idleTimeoutMs: fromOne,
  flushTimeoutMs: fromOne,
};

/** What `limits` of createPrimary may have. */
export const primaryLimitTable: OptionTable<Partial<PrimaryLimits & Pick<BatchLimits, 'maxBatchBytes'>>> = {
  ...sessionLimitTable,
  maxBatchBytes: fromOne,
  pageBytes: fromOne,
  maxLagRows: fromOne,
  stalledTimeoutMs: fromOne,
  maxReplications: fromOne,
  sourceTimeoutMs: fromOne,
};

/** What `limits` of createWorker may have. */
export const workerLimitTable: OptionTable<Partial<WorkerLimits>> = {
  ...sessionLimitTable,
  maxBatchBytes: fromOne,
  maxQueuedBytes: fromOne,
  maxStreams: fromOne,
  appliedIntervalMs: fromOne,
  maxQueuedCommands: fromOne,
  connectTimeoutMs: fromOne,
  greetingTimeoutMs: fromOne,
  minBackoffMs: fromOne,
  maxBackoffMs: fromOne,
};

/**
 * Lays the caller's own values, which are checked by a table, over the defaults.
 * @throws UsageError INVALID_OPTION for two limits that contradict each other
 */
export function mergeLimits<
  Limits extends SessionLimits & Partial<Pick<WorkerLimits, 'minBackoffMs' | 'maxBackoffMs'>>,
>(of: string, defaults: Limits, own: Partial<Limits> = {}): Limits {
  const limits: Limits = Object.freeze({ ...defaults, ...own });
  const { keepAliveIntervalMs, idleTimeoutMs, minBackoffMs = 0, maxBackoffMs = Infinity } = limits;
  // A peer hears nothing for that long, and closes.
  if (keepAliveIntervalMs >= idleTimeoutMs) {
    const why = `(${keepAliveIntervalMs}) must be below idleTimeoutMs (${idleTimeoutMs}): keep-alives come before a peer gives up`;
    throw optionError(of, 'limits.keepAliveIntervalMs', why);
  }
  if (minBackoffMs > maxBackoffMs) {
    throw optionError(of, 'limits.minBackoffMs', `(${minBackoffMs}) must be at most maxBackoffMs (${maxBackoffMs})`);
  }
  return limits;
}
