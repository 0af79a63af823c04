/**
 * Turns a primary's status into numbers for people and programs: lag, age, queue. Reads no clock
 * and calls nothing.
 */

import type { Millis } from '../base/clock.ts';
import type { ErrorCode } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import { formatPosition, type Position } from '../core/model/position.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Counts } from './counters.ts';

/**
 * The state of the durable log. `slow`: commits take long. `failing`: the last commit failed.
 * `failed`: it refuses appends.
 */
export type LogState = 'ok' | 'slow' | 'failing' | 'failed';

/** What is wrong with the log (LogTrouble). */
export interface LogTroubleReport {
  /** Since when every commit failed or was slow, as in 2026-12-01T14:03:12.000Z. */
  readonly since: string;
  readonly lastCommitMs: Millis | null;
  readonly code: ErrorCode | null;
}

export interface LogTroubleSource {
  readonly sinceMs: Millis;
  readonly lastCommitMs: Millis | undefined;
  readonly code: ErrorCode | undefined;
}

/** The part of a primary's status that is reported. */
export interface StatusSource {
  readonly name: string;
  readonly log: LogState;
  readonly logTrouble: LogTroubleSource | undefined;
  readonly patterns: readonly NamePattern[];
  readonly streams: readonly StreamSource[];
  readonly next: StreamName | undefined;
  readonly connections: readonly ConnectionSource[];
}

export interface StreamSource extends Omit<StreamReport, 'durable' | 'holders'> {
  readonly durable: boolean | undefined;
  readonly holders?: readonly HolderSource[];
}

export interface HolderSource extends Omit<HolderReport, 'saved'> {
  readonly saved: Position | undefined;
}

export interface ConnectionSource {
  readonly id: number;
  readonly name: string | undefined;
  readonly peer: string;
  readonly connectedAtMs: Millis;
  readonly queueBytes: number;
  readonly streams: number;
  readonly liveStreams: number;
  readonly subscriptions: readonly SubscriptionSource[];
}

export interface SubscriptionSource {
  readonly stream: StreamName;
  readonly state: SubscriptionReport['state'];
  readonly sent: Token;
  readonly sentLagRows: number;
  readonly applied: Token | undefined;
  readonly appliedLagRows: number | undefined;
  readonly saved: Token | undefined;
}

export interface StatusReport {
  readonly name: string;
  readonly log: LogState;
  /** Null when the last commit was quick and succeeded. */
  readonly logTrouble: LogTroubleReport | null;
  /** The patterns that are declared. */
  readonly patterns: readonly NamePattern[];
  /** One page of the streams, in the order of their names. */
  readonly streams: readonly StreamReport[];
  /** The `after` of the next page. Null when this is the last one. */
  readonly next: StreamName | null;
  readonly connections: readonly ConnectionReport[];
  readonly counts: Counts;
}

export interface StreamReport {
  readonly stream: StreamName;
  /** The name of the log or source that has it. */
  readonly source: string;
  /** Whether it is kept over a restart. Null for a stream of a further source, which knows itself. */
  readonly durable: boolean | null;
  readonly earliest: Token;
  readonly latest: Token;
  /** The history of the row at `latest`. */
  readonly history: History;
  /**
   * The workers that hold its rows back, furthest behind first, the first few of them. Left out
   * without `retain.untilSavedBy`.
   */
  readonly holders?: readonly HolderReport[];
  /** How many hold rows back. */
  readonly holderCount?: number;
}

/** A worker that holds rows of a stream back until it has saved them. */
export interface HolderReport {
  readonly worker: WorkerName;
  /** The position that it has saved, as text. Null: it has saved nothing, so it needs every row. */
  readonly saved: string | null;
  /** Rows after `saved`. */
  readonly lagRows: number;
  /** A worker of this name is connected and follows the stream. */
  readonly connected: boolean;
}

export interface ConnectionReport {
  readonly id: number;
  /** The name from the NAME command; null before it came. */
  readonly name: string | null;
  readonly peer: string;
  /** How long the connection has been open. */
  readonly ageMs: Millis;
  /** Bytes given to the socket but not yet taken by the system. */
  readonly queueBytes: number;
  /** How many streams the connection follows. */
  readonly streams: number;
  /** How many of them are live. */
  readonly liveStreams: number;
  /** Those of the streams on this page. */
  readonly subscriptions: readonly SubscriptionReport[];
}

/**
 * docs/protocol.md, "Words", defines sent, applied and saved. Unknown values are null, so that JSON
 * keeps the field.
 */
export interface SubscriptionReport {
  readonly stream: StreamName;
  /**
   * `judging`: the primary is checking whether the worker's position is on the stream's history.
   */
  readonly state: 'judging' | 'catching-up' | 'live';
  /** Rows up to this token were given to the worker's socket. */
  readonly sent: Token;
  /** Rows after `sent`. */
  readonly sentLagRows: number;
  /**
   * The worker's handlers have applied rows up to this token. Only Rowcast workers report it, at
   * most once a second.
   */
  readonly applied: Token | null;
  /** Rows after `applied`. */
  readonly appliedLagRows: number | null;
  /** After a crash the worker would resume after this token. */
  readonly saved: Token | null;
}

export function reportStatus(source: StatusSource, { counts, now }: { counts: Counts; now: Millis }): StatusReport {
  return {
    name: source.name,
    log: source.log,
    logTrouble: reportTrouble(source.logTrouble),
    patterns: source.patterns,
    streams: source.streams.map(reportStream),
    next: source.next ?? null,
    connections: source.connections.map(({ id, name, peer, connectedAtMs, subscriptions, ...numbers }) => ({
      id,
      name: name ?? null,
      peer,
      ageMs: Math.max(0, Math.round(now - connectedAtMs)),
      queueBytes: numbers.queueBytes,
      streams: numbers.streams,
      liveStreams: numbers.liveStreams,
      subscriptions: subscriptions.map(reportSubscription),
    })),
    counts,
  };
}

export function reportTrouble(trouble: LogTroubleSource | undefined): LogTroubleReport | null {
  if (trouble === undefined) return null;
  const { sinceMs, lastCommitMs = null, code = null } = trouble;
  return { since: new Date(sinceMs).toISOString(), lastCommitMs, code };
}

function reportStream(source: StreamSource): StreamReport {
  const { stream, source: log, durable = null, earliest, latest, history, holders, holderCount = 0 } = source;
  const report = { stream, source: log, durable, earliest, latest, history };
  return holders === undefined ? report : { ...report, holders: holders.map(reportHolder), holderCount };
}

function reportHolder({ worker, saved, lagRows, connected }: HolderSource): HolderReport {
  return { worker, saved: saved === undefined ? null : formatPosition(saved), lagRows, connected };
}

function reportSubscription(source: SubscriptionSource): SubscriptionReport {
  const { stream, state, sent, sentLagRows, applied = null, appliedLagRows = null, saved = null } = source;
  return { stream, state, sent, sentLagRows, applied, appliedLagRows, saved };
}
