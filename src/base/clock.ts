/** Time. With random.ts, the only file that reads the outside world for the code that is otherwise pure. */

/** Milliseconds: a length of time, or an instant as ms since 1970. */
export type Millis = number;

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Ms since 1970. Never runs backwards within a process, even when the system's clock is set. */
  now(): Millis;
  /** Ms since 1970 as the system's clock says now: for people to read. It jumps when the clock is set: measure nothing by it. */
  wallNow(): Millis;
  /** Calls `wake` once, after `delayMs` and at most about a thirtieth of it later; with 0, when everyone else has had a turn. It keeps the process alive: a worker that waits to connect again has not ended. */
  wakeIn(delayMs: Millis, wake: () => void): Timer;
}

// setTimeout turns longer delays into 1 ms; waking early is harmless to everything that waits on a clock.
const LONGEST_DELAY_MS: Millis = 2 ** 31 - 1;

// Timers of many connections are due at about the same time: the process wakes once for all of them, which costs less than they do.
const DELAY_PER_SLACK = 32;

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  wallNow: () => Date.now(),
  wakeIn(delayMs, wake) {
    if (delayMs <= 0) {
      const handle = setImmediate(wake);
      return { cancel: () => clearImmediate(handle) };
    }
    const bounded = Math.min(delayMs, LONGEST_DELAY_MS);
    const handle = setTimeout(wake, Math.min(withSlack(bounded, performance.now()), LONGEST_DELAY_MS));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The delay until the next instant of a grid, which is the finer the shorter the delay. */
function withSlack(delayMs: Millis, now: Millis): Millis {
  if (delayMs < DELAY_PER_SLACK * 2) return delayMs;
  const slack = 2 ** Math.floor(Math.log2(delayMs / DELAY_PER_SLACK));
  return Math.ceil((now + delayMs) / slack) * slack - now;
}
