/** From where a primary stands to numbers for people and programs: lag, age, queue. Reads no clock and asks nobody. */

import type { Millis } from '../base/clock.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Counts } from './counters.ts';

/** The part of a primary's status that is reported here. */
export interface StatusSource {
  readonly name: string;
  readonly streams: readonly StreamReport[];
  readonly connections: readonly ConnectionSource[];
}

export interface ConnectionSource {
  readonly id: number;
  readonly name: string | undefined;
  readonly peer: string;
  readonly connectedAtMs: Millis;
  readonly queueBytes: number;
  readonly subscriptions: readonly Omit<SubscriptionReport, 'lagTokens'>[];
}

export interface StatusReport {
  readonly name: string;
  readonly streams: readonly StreamReport[];
  readonly connections: readonly ConnectionReport[];
  readonly counts: Counts;
}

export interface StreamReport {
  readonly stream: StreamName;
  readonly durable: boolean;
  readonly earliest: Token;
  readonly latest: Token;
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

export interface SubscriptionReport {
  readonly stream: StreamName;
  readonly position: Token;
  readonly state: 'catching-up' | 'live';
  /** Latest minus position. Tokens may skip numbers, so at most this many batches are missing. */
  readonly lagTokens: number;
}

export function reportStatus(source: StatusSource, { counts, now }: { counts: Counts; now: Millis }): StatusReport {
  const latestOf = new Map(source.streams.map(({ stream, latest }) => [stream, latest]));
  return {
    name: source.name,
    streams: source.streams.map(({ stream, durable, earliest, latest }) => ({ stream, durable, earliest, latest })),
    connections: source.connections.map(({ id, name, peer, connectedAtMs, queueBytes, subscriptions }) => ({
      id,
      name: name ?? null,
      peer,
      ageMs: Math.max(0, Math.round(now - connectedAtMs)),
      queueBytes,
      subscriptions: subscriptions.map(({ stream, position, state }) => {
        // A position above latest is one that the primary is about to rewind: nothing is missing there.
        return { stream, position, state, lagTokens: Math.max(0, (latestOf.get(stream) ?? position) - position) };
      }),
    })),
    counts,
  };
}
