/**
 * How many log lines one connection may write. Its peer causes them, and a log on a slow disk would
 * hold up everything else. Knows no logger and no clock.
 */

import type { Millis } from '../../base/clock.ts';

/** So many lines at once, then one for each interval. */
export const LOG_LINES_BURST = 20;
export const LOG_LINE_INTERVAL_MS: Millis = 1_000;

export class LineRate {
  /** When all the lines of a burst are free again. */
  #fullAt: Millis = -Infinity;
  #leftOut = 0;

  /** Whether a line may be written now. One that may not is left out, and counted. */
  take(now: Millis): boolean {
    const fullAt = Math.max(this.#fullAt, now) + LOG_LINE_INTERVAL_MS;
    if (fullAt > now + LOG_LINES_BURST * LOG_LINE_INTERVAL_MS) {
      this.#leftOut++;
      return false;
    }
    this.#fullAt = fullAt;
    return true;
  }

  /** How many lines were left out since the last call. */
  takeLeftOut(): number {
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
