/** The time, the transport and the peers of one round. */

import type { Millis } from '../../src/base/clock.ts';
import { createMemoryTransport, type MemoryTransport } from '../../src/transport/memory.ts';
import type { Address, Connection, ConnectionHandler } from '../../src/transport/transport.ts';
import { CountingClock } from '../support/counting-clock.ts';
import { settle } from '../support/deployment.ts';

/** What is waited for comes within this virtual time, or never. */
const PATIENCE_MS: Millis = 600_000;

export class Stage {
  readonly clock: CountingClock = new CountingClock();
  readonly transport: MemoryTransport = createMemoryTransport({ highWaterBytes: 4_096 });

  /** Lets time pass, and everything happen that is due. */
  async pass(ms: Millis): Promise<void> {
    const until = this.clock.now() + ms;
    await settle(3);
    while (this.clock.step(until)) await settle(1);
    await settle(2);
  }

  /** Waits for a promise of ours while time passes. */
  async during<T>(what: string, promise: Promise<T>): Promise<T> {
    let isOver = false;
    const end = (): void => {
      isOver = true;
    };
    promise.then(end, end);
    await this.until(what, () => isOver);
    return promise;
  }

  async until(what: string, isDone: () => boolean): Promise<void> {
    const before = this.clock.now();
    await settle(3);
    while (!isDone()) {
      if (this.clock.now() > before + PATIENCE_MS) throw new Error(`in ${PATIENCE_MS} ms it was not so: ${what}`);
      await this.pass(20);
    }
  }
}

/** One end of a connection, by hand. */
export class Hand implements ConnectionHandler {
  readonly connection: Connection;
  #text = '';
  isOpen = false;
  isOver = false;
  isPaused = false;
  wasPaused = false;

  constructor(transport: MemoryTransport, address: Address) {
    this.connection = transport.connect(address, this);
  }

  handleOpen(): void {
    this.isOpen = true;
  }

  handleBytes(chunk: Uint8Array): void {
    this.#text += Buffer.from(chunk).toString('latin1');
  }

  handleDrained(): void {}

  handleClosed(): void {
    this.isOver = true;
  }

  /** The lines that came, the last one perhaps without its end. */
  get lines(): string[] {
    const lines = this.#text.split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines;
  }

  pause(): void {
    this.isPaused = true;
    this.wasPaused = true;
    this.connection.pause();
  }

  resume(): void {
    this.isPaused = false;
    this.connection.resume();
  }
}
