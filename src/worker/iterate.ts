/** A subscription as an async iterator: a batch counts as applied when the next one is asked for. */

import { UsageError } from '../model/errors.ts';
import type { Batch, BatchHandler } from './subscription.ts';

export interface IterateOptions<Row> {
  /** Begins to deliver; returns what ends the subscription. `onEnd` is told once when it ends by itself: no error is an orderly end. */
  readonly begin: (handler: BatchHandler<Row>, onEnd: (error: Error | undefined) => void) => () => void;
  readonly signal: AbortSignal | undefined;
}

/** Ends when the loop is left, when the worker stops, or by throwing: the signal's reason, or why the subscription failed. */
export async function* iterate<Row>({ begin, signal }: IterateOptions<Row>): AsyncGenerator<Batch<Row>, void, void> {
  signal?.throwIfAborted();
  // One batch at a time is here: the handler's promise holds the next one back.
  let arrived: Batch<Row> | undefined;
  let held: { release: () => void; giveUp: (error: Error) => void } | undefined;
  let end: { error: unknown } | undefined;
  let wake: (() => void) | undefined;
  const finish = (error: unknown): void => {
    end ??= { error };
    wake?.();
    // Whoever left in the middle of a batch has not applied it.
    held?.giveUp(new UsageError('CLOSED', 'the loop over the batches ended'));
  };
  const abort = (): void => {
    // In this order: a batch that is given up by a subscription that goes on would be a failure.
    stop();
    finish(signal!.reason);
  };
  signal?.addEventListener('abort', abort, { once: true });
  const stop = begin(
    (batch) =>
      new Promise<void>((release, giveUp) => {
        arrived = batch;
        held = { release, giveUp };
        wake?.();
      }),
    finish,
  );
  try {
    for (;;) {
      while (arrived === undefined && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (end !== undefined) {
        if (end.error !== undefined) throw end.error;
        return;
      }
      const batch = arrived!;
      arrived = undefined;
      yield batch;
      held!.release();
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    stop();
    finish(undefined);
  }
}
