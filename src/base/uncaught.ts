/** Keeps errors of the application's listeners out of our own work. */

import type { Clock } from './clock.ts';

/**
 * Calls listeners. An error that one of them throws stays uncaught, as with every emitter. It is
 * thrown in a turn of its own, so that it does not cut our work short.
 */
export function callListeners(clock: Clock, call: () => void): void {
  try {
    call();
  } catch (thrown) {
    clock.wakeIn(0, () => {
      throw thrown;
    });
  }
}
