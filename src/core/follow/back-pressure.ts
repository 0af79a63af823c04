/** Rows that wait for the application: when to stop reading, when to go on, and since when more may be left unread. Knows no session. */

import type { Millis } from '../../base/clock.ts';

/** What one read of a socket brings when there is at least that much. */
const FULL_READ_BYTES = 64 * 1024;

export class BackPressure {
  readonly #maxQueuedBytes: number;
  #queuedBytes = 0;
  #isPaused = false;
  /** Since when more may wait in the socket than was read: a pause between two reads does not tell that all of it came. */
  #unreadSince: Millis | undefined;

  constructor(maxQueuedBytes: number) {
    this.#maxQueuedBytes = maxQueuedBytes;
  }

  /** Nothing is read, because too many rows wait for their handlers. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** While it is paused, and something of this connection may be left unread: since when. */
  get heldUpSince(): Millis | undefined {
    return this.#isPaused ? this.#unreadSince : undefined;
  }

  /** Rows wait for the application. True: stop reading now. */
  handleQueued(now: Millis, bytes: number): boolean {
    this.#queuedBytes += bytes;
    if (this.#isPaused || this.#queuedBytes <= this.#maxQueuedBytes) return false;
    this.#isPaused = true;
    this.#unreadSince ??= now;
    return true;
  }

  /** The application is through with rows of this size. True: go on reading. */
  handleApplied(bytes: number): boolean {
    this.#queuedBytes -= bytes;
    if (!this.#isPaused || this.#queuedBytes > this.#maxQueuedBytes / 2) return false;
    this.#isPaused = false;
    return true;
  }

  /** A short read has emptied the socket. What it brings may still be too much: then a pause begins anew. */
  handleRead(bytes: number): void {
    if (!this.#isPaused && bytes < FULL_READ_BYTES) this.#unreadSince = undefined;
  }

  /** What was unread is gone with the connection; what waits for the application is not. */
  handleClosed(): void {
    this.#unreadSince = undefined;
  }
}
