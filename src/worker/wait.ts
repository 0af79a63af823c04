/** Waiting until a subscription has applied a token: with a time-out that says why, and a signal. */

import type { Clock, Millis } from '../base/clock.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Token } from '../core/model/token.ts';
import type { LiveSubscription } from './subscription.ts';

export interface WaitUntilOptions {
  readonly subscription: LiveSubscription;
  readonly token: Token;
  readonly clock: Clock;
  readonly timeoutMs: Millis;
  readonly signal: AbortSignal | undefined;
  /** What holds the subscription up, asked for when it was too long. */
  readonly why: () => string;
}

/** @throws UsageError WAIT_TIMEOUT; the signal's reason; the error of a subscription that ends or is reset meanwhile */
export async function waitUntil({
  subscription,
  token,
  clock,
  timeoutMs,
  signal,
  why,
}: WaitUntilOptions): Promise<void> {
  signal?.throwIfAborted();
  const { reached, cancel } = subscription.wait(token);
  const timer = clock.wakeIn(timeoutMs, () => {
    const at = subscription.position ?? 'no position';
    cancel(
      new UsageError(
        'WAIT_TIMEOUT',
        `stream ${subscription.stream} is at ${at}, ${token} was not reached within ${timeoutMs} ms: ${why()}`,
      ),
    );
  });
  const abort = (): void => cancel(signal!.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await reached;
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', abort);
  }
}
