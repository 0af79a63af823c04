/** Time. Only this file and random.ts read the outside world for code that is otherwise pure. */

/** Milliseconds: a length of time, or an instant as ms since 1970. */
export type Millis = number;

export interface Timer {
  /** Makes sure that it does not run. Does nothing once it has run. */
  cancel(): void;
}

export interface WakeOptions {
  readonly isBackground?: boolean;
}

export interface Clock {
  /** Ms since 1970. Never runs backwards within a process, even when the system clock is set. */
  now(): Millis;
  /**
   * Ms since 1970 by the system clock, for people to read. It jumps when the clock is set, so do
   * not measure with it.
   */
  wallNow(): Millis;
  /**
   * Calls `wake` once, after `delayMs` or up to about a thirtieth of it later. With 0 it waits
   * until everything else that is ready has run. The timer keeps the process alive, so a worker
   * that waits to reconnect does not end. One in the background does not.
   */
  wakeIn(delayMs: Millis, wake: () => void, options?: WakeOptions): Timer;
}

// setTimeout turns longer delays into 1 ms. Waking early is harmless to every user of a clock.
const LONGEST_DELAY_MS: Millis = 2 ** 31 - 1;

// The timers of many connections are due at about the same time. With slack, the process wakes once
// for all of them.
const DELAY_PER_SLACK = 32;

/** The clock and the timers of this process. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  wallNow: () => Date.now(),
  wakeIn(delayMs, wake, { isBackground = false } = {}) {
    if (delayMs <= 0) {
      const handle = setImmediate(wake);
      return { cancel: () => clearImmediate(handle) };
    }
    const bounded = Math.min(delayMs, LONGEST_DELAY_MS);
    const handle = setTimeout(wake, Math.min(withSlack(bounded, performance.now()), LONGEST_DELAY_MS));
    // Where timers keep a process alive, as Node's do.
    if (isBackground) (handle as { unref?: () => void }).unref?.();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The delay until the next instant of a grid. A shorter delay has a finer grid. */
function withSlack(delayMs: Millis, now: Millis): Millis {
  if (delayMs < DELAY_PER_SLACK * 2) return delayMs;
  const slack = 2 ** Math.floor(Math.log2(delayMs / DELAY_PER_SLACK));
  return Math.ceil((now + delayMs) / slack) * slack - now;
}
