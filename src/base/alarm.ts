/** One timer at most, for a machine that says when it wants to be woken. */

import type { Clock, Millis, Timer } from './clock.ts';

export class Alarm {
  readonly #clock: Clock;
  readonly #wake: () => void;
  #timer: Timer | undefined;
  #wakesAt: Millis = Infinity;

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Wakes at `at`, later only by the slack of the clock; undefined wants nothing. A timer that is set is left to run early rather than set anew at every row: waking early is harmless. */
  setBy(at: Millis = Infinity): void {
    if (at >= this.#wakesAt) return;
    this.#timer?.cancel();
    this.#wakesAt = at;
    this.#timer = this.#clock.wakeIn(at - this.#clock.now(), () => {
      this.#wakesAt = Infinity;
      this.#wake();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#wakesAt = Infinity;
  }
}
