/** The only part of the simulated world that depends on the public form of tokens and positions. */

import { formatPosition, type Position } from '../core/model/position.ts';
import type { RowcastError } from '../core/model/errors.ts';
import { EVERY_NAME, type NamePattern } from '../core/model/pattern.ts';
import { DURABLE_CATALOG, type StreamName, VOLATILE_CATALOG } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { SubscribeOptions } from '../worker/options.ts';
import type { BatchHandler, Subscription } from '../worker/subscription.ts';
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

export function earliestOf(primary: Primary, stream: StreamName): Token {
  return primary.status({ match: stream }).streams[0]?.earliest ?? 1;
}

export function deleteStream(primary: Primary, stream: StreamName): Promise<void> {
  return primary.delete(stream);
}

/** Follows the streams of a pattern; EVERY_NAME means all streams. */
export function subscribeMatching(
  worker: Worker,
  pattern: NamePattern,
  options: SubscribeOptions,
  handler: BatchHandler,
): void {
  if (pattern === EVERY_NAME) worker.subscribeAll(options, handler);
  else worker.subscribeMatching(pattern, options, handler);
}

/** The key under which a worker saves the boundary of a pattern. */
export function boundaryKey(isDurable: boolean, pattern: NamePattern): string {
  return `${isDurable ? DURABLE_CATALOG : VOLATILE_CATALOG}/${pattern}`;
}

/** Whether a stream was deleted, by the error that is told with a reset. */
export function isDeletion(error: RowcastError): boolean {
  return error.code === 'RESET' && error.facts?.['deleted'] === true;
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

/** How far each stream of a connection was sent, also the log's own. */
export function sentTokens(primary: Primary, connection: number): { stream: StreamName; token: Token }[] {
  const found = primary.status().connections.find(({ id }) => id === connection);
  return (found?.subscriptions ?? []).map(({ stream, sent }) => ({ stream, token: sent }));
}
