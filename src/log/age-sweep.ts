/**
 * Looks from time to time for rows that `retain.ageMs` no longer keeps, so that they also go from
 * streams to which nothing is appended. One timer serves all streams of a log.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Declarations } from '../core/model/declarations.ts';

/** Rows go this much after their age, at most, where nothing is appended. */
const AGE_SWEEP_INTERVAL_MS: Millis = 10_000;

export class AgeSweep {
  readonly #clock: Clock;
  readonly #sweep: () => void;
  #timer: Timer | undefined;

  constructor(clock: Clock, sweep: () => void) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  /** Does nothing where no declaration has `retain.ageMs`. */
  start({ streams, patterns }: Pick<Declarations, 'streams' | 'patterns'>): void {
    if ([...streams, ...patterns].some(({ retain }) => retain.ageMs !== undefined)) this.#wait();
  }

  #wait(): void {
    // In the background: an open log must not keep a process alive.
    this.#timer = this.#clock.wakeIn(
      AGE_SWEEP_INTERVAL_MS,
      () => {
        this.#wait();
        this.#sweep();
      },
      { isBackground: true },
    );
  }

  stop(): void {
    this.#timer?.cancel();
  }
}
