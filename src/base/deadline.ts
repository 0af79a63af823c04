/** A bound on the time that a promise may take. */

import type { Clock, Millis } from './clock.ts';

/**
 * Settles as the work does, or rejects after the time with what `giveUp` gives.
 * @param timeoutMs undefined: the work has all the time there is
 */
export async function within(
  clock: Clock,
  timeoutMs: Millis | undefined,
  work: Promise<void>,
  giveUp: (timeoutMs: Millis) => Error,
): Promise<void> {
  if (timeoutMs === undefined) return work;
  await new Promise<void>((resolve, reject) => {
    const timer = clock.wakeIn(timeoutMs, () => reject(giveUp(timeoutMs)));
    const settle = (how: () => void): void => {
      timer.cancel();
      how();
    };
    work.then(
      () => settle(resolve),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}
