/** The line between our work and the application's listeners. */

import type { Clock } from './clock.ts';

/**
 * Calls listeners. What one of them throws is uncaught, as with every emitter, but in a turn of its own: it must not cut
 * our work short.
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
