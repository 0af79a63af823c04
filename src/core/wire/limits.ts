/**
 * Every limit of the protocol with its default. docs/protocol.md, "Limits", gives the reasons, and
 * a test compares.
 */

import type { Millis } from '../../base/clock.ts';
import { defaultBatchLimits } from '../model/batch.ts';
import { UsageError } from '../model/errors.ts';

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

/**
 * Lays the caller's own values over the defaults.
 * @throws UsageError INVALID_OPTION for an unknown name or a value that is not a positive integer
 */
export function mergeLimits<Limits extends object>(defaults: Limits, own: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(own)) {
    if (!Object.hasOwn(defaults, name))
      throw new UsageError(
        'INVALID_OPTION',
        `there is no limit ${name}; there are ${Object.keys(defaults).join(', ')}`,
      );
    if (value !== undefined && (!Number.isSafeInteger(value) || (value as number) < 1)) {
      throw new UsageError(
        'INVALID_OPTION',
        `limit ${name} is a positive integer, not ${typeof value === 'number' ? value : `a ${typeof value}`}`,
      );
    }
  }
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  return Object.freeze({ ...defaults, ...given });
}
