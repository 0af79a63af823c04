/**
 * The happenings of a world, as the checkers get them. Readers and processes have names, so that a
 * report is readable.
 */

import type { Millis } from '../base/clock.ts';
import type { NamePattern } from '../core/model/pattern.ts';
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
  /** Different for each subscription. */
  readonly name: string;
  /** The pattern through which it follows the stream. Undefined: by name. */
  readonly pattern: NamePattern | undefined;
}

/**
 * Where a reader begins: at its checkpoint's place, at the start of the kept rows, at new rows, or
 * with the first row of a stream that is made again.
 */
export type Begin = Known | 'start' | 'now' | 'first';

/** When a boundary was taken: at a time between these, for a pattern and one of the two logs. */
export interface Boundary {
  readonly fromMs: Millis;
  readonly toMs: Millis;
}

export type Happening =
  | { readonly kind: 'primary-opened'; readonly life: PrimaryLife }
  /** Rows may be lost for good: a tail was lost, or an older copy replaced the log. */
  | { readonly kind: 'history-changed' }
  /** The primary acknowledged a batch to its application. */
  | {
      readonly kind: 'acknowledged';
      readonly batch: number;
      readonly node: HistoryNode | undefined;
      readonly life: PrimaryLife;
    }
  /** A stream is deleted from here on, with everything up to its newest batch. */
  | { readonly kind: 'deleting'; readonly node: HistoryNode; readonly life: PrimaryLife }
  /** The primary acknowledged the deletion. */
  | { readonly kind: 'deleted'; readonly node: HistoryNode; readonly life: PrimaryLife }
  | {
      readonly kind: 'worker-started';
      readonly worker: string;
      readonly loaded: ReadonlyMap<StreamName, Known>;
      /** By the keys under which the worker saved them. */
      readonly boundaries: ReadonlyMap<string, Boundary>;
    }
  /** The worker has a connection to this process. */
  | { readonly kind: 'linked'; readonly worker: string; readonly life: PrimaryLife }
  /** `sinceMs`: the worker was asked then. It may be told of a reader later. */
  | { readonly kind: 'subscribed'; readonly reader: Reader; readonly begin: Begin; readonly sinceMs: Millis }
  | { readonly kind: 'unsubscribed'; readonly reader: Reader }
  /** The handler was called. */
  | {
      readonly kind: 'delivered';
      readonly reader: Reader;
      readonly token: Token;
      readonly rows: readonly WorldRow[];
    }
  /** The handler finished the batch without an error. */
  | { readonly kind: 'applied'; readonly reader: Reader; readonly batch: number }
  /** The handler threw: the batch is not applied. */
  | { readonly kind: 'gave-up'; readonly reader: Reader }
  /**
   * The worker says that all rows up to here are applied. `isLive` is relative to the newest
   * primary's word.
   */
  | { readonly kind: 'positioned'; readonly reader: Reader; readonly token: Token; readonly isLive: boolean }
  | { readonly kind: 'saved'; readonly worker: string; readonly positions: SavedPositions }
  /**
   * The reader's history is gone, or rows are. It continues at `next`, or has ended. `first`: with
   * the first row of a stream that is made again.
   */
  | {
      readonly kind: 'reset';
      readonly reader: Reader;
      readonly code: string;
      readonly next: 'start' | 'now' | 'first' | 'ended';
    }
  /** A wait for this batch resolved. */
  | { readonly kind: 'waited'; readonly worker: string; readonly node: HistoryNode }
  /** Long after the last fault, a wait for this batch is neither resolved nor refused. */
  | { readonly kind: 'still-waits'; readonly worker: string; readonly node: HistoryNode; readonly isKept: boolean }
  /** A worker still keeps a place in a stream that is not there, long after the last fault. */
  | { readonly kind: 'still-keeps'; readonly worker: string; readonly what: string }
  /** The most memory that a part held, and its limit. */
  | {
      readonly kind: 'held';
      readonly who: string;
      readonly what: string;
      readonly bytes: number;
      readonly maxBytes: number;
    }
  /** A peer was called silent. `healthyMs`: how long the link had carried everything. */
  | { readonly kind: 'called-silent'; readonly who: string; readonly healthyMs: Millis; readonly idleTimeoutMs: Millis }
  /** A link died, and one of its ends is still open. */
  | { readonly kind: 'half-dead'; readonly who: string; readonly deadMs: Millis; readonly maxMs: Millis }
  /** A peer was called slow, for one of two reasons. */
  | ({ readonly kind: 'called-slow'; readonly who: string } & SlowMeasures)
  /** A connection ended without a fault and without a reason of its ends. */
  | { readonly kind: 'cut-off'; readonly who: string; readonly why: string }
  /** An orderly end of a process takes too long. */
  | { readonly kind: 'lingers'; readonly who: string; readonly ms: Millis }
  /** Something threw an error that nothing caught. */
  | { readonly kind: 'threw'; readonly thrown: string }
  /** The end: the place of each subscription long after the last fault. */
  | {
      readonly kind: 'ended';
      readonly reader: Reader;
      readonly token: Token | undefined;
      readonly isLive: boolean;
      readonly life: PrimaryLife;
      readonly latest: Token;
      readonly calmMs: Millis;
    }
  /** The end: nothing is there to be followed through the reader's pattern. */
  | { readonly kind: 'ended-absent'; readonly reader: Reader };

export interface SlowMeasures {
  readonly tookNoByteMs: Millis;
  readonly stalledTimeoutMs: Millis;
  readonly lagRows: number;
  readonly maxLagRows: number;
}

/** One line of a trace. It prints names: a node would print its whole history. */
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
    case 'boundaries':
      return [...(value as ReadonlyMap<string, Boundary>).keys()].join();
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
