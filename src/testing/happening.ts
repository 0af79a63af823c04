/** What happens in a world, as the checkers hear it. Readers and processes go by names, so that a report can be read. */

import type { Millis } from '../base/clock.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { HistoryNode } from './history-tree.ts';
import type { Known } from './known.ts';
import type { PrimaryLife } from './primary-life.ts';
import type { SavedPositions } from './public-api.ts';
import type { WorldRow } from './world-rows.ts';

/** One subscription in one process of one worker. */
export interface Reader {
  readonly worker: string;
  readonly stream: StreamName;
  /** Another one for each subscription. */
  readonly name: string;
  /** By subscribeAll, not by name. */
  readonly isOneOfAll: boolean;
}

/** From where a reader begins: what its checkpoint knew, all that is kept, or what comes. */
export type Begin = Known | 'start' | 'now';

export type Happening =
  | { readonly kind: 'primary-opened'; readonly life: PrimaryLife }
  /** Rows may be gone for good: a tail was lost, or an older copy took the log's place. */
  | { readonly kind: 'history-changed' }
  /** The primary told its application that a batch is kept. */
  | {
      readonly kind: 'acknowledged';
      readonly batch: number;
      readonly node: HistoryNode | undefined;
      readonly life: PrimaryLife;
    }
  | { readonly kind: 'worker-started'; readonly worker: string; readonly loaded: ReadonlyMap<StreamName, Known> }
  /** The worker has a connection to this process. */
  | { readonly kind: 'linked'; readonly worker: string; readonly life: PrimaryLife }
  | { readonly kind: 'subscribed'; readonly reader: Reader; readonly begin: Begin }
  | { readonly kind: 'unsubscribed'; readonly reader: Reader }
  /** The handler was called. */
  | {
      readonly kind: 'delivered';
      readonly reader: Reader;
      readonly token: Token;
      readonly rows: readonly WorldRow[];
    }
  /** The handler is through with the batch, and did not throw. */
  | { readonly kind: 'applied'; readonly reader: Reader; readonly batch: number }
  /** The handler threw: the batch is not applied. */
  | { readonly kind: 'gave-up'; readonly reader: Reader }
  /** All rows up to here are applied, says the worker; `isLive`: by what the newest primary told it. */
  | { readonly kind: 'positioned'; readonly reader: Reader; readonly token: Token; readonly isLive: boolean }
  | { readonly kind: 'saved'; readonly worker: string; readonly positions: SavedPositions }
  /** The history under the reader is gone, or rows are; it goes on at `next`, or has ended. */
  | {
      readonly kind: 'reset';
      readonly reader: Reader;
      readonly code: string;
      readonly next: 'start' | 'now' | 'ended';
    }
  /** A wait for this batch resolved. */
  | { readonly kind: 'waited'; readonly worker: string; readonly node: HistoryNode }
  /** Long after the last fault, a wait for this batch has neither resolved nor been refused. */
  | { readonly kind: 'still-waits'; readonly worker: string; readonly node: HistoryNode; readonly isKept: boolean }
  /** The most that somebody held in memory, and what it may hold. */
  | {
      readonly kind: 'held';
      readonly who: string;
      readonly what: string;
      readonly bytes: number;
      readonly maxBytes: number;
    }
  /** A peer was called silent. `healthyMs`: for how long the link had carried what there was. */
  | { readonly kind: 'called-silent'; readonly who: string; readonly healthyMs: Millis; readonly idleTimeoutMs: Millis }
  /** A link died, and an end of it is still open. */
  | { readonly kind: 'half-dead'; readonly who: string; readonly deadMs: Millis; readonly maxMs: Millis }
  /** A peer was called slow, for one of two reasons. */
  | ({ readonly kind: 'called-slow'; readonly who: string } & SlowMeasures)
  /** A connection ended, and neither a fault nor its ends had a reason. */
  | { readonly kind: 'cut-off'; readonly who: string; readonly why: string }
  /** An orderly end of a process takes longer than it may. */
  | { readonly kind: 'lingers'; readonly who: string; readonly ms: Millis }
  /** Something threw what nobody caught. */
  | { readonly kind: 'threw'; readonly thrown: string }
  /** The end: where each subscription stands long after the last fault. */
  | {
      readonly kind: 'ended';
      readonly reader: Reader;
      readonly token: Token | undefined;
      readonly isLive: boolean;
      readonly life: PrimaryLife;
      readonly latest: Token;
      readonly calmMs: Millis;
    };

export interface SlowMeasures {
  readonly tookNoByteMs: Millis;
  readonly stalledTimeoutMs: Millis;
  readonly lagRows: number;
  readonly maxLagRows: number;
}

/** One line of a trace. What it names is told by name: a node brings its whole history along. */
export function describeHappening(happening: Happening): string {
  const parts: string[] = [happening.kind];
  for (const [field, value] of Object.entries(happening)) if (field !== 'kind') parts.push(describe(field, value));
  return parts.join(' ');
}

function describe(field: string, value: unknown): string {
  switch (field) {
    case 'reader':
    case 'life':
      return (value as { name: string }).name;
    case 'node':
      return value === undefined ? 'no batch' : describeNode(value as HistoryNode);
    case 'begin':
      return typeof value === 'string' ? value : `from ${(value as Known).token}`;
    case 'loaded':
      return describeTokens(value as ReadonlyMap<string, { token: Token }>);
    case 'positions':
      return describeTokens(value as ReadonlyMap<string, { token: Token }>);
    case 'rows': {
      const [first] = value as WorldRow[];
      return first === undefined ? 'no rows' : `batch ${first.batch} of ${(value as WorldRow[]).length} rows`;
    }
    default:
      return `${field}=${String(value)}`;
  }
}

export function describeNode({ stream, token, batch }: HistoryNode): string {
  return batch === 0 ? `the beginning of ${stream}` : `token ${token} of ${stream} (batch ${batch})`;
}

function describeTokens(positions: ReadonlyMap<string, { readonly token: Token }>): string {
  return [...positions].map(([stream, { token }]) => `${stream}=${token}`).join(',');
}
