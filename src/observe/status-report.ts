/**
 * From where a primary stands to numbers for people and programs: lag, age, queue. Reads no clock
 * and asks nobody.
 */

import type { Millis } from '../base/clock.ts';
import type { History } from '../core/model/history.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Counts } from './counters.ts';

/**
 * Of the durable log: `slow` where commits take long, `failed` where it takes no append any more.
 */
export type LogState = 'ok' | 'slow' | 'failed';

/** The part of a primary's status that is reported here. */
export interface StatusSource {
  readonly name: string;
  readonly log: LogState;
  readonly streams: readonly StreamReport[];
  readonly connections: readonly ConnectionSource[];
}

export interface ConnectionSource {
  readonly id: number;
  readonly name: string | undefined;
  readonly peer: string;
  readonly connectedAtMs: Millis;
  readonly queueBytes: number;
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
  readonly streams: readonly StreamReport[];
  readonly connections: readonly ConnectionReport[];
  readonly counts: Counts;
}

export interface StreamReport {
  readonly stream: StreamName;
  readonly durable: boolean;
  readonly earliest: Token;
  readonly latest: Token;
  /** Of the row at `latest`. */
  readonly history: History;
}

export interface ConnectionReport {
  readonly id: number;
  /** What NAME gave; null before it came. */
  readonly name: string | null;
  readonly peer: string;
  /** How long the connection has been open. */
  readonly ageMs: Millis;
  /** Bytes given to the socket that the system has not taken. */
  readonly queueBytes: number;
  readonly subscriptions: readonly SubscriptionReport[];
}

/**
 * docs/protocol.md, "Words", says what sent, applied and saved mean. What is not known is null, so
 * that JSON keeps the field.
 */
export interface SubscriptionReport {
  readonly stream: StreamName;
  /** `judging`: it is being looked up whether the worker's position is on the stream's history. */
  readonly state: 'judging' | 'catching-up' | 'live';
  /** Rows up to here were given to the worker's socket. */
  readonly sent: Token;
  /** Rows after `sent`. */
  readonly sentLagRows: number;
  /**
   * The worker's handlers have applied rows up to here. Only Rowcast workers tell, at most once a
   * second.
   */
  readonly applied: Token | null;
  /** Rows after `applied`. */
  readonly appliedLagRows: number | null;
  /** From here the worker would ask after a crash. */
  readonly saved: Token | null;
}

export function reportStatus(source: StatusSource, { counts, now }: { counts: Counts; now: Millis }): StatusReport {
  return {
    name: source.name,
    log: source.log,
    streams: source.streams.map(({ stream, durable, earliest, latest, history }) => ({
      stream,
      durable,
      earliest,
      latest,
      history,
    })),
    connections: source.connections.map(({ id, name, peer, connectedAtMs, queueBytes, subscriptions }) => ({
      id,
      name: name ?? null,
      peer,
      ageMs: Math.max(0, Math.round(now - connectedAtMs)),
      queueBytes,
      subscriptions: subscriptions.map(reportSubscription),
    })),
    counts,
  };
}

function reportSubscription(source: SubscriptionSource): SubscriptionReport {
  const { stream, state, sent, sentLagRows, applied = null, appliedLagRows = null, saved = null } = source;
  return { stream, state, sent, sentLagRows, applied, appliedLagRows, saved };
}
