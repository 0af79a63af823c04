/**
 * Rows on their way to stdout: few writes for many rows, and a promise for when they have left this
 * process.
 */

import type { Writable } from 'node:stream';
import { escapeLines } from '../core/model/errors.ts';

// The capacity of a pipe on Linux.
const WRITE_LENGTH = 64 * 1024;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class RowOutput {
  readonly #stream: Writable;
  readonly #onFailed: (error: Error) => void;
  #text = '';
  #isScheduled = false;
  #writing = 0;
  #failure: Error | undefined;
  #waitForRoom: Waiter[] = [];
  #waitForFlush: Waiter[] = [];

  /** @param onFailed called once, when nothing can be written any more */
  constructor(stream: Writable, onFailed: (error: Error) => void) {
    this.#stream = stream;
    this.#onFailed = onFailed;
    stream.on('error', (error) => this.fail(error));
    stream.on('drain', () => this.#settle('room'));
  }

  /** Why nothing can be written any more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** The system has everything that was written. */
  get isFlushed(): boolean {
    return this.#text === '' && this.#writing === 0;
  }

  /**
   * Writes soon. Returns a promise when the reader of stdout is slower than we are; it resolves
   * when there is room again.
   * @throws the failure
   */
  write(text: string): void | Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#text += text;
    if (this.#text.length >= WRITE_LENGTH) this.#send();
    else this.#schedule();
    if (!this.#stream.writableNeedDrain) return undefined;
    return new Promise((resolve, reject) => {
      this.#waitForRoom.push({ resolve, reject });
    });
  }

  /** Resolves when the system has everything that was written. Rejects with the failure. */
  async flushed(): Promise<void> {
    this.#send();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#writing === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#waitForFlush.push({ resolve, reject });
    });
  }

  /** Stops writing, and rejects every waiting promise. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#text = '';
    for (const { reject } of [...this.#waitForRoom, ...this.#waitForFlush]) reject(error);
    this.#waitForRoom = [];
    this.#waitForFlush = [];
    this.#onFailed(error);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // The rows of one turn of the event loop share a write.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#text === '' || this.#failure !== undefined) return;
    const text = this.#text;
    this.#text = '';
    this.#writing++;
    this.#stream.write(text, (error) => {
      this.#writing--;
      if (error) this.fail(error);
      else if (this.#writing === 0) this.#settle('flush');
    });
  }

  #settle(what: 'room' | 'flush'): void {
    const waiters = what === 'room' ? this.#waitForRoom : this.#waitForFlush;
    if (what === 'room') this.#waitForRoom = [];
    else this.#waitForFlush = [];
    for (const { resolve } of waiters) resolve();
  }
}

/** Whether the reader of stdout has gone, as `| head` does when it has enough. */
export function isReaderGone(error: Error | undefined): boolean {
  return error !== undefined && 'code' in error && error.code === 'EPIPE';
}

/**
 * Writes lines of a result and waits until they have left. Control characters in them are escaped,
 * which leaves JSON equal. A reader that has gone is no failure.
 */
export async function print(stdout: Writable, text: string): Promise<void> {
  const output = new RowOutput(stdout, () => {});
  try {
    await Promise.all([output.write(escapeLines(text)), output.flushed()]);
  } catch (error) {
    if (!isReaderGone(output.failure)) throw error;
  }
}
