/**
 * A subscription as an async iterator. A batch counts as applied when the next one is requested.
 */

import { UsageError } from '../core/model/errors.ts';
import type { Batch } from '../core/model/batch.ts';
import type { BatchHandler } from './subscription.ts';

export interface IterateOptions<Row> {
  /**
   * Begins to deliver, and returns the function that ends the subscription. Calls `onEnd` once when
   * the subscription ends by itself; without an error the end is in good order.
   */
  readonly begin: (handler: BatchHandler<Row>, onEnd: (error: Error | undefined) => void) => () => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Begins when the first batch is requested. Ends when the loop is left, when the worker stops, or
 * by throwing the signal's reason or the subscription's error.
 */
export function iterate<Row>(options: IterateOptions<Row>): AsyncGenerator<Batch<Row>, void, void> {
  const loop = new Loop(options);
  const batches = loop.run();
  const finish = batches.return.bind(batches);
  // A generator's own return waits for the pending `next`, and so for a batch that may never come.
  batches.return = async (value) => {
    loop.leave(undefined);
    return finish(value);
  };
  // Generators of Node 20 have none. It must leave the loop as `return` does, in any case.
  Object.defineProperty(batches, Symbol.asyncDispose, { value: async () => void (await batches.return()) });
  return batches;
}

class Loop<Row> {
  readonly #options: IterateOptions<Row>;
  /** At most one batch is here: the handler's promise holds the next one back. */
  #arrived: Batch<Row> | undefined;
  #held: { readonly release: () => void; readonly giveUp: (error: Error) => void } | undefined;
  #end: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  #stop: (() => void) | undefined;

  constructor(options: IterateOptions<Row>) {
    this.#options = options;
  }

  async *run(): AsyncGenerator<Batch<Row>, void, void> {
    const { begin, signal } = this.#options;
    signal?.throwIfAborted();
    const abort = (): void => this.leave(signal!.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      this.#stop = begin(
        (batch) => this.#handleBatch(batch),
        (error) => this.#finish(error),
      );
      for (;;) {
        while (this.#arrived === undefined && this.#end === undefined) await this.#woken();
        if (this.#end !== undefined) {
          if (this.#end.error !== undefined) throw this.#end.error;
          return;
        }
        const batch = this.#arrived!;
        this.#arrived = undefined;
        yield batch;
        this.#held!.release();
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      this.leave(undefined);
    }
  }

  /** Ends the subscription from this side. With an error, the loop throws it. */
  leave(error: unknown): void {
    // Set first, because the subscription will report its end too and must not replace the reason.
    this.#end ??= { error };
    // The subscription ends before its batch is given up: otherwise that would count as a failed
    // handler.
    this.#stop?.();
    this.#finish(error);
  }

  #handleBatch(batch: Batch<Row>): Promise<void> {
    return new Promise<void>((release, giveUp) => {
      this.#arrived = batch;
      this.#held = { release, giveUp };
      this.#wake?.();
    });
  }

  #finish(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
    // A batch is not applied when the loop was left in the middle of it.
    this.#held?.giveUp(new UsageError('CLOSED', 'the loop over the batches ended'));
  }

  #woken(): Promise<void> {
    return new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
