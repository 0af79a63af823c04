/**
 * Joins a protocol machine to a connection and the clock: carries inputs in, has outputs performed,
 * keeps one timer. Decides nothing, and does not know what the machine speaks.
 *
 *   connection, clock ──handle*(now, …)──▶ machine ──pollOutput──▶ perform
 */

import { Alarm } from '../base/alarm.ts';
import type { Clock, Millis } from '../base/clock.ts';
import type { ConnectionHandler } from './transport.ts';

/** A machine without I/O: time comes in, outputs are polled after every input. */
export interface Machine<Output> {
  handleOpen(now: Millis): void;
  handleBytes(now: Millis, chunk: Uint8Array): void;
  handleDrained?(now: Millis): void;
  handleClosed(now: Millis, error?: Error): void;
  handleTimeout(now: Millis): void;
  pollOutput(now: Millis): Output | undefined;
  /** When it wants handleTimeout; undefined: never. */
  nextTimeout(): Millis | undefined;
}

export interface MachinePumpOptions<Output> {
  readonly machine: Machine<Output>;
  readonly clock: Clock;
  readonly perform: (output: Output) => void;
}

/** Is itself what the transport tells of the connection. */
export class MachinePump<Output> implements ConnectionHandler {
  readonly #options: MachinePumpOptions<Output>;
  readonly #alarm: Alarm;
  /** While outputs are performed: when that began. */
  #drainingSince: Millis | undefined;

  constructor(options: MachinePumpOptions<Output>) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => {
      options.machine.handleTimeout(this.now);
      this.drain();
    });
  }

  get now(): Millis {
    return this.#options.clock.now();
  }

  /**
   * While outputs are performed, the time when that began; else now. For an input that hardly ever
   * looks at the time: the clock is not asked for each of many outputs.
   */
  get roughlyNow(): Millis {
    return this.#drainingSince ?? this.now;
  }

  handleOpen(): void {
    this.#options.machine.handleOpen(this.now);
    this.drain();
  }

  handleBytes(chunk: Uint8Array): void {
    this.#options.machine.handleBytes(this.now, chunk);
    this.drain();
  }

  handleDrained(): void {
    this.#options.machine.handleDrained?.(this.now);
    this.drain();
  }

  handleClosed(error?: Error): void {
    this.#options.machine.handleClosed(this.now, error);
    this.drain();
  }

  /**
   * Performs what the machine wants; call it after every input of your own. From within `perform`
   * it leaves the work to the call that runs.
   */
  drain(): void {
    if (this.#drainingSince !== undefined) return;
    const { now } = this;
    this.#drainingSince = now;
    const { machine, perform } = this.#options;
    try {
      for (let output = machine.pollOutput(now); output !== undefined; output = machine.pollOutput(now))
        perform(output);
    } finally {
      this.#drainingSince = undefined;
    }
    this.#alarm.setBy(machine.nextTimeout());
  }

  /** The machine is over: nothing wakes it any more. */
  close(): void {
    this.#alarm.cancel();
  }
}
