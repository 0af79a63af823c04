/**
 * The items that one subscription has for the application, in order: batches, moves without rows,
 * resets. Also what came of them: the applied position, the saved position, and which waits are
 * over.
 */

import { Queue } from '../../base/queue.ts';
import type { Batch } from '../model/batch.ts';
import type { PeerError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import type { RowText } from '../model/row.ts';
import type { Token } from '../model/token.ts';

/** `cost`: the bytes of memory that the item counts for while it waits. */
export type Item =
  | {
      readonly kind: 'batch';
      readonly batch: Batch;
      /** The rows as they came, where the subscription keeps them. */
      readonly texts?: readonly RowText[] | undefined;
      /** A row of it is an UnreadableRow. */
      readonly isUnreadable?: boolean;
      readonly cost: number;
      /**
       * The subscription's position once the batch is applied. Undefined when the batch does not
       * tell.
       */
      readonly position: Position | undefined;
    }
  /**
   * `era`: everything of the eras before this one was sent. Undefined with a primary that is not
   * Rowcast.
   */
  | {
      readonly kind: 'position';
      readonly position: Position;
      readonly era: History | undefined;
      readonly cost: number;
    }
  /**
   * The stream is read from its start, and rows before `earliest` are no longer kept. Comes before
   * the first batch.
   */
  | { readonly kind: 'trimmed'; readonly earliest: Token; readonly cost: number }
  /** The position before it is void. */
  | { readonly kind: 'reset'; readonly error: PeerError; readonly cost: number }
  /** The stream was deleted. It is the last item. `isVoid`: the position before it is void. */
  | { readonly kind: 'deleted'; readonly isVoid: boolean; readonly error: PeerError; readonly cost: number }
  /** The primary, or onReset, has ended the subscription. It is the last item. */
  | { readonly kind: 'failed'; readonly error: PeerError; readonly cost: number };

/**
 * About the bytes of memory of a waiting move or reset. Both count, because a primary may send them
 * without end.
 */
export const MARK_COST = 200;

export class Delivery {
  #items = new Queue<Item>();
  #pushed = 0;
  #done = 0;
  #applied: Position | undefined;
  #saved: Position | undefined;
  /**
   * The position for a checkpoint. After a reset it stays the void position, so that a new process
   * learns of the reset too.
   */
  #toSave: Position | undefined;
  /** Everything of the eras before this number has come on this connection. */
  #settledEra: number | undefined;
  /** The first items, up to this count, came on earlier connections. */
  #cutAt = 0;
  #lineage = 0;

  /**
   * Begins with the position that was applied before, and the part of it that a checkpoint holds.
   */
  constructor({ applied, saved }: { readonly applied?: Position | undefined; readonly saved?: Position | undefined }) {
    this.#applied = applied;
    this.#saved = saved;
    this.#toSave = applied;
  }

  /** How many items were pushed. */
  get pushed(): number {
    return this.#pushed;
  }

  /** How many items are finished. */
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

  /** Changes at each reset. Tokens of positions with different lineages cannot be compared. */
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

  /** The item that was taken last is finished. */
  finish(item: Item, isApplied: boolean): void {
    this.#done++;
    if (!isApplied || item.kind === 'failed' || item.kind === 'trimmed') return;
    if (item.kind === 'reset' || item.kind === 'deleted') {
      this.#applied = undefined;
      if (item.kind === 'deleted') this.#toSave = undefined;
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

  /**
   * A checkpoint holds this position now. `lineage` is its value when the position was read here.
   */
  handleSaved(position: Position, lineage: number): void {
    if (lineage === this.#lineage) this.#saved = position;
  }

  /** The stream was deleted after the last item: there is no position to save any more. */
  handleGone(): void {
    this.#toSave = undefined;
  }

  /** The connection is gone, and with it what it told of eras. */
  handleCut(): void {
    this.#settledEra = undefined;
    this.#cutAt = this.#pushed;
  }

  /**
   * Drops the items that were not taken.
   * @returns their cost
   */
  clear(): number {
    let cost = 0;
    for (const item of this.#items) cost += item.cost;
    this.#items = new Queue();
    return cost;
  }

  /**
   * Whether everything up to a position was applied here, or is void in the history that is
   * followed (docs/protocol.md, "Waits"). `other-log`: this worker can never tell.
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

/** The era number of a position. Token 0 is before the rows of every era. */
function eraOf(token: Token, history: History): number {
  return token === 0 ? BEFORE_ALL : eraNumberOf(history);
}
