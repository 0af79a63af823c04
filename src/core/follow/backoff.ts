/**
 * How long to wait before reconnecting: exponential, with jitter, so that workers do not come back
 * all at once.
 */

import type { Millis } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';

export class Backoff {
  readonly #minMs: Millis;
  readonly #maxMs: Millis;
  readonly #random: Random;
  #attempts = 0;

  constructor(limits: { readonly minBackoffMs: Millis; readonly maxBackoffMs: Millis }, random: Random) {
    this.#minMs = limits.minBackoffMs;
    this.#maxMs = limits.maxBackoffMs;
    this.#random = random;
  }

  /**
   * Makes the next wait short again. Call it after proven progress, not after a mere connection.
   */
  reset(): void {
    this.#attempts = 0;
  }

  /** A whole number: it is told to people and written to logs. */
  nextDelayMs(): Millis {
    const ceiling = Math.min(this.#maxMs, this.#minMs * 2 ** (this.#attempts + 1));
    this.#attempts++;
    return Math.round(this.#minMs + this.#random.next() * Math.max(ceiling - this.#minMs, 0));
  }
}
