/**
 * Joins a protocol machine to a connection and the clock: carries inputs in, performs outputs,
 * keeps one timer. Decides nothing, and does not know what the machine speaks.
 *
 *   connection, clock ──handle*(now, …)──▶ machine ──pollOutput──▶ perform
 */

import { Alarm } from '../base/alarm.ts';
import type { Clock, Millis } from '../base/clock.ts';
import type { ConnectionHandler } from './transport.ts';

/**
 * A machine without I/O. Time is an argument of its inputs, and outputs are polled after every
 * input.
 */
export interface Machine<Output> {
  handleOpen(now: Millis): void;
  handleBytes(now: Millis, chunk: Uint8Array): void;
  handleDrained?(now: Millis): void;
  handleClosed(now: Millis, error?: Error): void;
  handleTimeout(now: Millis): void;
  pollOutput(now: Millis): Output | undefined;
  /** When it wants handleTimeout. Undefined means never. */
  nextTimeout(): Millis | undefined;
}

export interface MachinePumpOptions<Output> {
  readonly machine: Machine<Output>;
  readonly clock: Clock;
  readonly perform: (output: Output) => void;
}

/** The pump is the handler that the transport calls. */
export class MachinePump<Output> implements ConnectionHandler {
  readonly #options: MachinePumpOptions<Output>;
  readonly #alarm: Alarm;
  /** When the present round of outputs began, while it is performed. */
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
   * While outputs are performed, the time when that began; otherwise now. For inputs that hardly
   * ever look at the time, so that the clock is not read for each of many outputs.
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
   * Performs the machine's outputs. Call it after every input of your own. From within `perform` it
   * leaves the work to the call that is running.
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

  /** The machine is finished, and nothing wakes it any more. */
  close(): void {
    this.#alarm.cancel();
  }
}
