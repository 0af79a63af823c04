/** The one place of the simulated world that depends on how the public classes spell tokens and positions. */

import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Primary } from '../primary/primary.ts';
import type { Checkpoint } from '../worker/checkpoint.ts';
import type { SubscribeOptions } from '../worker/options.ts';
import type { Subscription } from '../worker/subscription.ts';
import type { Worker } from '../worker/worker.ts';

/** Whether positions know their history: only then may a world have copies, restores and lost tails. */
export const positionsKnowHistories = false;

/** How connections may end between Rowcast peers in a world of faults. Anything else is a fault of ours. */
export const dueEndings: ReadonlySet<string> = new Set(['CONNECTION_LOST', 'PEER_ERROR', 'IDLE_TIMEOUT', 'GAP', 'RESET']);
/** What a primary may call the end of a connection, besides silence and slowness, which are measured. */
export const dueWarnings: ReadonlySet<string> = new Set(['GAP']);

export type SavedPositions = ReadonlyMap<string, Parameters<Checkpoint['save']>[0] extends ReadonlyMap<string, infer P> ? P : never>;

/** What an append resolved to. */
export interface AppendedAt {
  readonly stream: StreamName;
  readonly token: Token;
}

export async function append(primary: Primary, stream: StreamName, rows: readonly unknown[]): Promise<AppendedAt> {
  return { stream, token: await primary.append(stream, rows) };
}

export async function waitFor(worker: Worker, { stream, token }: AppendedAt, timeoutMs: number): Promise<void> {
  await worker.waitFor(stream, token, { timeoutMs });
}

export function tokenOf(worker: Worker, stream: StreamName): Token | undefined {
  return worker.position(stream);
}

export function latestOf(primary: Primary, stream: StreamName): Token {
  return primary.position(stream);
}

/** The tokens of what a worker saves, without what it keeps for itself. */
export function savedTokens(positions: SavedPositions): Map<StreamName, Token> {
  return new Map([...positions].map(([stream, { token }]) => [stream, token]));
}

/** From where a subscription that ended can go on without a checkpoint; undefined where nothing can say. */
export function resumeAfter(_ended: Subscription): SubscribeOptions['from'] | undefined {
  return undefined;
}

/** How far each subscription of a connection was sent. */
export function sentTokens(primary: Primary, connection: number): { stream: StreamName; token: Token }[] {
  const found = primary.status().connections.find(({ id }) => id === connection);
  return (found?.subscriptions ?? []).map(({ stream, position }) => ({ stream, token: position }));
}
