/** The only part of the simulated world that depends on the public form of tokens and positions. */

import { formatPosition, type Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { SubscribeOptions } from '../worker/options.ts';
import type { Subscription } from '../worker/subscription.ts';
import type { Worker } from '../worker/worker.ts';

export type SavedPositions = ReadonlyMap<string, Position>;

/** What an append resolved to. */
export type AppendedAt = Position;

export function append(primary: Primary, stream: StreamName, rows: readonly unknown[]): Promise<AppendedAt> {
  return primary.append(stream, rows);
}

export function waitFor(worker: Worker, position: AppendedAt, timeoutMs: number): Promise<void> {
  return worker.waitFor(position, { timeoutMs });
}

export function tokenOf(worker: Worker, stream: StreamName): Token | undefined {
  return worker.position(stream)?.token;
}

/** Whether the worker stands where the stream ends, in the history that the primary has now. */
export function isAtEnd(worker: Worker, primary: Primary, stream: StreamName): boolean {
  const position = worker.position(stream);
  return position !== undefined && formatPosition(position) === formatPosition(primary.position(stream));
}

export function latestOf(primary: Primary, stream: StreamName): Token {
  return primary.position(stream).token;
}

/** The tokens that a worker saves, without its private data. */
export function savedTokens(positions: SavedPositions): Map<StreamName, Token> {
  return new Map([...positions].filter(([key]) => !key.startsWith('$')).map(([key, { token }]) => [key, token]));
}

/**
 * Where an ended subscription can continue without a checkpoint; undefined when nothing can say.
 */
export function resumeAfter(ended: Subscription): SubscribeOptions['from'] | undefined {
  return ended.position;
}

/** How far each subscription of a connection was sent. */
export function sentTokens(
  primary: Primary,
  connection: number,
): { stream: StreamName; token: Token; lagRows: number }[] {
  const found = primary.status().connections.find(({ id }) => id === connection);
  return (found?.subscriptions ?? []).map(({ stream, sent, sentLagRows }) => ({
    stream,
    token: sent,
    lagRows: sentLagRows,
  }));
}
