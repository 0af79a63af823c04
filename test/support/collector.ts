/** A subscriber for tests: collects batches and tells when there are enough. */

import type { Batch } from '../../src/core/model/batch.ts';
import type { Token } from '../../src/core/model/token.ts';

export class Collector<Row = unknown> {
  readonly batches: Batch<Row>[] = [];
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  readonly handler = (batch: Batch<Row>): void => {
    this.batches.push(batch);
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (this.batches.length < count) return true;
      resolve();
      return false;
    });
  };

  get tokens(): Token[] {
    return this.batches.map(({ token }) => token);
  }

  get rows(): Row[] {
    return this.batches.flatMap(({ rows }) => rows);
  }

  /** Resolves when this many batches have come in all. */
  async reached(count: number): Promise<void> {
    if (this.batches.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ count, resolve });
    });
  }
}

/** A promise that the test resolves. */
export class Gate {
  readonly opened: Promise<void>;
  open!: () => void;

  constructor() {
    this.opened = new Promise<void>((resolve) => {
      this.open = resolve;
    });
  }
}
