/**
 * A primary whose every line comes from the test: a transport for one worker, with the other end
 * under the test's control. Synchronous.
 */

import type { Connection, ConnectionHandler, Transport } from '../../src/transport/transport.ts';

export class ScriptedPrimary {
  readonly transport: Transport = {
    connect: (_address, handler) => this.#connect(handler),
    listen: () => Promise.reject(new Error('a worker does not listen')),
  };
  /** The worker has closed the connection: `cut` reports the end. */
  isLeft = false;
  #handler: ConnectionHandler | undefined;
  #isOpen = false;
  #received = '';
  /** Bytes of a line that were not given to the worker yet. */
  #unsent: Buffer = Buffer.alloc(0);

  /** The worker has asked for a connection that is not open yet. */
  get isAwaited(): boolean {
    return this.#handler !== undefined && !this.#isOpen;
  }

  get heldBytes(): number {
    return this.#unsent.length;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  open(): void {
    this.#isOpen = true;
    this.#unsent = Buffer.alloc(0);
    this.#handler!.handleOpen();
  }

  /**
   * @param held how many bytes of the end wait for the next call, so that a line comes in pieces
   */
  send(lines: readonly string[], held = 0): void {
    const bytes = Buffer.concat([this.#unsent, ...lines.map((line) => Buffer.from(`${line}\n`))]);
    const at = Math.max(bytes.length - held, 0);
    this.#unsent = bytes.subarray(at);
    if (at > 0) this.#handler!.handleBytes(bytes.subarray(0, at));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#handler!.handleBytes(bytes);
  }

  /** The lines that the worker has sent since the last call. */
  takeLines(): string[] {
    const lines = this.#received.split('\n');
    this.#received = lines.pop()!;
    return lines;
  }

  /** The connection is lost. */
  cut(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    this.#isOpen = false;
    this.#received = '';
    this.isLeft = false;
    handler?.handleClosed();
  }

  #connect(handler: ConnectionHandler): Connection {
    this.#handler = handler;
    return {
      peer: 'script',
      unsentBytes: 0,
      write: (bytes) => {
        this.#received += Buffer.from(bytes).toString();
        return true;
      },
      cork: () => {},
      uncork: () => {},
      pause: () => {},
      resume: () => {},
      // The end is reported later, as by a transport: when the test says so.
      close: () => {
        this.isLeft = true;
      },
      abort: () => {
        this.isLeft = true;
      },
    };
  }
}
