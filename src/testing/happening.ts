/** What happened in a world, as the checkers hear it. Readers and processes go by names, so that a report can be read. */

import type { Millis } from '../base/clock.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Position } from '../core/follow/interests.ts';

export type StartsAt = Position | 'start' | 'now';

/** A row as a world appends it: which of how many rows of which batch. Batches of all streams are numbered together. */
export interface WorldRow {
  readonly batch: number;
  readonly index: number;
  readonly of: number;
}

/** One subscription in one process of one worker. */
export interface Reader {
  readonly worker: string;
  readonly stream: StreamName;
  /** Another one for every subscription. */
  readonly reader: string;
}

export type Happening =
  /** The primary told its application that a batch is durable. */
  | { readonly kind: 'acknowledged'; readonly batch: number }
  /** All that a log holds of a stream, read after a start. `logId` tells whether it is the history from before. */
  | {
      readonly kind: 'recovered';
      readonly stream: StreamName;
      readonly logId: string;
      readonly earliest: Token;
      readonly rows: readonly WorldRow[];
    }
  /** `isResumed`: from the worker's own checkpoint. */
  | ({ readonly kind: 'subscribed'; readonly from: StartsAt; readonly isResumed: boolean } & Reader)
  | ({ readonly kind: 'applied'; readonly token: Token; readonly rows: readonly WorldRow[] } & Reader)
  /** All rows up to here are applied, says the follower. */
  | ({ readonly kind: 'positioned'; readonly position: Position } & Reader)
  /** The history under the reader is gone; it goes on at `next`. */
  | ({ readonly kind: 'reset'; readonly code: string; readonly next: StartsAt } & Reader)
  /** The subscription ended with an error. `received`: how far the rows that came, applied or not, went. */
  | ({ readonly kind: 'failed'; readonly code: string; readonly received: Position | undefined } & Reader)
  /** The most that somebody held in memory, and what it may hold. */
  | {
      readonly kind: 'held';
      readonly who: string;
      readonly what: string;
      readonly bytes: number;
      readonly maxBytes: number;
    }
  /** A session called its peer silent. `healthyMs`: for how long the link had carried what there was. */
  | { readonly kind: 'called-silent'; readonly who: string; readonly healthyMs: Millis; readonly idleTimeoutMs: Millis }
  /** A link died, and an end of it is still open. */
  | { readonly kind: 'half-dead'; readonly who: string; readonly deadMs: Millis; readonly maxMs: Millis }
  /** A session called its peer slow, for one of two reasons. */
  | ({ readonly kind: 'called-slow'; readonly who: string } & SlowMeasures)
  /** Something threw what nobody caught. */
  | { readonly kind: 'threw'; readonly thrown: string }
  /** The end: where each subscription stands long after the last fault. */
  | ({
      readonly kind: 'ended';
      readonly position: Position | undefined;
      readonly isLive: boolean;
      readonly latest: Position;
      readonly calmMs: Millis;
    } & Reader);

export interface SlowMeasures {
  readonly tookNoByteMs: Millis;
  readonly stalledTimeoutMs: Millis;
  readonly lagRows: number;
  readonly maxLagRows: number;
}

/** One line of a trace. */
export function describeHappening(happening: Happening): string {
  const { kind, ...rest } = happening;
  return `${kind} ${JSON.stringify(rest)}`;
}
