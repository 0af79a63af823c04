/**
 * Joins a follower to its connections, one after the other. Decides nothing, and knows no
 * subscription.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type { Follower, FollowerOutput } from '../core/follow/follower.ts';
import { MachinePump } from '../transport/machine-pump.ts';
import type { Address, Connection, Transport } from '../transport/transport.ts';

export interface FollowerPumpOptions {
  readonly follower: Follower;
  readonly transport: Transport;
  readonly address: Address;
  readonly clock: Clock;
  /** Gets every output that is not about the connection itself. */
  readonly onOutput: (output: OutputForWorker) => void;
}

type OutputForWorker = Exclude<
  FollowerOutput,
  { kind: 'connect' | 'transmit' | 'close' | 'abort' | 'pause' | 'resume' }
>;

export class FollowerPump {
  readonly #options: FollowerPumpOptions;
  readonly #pump: MachinePump<FollowerOutput>;
  #connection: Connection | undefined;

  constructor(options: FollowerPumpOptions) {
    this.#options = options;
    this.#pump = new MachinePump({
      machine: options.follower,
      clock: options.clock,
      perform: (output) => this.#perform(output),
    });
  }

  get now(): Millis {
    return this.#pump.now;
  }

  get roughlyNow(): Millis {
    return this.#pump.roughlyNow;
  }

  /** Performs the follower's outputs. Call it after every input. */
  drain(): void {
    this.#pump.drain();
  }

  /** Ends the connection at once. */
  abort(): void {
    this.#connection?.abort();
  }

  /** The follower is stopped, and nothing wakes it any more. */
  close(): void {
    this.#pump.close();
  }

  #perform(output: FollowerOutput): void {
    switch (output.kind) {
      case 'connect':
        return this.#connect();
      case 'transmit':
        if (this.#connection?.write(output.bytes) !== false) return;
        return this.#options.follower.handleBlocked(this.roughlyNow, output.bytes.length);
      case 'close':
        return this.#connection?.close();
      case 'abort':
        return this.#connection?.abort();
      case 'pause':
        return this.#connection?.pause();
      case 'resume':
        return this.#connection?.resume();
      default:
        return this.#options.onOutput(output);
    }
  }

  #connect(): void {
    const { transport, address } = this.#options;
    const pump = this.#pump;
    this.#connection = transport.connect(address, {
      handleOpen: () => pump.handleOpen(),
      handleBytes: (chunk) => pump.handleBytes(chunk),
      handleDrained: () => pump.handleDrained(),
      handleClosed: (error) => {
        this.#connection = undefined;
        pump.handleClosed(error);
      },
    });
  }
}
