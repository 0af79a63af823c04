/**
 * The emitter that the public classes are. `emit` never throws, so an event may be told in the
 * middle of any work.
 */

// For compilers that load no types by themselves, as TypeScript 6 does.
/// <reference types="node" preserve="true" />

import { EventEmitter } from 'node:events';
import type { Clock } from '../base/clock.ts';
import { throwLater } from '../base/uncaught.ts';

/**
 * Calls each listener, also after one that throws. What a listener throws stays uncaught, in a turn
 * of its own. So does an `error` that has no listener.
 */
export class Emitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  readonly #clock: Clock;

  static {
    // Not declared as a method: the types of Node's own differ from version to version.
    Emitter.prototype.emit = function (this: Emitter<never>, event: string | symbol, ...args: unknown[]) {
      return this.#emit(event, args);
    } as typeof Emitter.prototype.emit;
  }

  constructor(clock: Clock) {
    super();
    this.#clock = clock;
  }

  #emit(event: string | symbol, args: readonly unknown[]): boolean {
    // Tools that watch a process listen here. Being told does not count as handling the error.
    if (event === 'error') this.#call(EventEmitter.errorMonitor, args);
    if (this.#call(event, args)) return true;
    if (event === 'error') throwLater(this.#clock, args[0]);
    return false;
  }

  #call(event: string | symbol, args: readonly unknown[]): boolean {
    // A copy, with what `once` has made of its listeners.
    const listeners = (this as EventEmitter).rawListeners(event);
    for (const listener of listeners) {
      try {
        Reflect.apply(listener, this, args);
      } catch (thrown) {
        throwLater(this.#clock, thrown);
      }
    }
    return listeners.length > 0;
  }
}
