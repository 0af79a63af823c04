/**
 * Reads the body of a request piece by piece, straight from Node's stream. As a web stream it would
 * be read ahead: Node counts the queue of one in chunks, and holds up to a gigabyte of them.
 */

import type { Readable } from 'node:stream';
import { ConnectionError } from '../core/model/errors.ts';

const EVENTS = ['readable', 'end', 'error', 'close'] as const;

export class BodyReader {
  readonly #body: Readable;
  #isInterrupted = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(body: Readable) {
    this.#body = body;
    for (const event of EVENTS) body.on(event, this.#handleEvent);
  }

  /** A read waits for the client. */
  get isWaiting(): boolean {
    return this.#wake !== undefined;
  }

  /**
   * Undefined at the end, and once it was interrupted.
   * @throws ConnectionError CONNECTION_LOST
   */
  async read(): Promise<Uint8Array | undefined> {
    while (!this.#isInterrupted) {
      const chunk = this.#body.read() as Uint8Array | null;
      if (chunk !== null) return chunk;
      if (this.#body.readableEnded) return undefined;
      if (this.#body.destroyed) {
        const text = 'the client went away before it had sent all rows';
        throw new ConnectionError('CONNECTION_LOST', text, { cause: this.#error });
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return undefined;
  }

  /** Ends reading now, also where a read waits. The rest stays in the stream. */
  interrupt(): void {
    this.#isInterrupted = true;
    this.#wake?.();
  }

  /** Leaves the stream to the server, which drops what still comes. */
  release(): void {
    this.interrupt();
    for (const event of EVENTS) if (event !== 'error') this.#body.off(event, this.#handleEvent);
  }

  readonly #handleEvent = (error?: unknown): void => {
    if (error !== undefined) this.#error = error;
    this.#wake?.();
  };
}
