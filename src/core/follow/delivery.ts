/**
 * What one subscription has for the application, in order: batches, moves without rows, resets. And what came of it: how
 * far the handlers have applied, how far that is saved, which waits are over.
 */

import { Queue } from '../../base/queue.ts';
import type { Batch } from '../model/batch.ts';
import type { PeerError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import type { Token } from '../model/token.ts';

/** `cost`: what it counts for while it waits. */
export type Item =
  | {
      readonly kind: 'batch';
      readonly batch: Batch;
      readonly cost: number;
      /** Where the subscription stands once it is applied; undefined where the batch does not tell. */
      readonly position: Position | undefined;
    }
  /** `era`: everything of the eras before this one was sent. Undefined toward a primary that is not Rowcast. */
  | {
      readonly kind: 'position';
      readonly position: Position;
      readonly era: History | undefined;
      readonly cost: number;
    }
  /** The position before it is void. */
  | { readonly kind: 'reset'; readonly error: PeerError; readonly cost: number };

/** What a move or a reset counts for while it waits: a primary may send them without end. In bytes of memory, about. */
export const MARK_COST = 200;

export class Delivery {
  #items = new Queue<Item>();
  #pushed = 0;
  #done = 0;
  #applied: Position | undefined;
  #saved: Position | undefined;
  /** What a checkpoint is to hold: after a reset still the position that is void, so that a new process hears of the reset too. */
  #toSave: Position | undefined;
  /** The number of an era before which nothing is left to come on this connection. */
  #settledEra: number | undefined;
  /** Items up to here came on connections that are gone, or before a reset. */
  #cutAt = 0;
  #lineage = 0;

  /** Where it begins: what was applied before, and what of that a checkpoint holds. */
  constructor({ applied, saved }: { readonly applied?: Position | undefined; readonly saved?: Position | undefined }) {
    this.#applied = applied;
    this.#saved = saved;
    this.#toSave = applied;
  }

  /** How many items there were. */
  get pushed(): number {
    return this.#pushed;
  }

  /** How many of them are through. */
  get done(): number {
    return this.#done;
  }

  get applied(): Position | undefined {
    return this.#applied;
  }

  get toSave(): Position | undefined {
    return this.#toSave;
  }

  get saved(): Position | undefined {
    return this.#saved;
  }

  /** Another one after each reset: positions of different lineages are not to be compared by their tokens. */
  get lineage(): number {
    return this.#lineage;
  }

  push(item: Item): void {
    this.#pushed++;
    this.#items.push(item);
  }

  take(): Item | undefined {
    return this.#items.shift();
  }

  /** The item that was taken last is through. */
  finish(item: Item, isApplied: boolean): void {
    this.#done++;
    if (!isApplied) return;
    if (item.kind === 'reset') {
      this.#applied = undefined;
      this.#saved = undefined;
      this.#settledEra = undefined;
      this.#lineage++;
      return;
    }
    if (item.position !== undefined) {
      this.#applied = item.position;
      this.#toSave = item.position;
    }
    if (item.kind === 'position' && item.era !== undefined && this.#done > this.#cutAt) {
      this.#settledEra = eraNumberOf(item.era);
    }
  }

  /** A checkpoint holds this position now; `lineage` as it was when the position was read here. */
  handleSaved(position: Position, lineage: number): void {
    if (lineage === this.#lineage) this.#saved = position;
  }

  /** The connection is gone: what it told of eras counts no more. */
  handleCut(): void {
    this.#settledEra = undefined;
    this.#cutAt = this.#pushed;
  }

  /** Gives up what was not begun. @returns what it counted for */
  clear(): number {
    let cost = 0;
    for (const item of this.#items) cost += item.cost;
    this.#items = new Queue();
    return cost;
  }

  /**
   * Whether everything up to a position was applied here, or is void in the history that is followed (docs/protocol.md,
   * "Waits"). `other-log`: nothing here will ever tell.
   */
  judgeWait({ token, history }: Position): 'reached' | 'not-yet' | 'other-log' {
    const applied = this.#applied;
    if (applied === undefined) return 'not-yet';
    if (applied.history === undefined || history === undefined) {
      const areComparable = applied.history === history || token === 0;
      return areComparable && applied.token >= token ? 'reached' : 'not-yet';
    }
    if (logIdOf(applied.history) !== logIdOf(history)) return 'other-log';
    if (applied.history === history && applied.token >= token) return 'reached';
    const era = eraOf(token, history);
    const isPast = eraOf(applied.token, applied.history) > era || (this.#settledEra ?? BEFORE_ALL) > era;
    return isPast || token === 0 ? 'reached' : 'not-yet';
  }
}

/** Older than every era. */
const BEFORE_ALL = -1;

/** The number of the era that a position is of. Token 0 is before the rows of all of them. */
function eraOf(token: Token, history: History): number {
  return token === 0 ? BEFORE_ALL : eraNumberOf(history);
}
