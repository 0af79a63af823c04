/** A connection by hand: lines in, lines out. */

import type { Address, Connection, Transport } from '../../src/transport/transport.ts';

export class Netcat {
  readonly connection: Connection;
  readonly lines: string[] = [];
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  #text = '';
  #waiting: { readonly prefix: string; readonly resolve: () => void }[] = [];

  constructor(transport: Transport, address: Address) {
    let handleClosed: () => void = () => {};
    this.closed = new Promise<void>((resolve) => {
      handleClosed = resolve;
    });
    this.connection = transport.connect(address, {
      handleOpen: () => {},
      handleBytes: (chunk) => this.#take(chunk),
      handleDrained: () => {},
      handleClosed,
    });
  }

  send(...lines: string[]): void {
    this.connection.write(Buffer.from(lines.map((line) => `${line}\n`).join('')));
  }

  /** Resolves when a line with this prefix has come, at any time. */
  async line(prefix: string): Promise<void> {
    if (this.lines.some((line) => line.startsWith(prefix))) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ prefix, resolve });
    });
  }

  #take(chunk: Uint8Array): void {
    const parts = `${this.#text}${Buffer.from(chunk).toString('utf8')}`.split('\n');
    this.#text = parts.pop()!;
    this.lines.push(...parts);
    for (const { prefix, resolve } of this.#waiting) if (parts.some((line) => line.startsWith(prefix))) resolve();
  }
}
