/**
 * Errors thrown by code of a simulated process when the world calls it. They are reported like an
 * uncaught exception that the process survives.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { ConnectionHandler } from '../transport/transport.ts';
import { ProcessClock } from './virtual-clock.ts';

/** Thrown on purpose by a listener of the simulated application. */
export class PlannedError extends Error {
  override readonly name = 'PlannedError';
}

export class Outcry {
  readonly #onThrown: (thrown: unknown) => void;

  constructor(onThrown: (thrown: unknown) => void) {
    this.#onThrown = onThrown;
  }

  hear(call: () => void): void {
    try {
      call();
    } catch (thrown) {
      if (!(thrown instanceof PlannedError)) this.#onThrown(thrown);
    }
  }

  handler(inner: ConnectionHandler): ConnectionHandler {
    return {
      handleOpen: () => this.hear(() => inner.handleOpen()),
      handleBytes: (chunk) => this.hear(() => inner.handleBytes(chunk)),
      handleDrained: () => this.hear(() => inner.handleDrained()),
      handleClosed: (error) => this.hear(() => inner.handleClosed(error)),
    };
  }
}

/** The clock of a process's own code. Errors of its wakes are reported. */
export class OutcryClock implements Clock {
  readonly #clock: ProcessClock;
  readonly #outcry: Outcry;

  constructor(clock: Clock, outcry: Outcry) {
    this.#clock = new ProcessClock(clock);
    this.#outcry = outcry;
  }

  now(): Millis {
    return this.#clock.now();
  }

  wallNow(): Millis {
    return this.#clock.wallNow();
  }

  wakeIn(delayMs: Millis, wake: () => void): Timer {
    return this.#clock.wakeIn(delayMs, () => this.#outcry.hear(wake));
  }

  kill(): void {
    this.#clock.kill();
  }
}
