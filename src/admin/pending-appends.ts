/**
 * Appends in progress: several at a time, so that they share commits, but a bounded number, so that
 * a client that sends faster than the disk writes has to wait.
 */

import { formatPosition, type Position } from '../core/model/position.ts';
import type { Appended } from './answers.ts';
import type { RowBatch } from './row-batches.ts';

export interface PendingAppendsOptions {
  readonly append: (batch: RowBatch) => Promise<Position>;
  /** True while a batch must be settled before the next one is appended. */
  readonly isOneByOne: () => boolean;
  /** One batch is always let through, of any size. */
  readonly maxRows: number;
  readonly maxBytes: number;
}

/** A batch that was not appended, and why. */
export interface FailedBatch {
  readonly error: unknown;
  readonly batch: RowBatch;
}

export class PendingAppends {
  readonly #options: PendingAppendsOptions;
  #pending = 0;
  #rows = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;
  #appended: Appended = { position: null, rows: 0 };
  #failure: FailedBatch | undefined;

  constructor(options: PendingAppendsOptions) {
    this.#options = options;
  }

  /** The part that is durable by now. */
  get appended(): Appended {
    return this.#appended;
  }

  /** The first failed batch. */
  get failure(): FailedBatch | undefined {
    return this.#failure;
  }

  get isFull(): boolean {
    if (this.#pending === 0) return false;
    const { isOneByOne, maxRows, maxBytes } = this.#options;
    return isOneByOne() || this.#rows >= maxRows || this.#bytes >= maxBytes;
  }

  get isEmpty(): boolean {
    return this.#pending === 0;
  }

  /** @param handleSettled called when the batch is appended or refused */
  add(batch: RowBatch, handleSettled: () => void): void {
    this.#pending++;
    this.#rows += batch.rows.length;
    this.#bytes += batch.bytes;
    this.#options.append(batch).then(
      (position) => {
        this.#appended = { position: formatPosition(position), rows: this.#appended.rows + batch.rows.length };
        this.#settle(batch, handleSettled);
      },
      (error: unknown) => {
        this.#failure ??= { error, batch };
        this.#settle(batch, handleSettled);
      },
    );
  }

  /** Resolves when there is room for another batch. */
  async room(): Promise<void> {
    while (this.isFull) await this.#next();
  }

  /** Resolves when no append is in progress. */
  async settled(): Promise<void> {
    while (this.#pending > 0) await this.#next();
  }

  async #next(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  #settle(batch: RowBatch, handleSettled: () => void): void {
    this.#pending--;
    this.#rows -= batch.rows.length;
    this.#bytes -= batch.bytes;
    handleSettled();
    this.#wake?.();
  }
}
