/** At most one timer, for a machine that says when it wants to be woken. */

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

  /**
   * Wakes at `at`, or later by at most the clock's slack. Undefined asks for nothing. A later `at`
   * does not move a timer that is already set: waking early is harmless, and a new timer for every
   * row is not free.
   */
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
