/**
 * How much of a peer's input is handled before everything else in the process has its turn. A
 * socket gives up to 2 MB at once, and a line of a few bytes may cost far more than its length.
 */

import type { Millis } from '../../base/clock.ts';

/**
 * The most that one turn costs, in characters: a few milliseconds. Beyond it no line is taken until
 * the event loop has gone round.
 */
const MAX_TURN_COST: number = 256 * 1024;

/** Added to the length of a line that is no row: such a line is told to the application, or answered. */
export const LINE_COST = 256;
/** Added to the length of a row's line. */
export const ROW_COST = 32;
/** A stream that is asked for: it is looked up, judged and answered. */
export const STREAM_COST = 512;

export class Turn {
  #cost = 0;
  #overAt: Millis = Infinity;

  spend(now: Millis, cost: number): void {
    this.#cost += cost;
    if (this.#cost >= MAX_TURN_COST) this.#overAt = Math.min(now, this.#overAt);
  }

  get isOver(): boolean {
    return this.#cost >= MAX_TURN_COST;
  }

  /** When the next turn is wanted: at once. Infinity while this one goes on. */
  get nextTimeout(): Millis {
    return this.#overAt;
  }

  /** Call it from a timer: then everything else has had its turn. */
  beginNext(): void {
    this.#cost = 0;
    this.#overAt = Infinity;
  }
}
