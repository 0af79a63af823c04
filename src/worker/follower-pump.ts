/** Joins a follower to sockets and the clock. Decides nothing, knows no subscriber. */

import { Alarm } from '../base/alarm.ts';
import type { Clock, Millis } from '../base/clock.ts';
import type { Follower, FollowerOutput } from '../core/follow/follower.ts';
import type { Address, Connection, Transport } from '../transport/transport.ts';

export interface FollowerPumpOptions {
  readonly follower: Follower;
  readonly transport: Transport;
  readonly address: Address;
  readonly clock: Clock;
  /** Everything that is not about the connection itself. */
  readonly onOutput: (output: AboutRows) => void;
}

type AboutRows = Exclude<FollowerOutput, { kind: 'connect' | 'transmit' | 'close' | 'abort' | 'pause' | 'resume' }>;

export class FollowerPump {
  readonly #options: FollowerPumpOptions;
  #connection: Connection | undefined;
  readonly #alarm: Alarm;
  /** While outputs are performed: when that began. What the machine does meanwhile happens at that time, so the clock is not asked for each batch. */
  #drainingSince: Millis | undefined;

  constructor(options: FollowerPumpOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => {
      options.follower.handleTimeout(this.now);
      this.drain();
    });
  }

  get now(): Millis {
    return this.#options.clock.now();
  }

  /** For an input that hardly ever looks at the time: a handler may have taken long since. */
  get roughlyNow(): Millis {
    return this.#drainingSince ?? this.now;
  }

  /** Performs what the follower wants, after every input to it. Called from within itself it leaves the work to the call that runs. */
  drain(): void {
    if (this.#drainingSince !== undefined) return;
    const { now } = this;
    this.#drainingSince = now;
    const { follower } = this.#options;
    try {
      for (let output = follower.pollOutput(now); output !== undefined; output = follower.pollOutput(now))
        this.#perform(output);
    } finally {
      this.#drainingSince = undefined;
    }
    this.#alarm.setBy(follower.nextTimeout());
  }

  #perform(output: FollowerOutput): void {
    switch (output.kind) {
      case 'connect':
        return this.#connect();
      case 'transmit':
        if (this.#connection?.write(output.bytes) === false) this.#options.follower.handleBlocked();
        return;
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
    const { follower, transport, address } = this.#options;
    this.#connection = transport.connect(address, {
      handleOpen: () => {
        follower.handleOpen(this.now);
        this.drain();
      },
      handleBytes: (chunk) => {
        follower.handleBytes(this.now, chunk);
        this.drain();
      },
      handleDrained: () => {
        follower.handleDrained(this.now);
        this.drain();
      },
      handleClosed: (error) => {
        this.#connection = undefined;
        follower.handleClosed(this.now, error);
        this.drain();
      },
    });
  }

  /** The follower is stopped: nothing wakes any more. */
  close(): void {
    this.#alarm.cancel();
  }
}
