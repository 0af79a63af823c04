/** Keeps errors of the application's functions out of our own work. */

import type { Clock } from './clock.ts';

/**
 * Throws what a function of the application threw, in a turn of its own. It stays uncaught, as an
 * error of any listener does, and cuts nothing of our work short.
 */
export function throwLater(clock: Clock, thrown: unknown): void {
  clock.wakeIn(0, () => {
    throw thrown;
  });
}

/** Calls a function of the application from within our own work. */
export function callGuarded(clock: Clock, call: () => void): void {
  try {
    call();
  } catch (thrown) {
    throwLater(clock, thrown);
  }
}
