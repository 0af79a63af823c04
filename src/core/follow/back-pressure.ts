/**
 * Counts the rows that wait for the application: when to stop reading, when to resume, and since
 * when input may be unread. Knows no session.
 */

import type { Millis } from '../../base/clock.ts';

/** A read of a socket returns this much when at least this much is there. */
const FULL_READ_BYTES = 64 * 1024;

export class BackPressure {
  readonly #maxQueuedBytes: number;
  #queuedBytes = 0;
  #isPaused = false;
  /**
   * Since when the socket may hold more than was read. A pause between two reads does not tell that
   * everything has come.
   */
  #unreadSince: Millis | undefined;

  constructor(maxQueuedBytes: number) {
    this.#maxQueuedBytes = maxQueuedBytes;
  }

  /** Reading is paused, because too many rows wait for their handlers. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Since when input of this connection may be unread, while reading is paused. */
  get heldUpSince(): Millis | undefined {
    return this.#isPaused ? this.#unreadSince : undefined;
  }

  /** Rows of this size wait for the application. Returns true when reading must stop now. */
  handleQueued(now: Millis, bytes: number): boolean {
    this.#queuedBytes += bytes;
    if (this.#isPaused || this.#queuedBytes <= this.#maxQueuedBytes) return false;
    this.#isPaused = true;
    this.#unreadSince ??= now;
    return true;
  }

  /** The application has finished rows of this size. Returns true when reading can resume. */
  handleApplied(bytes: number): boolean {
    this.#queuedBytes -= bytes;
    if (!this.#isPaused || this.#queuedBytes > this.#maxQueuedBytes / 2) return false;
    this.#isPaused = false;
    return true;
  }

  /** A short read has emptied the socket. If its rows are too many again, a new pause begins. */
  handleRead(bytes: number): void {
    if (!this.#isPaused && bytes < FULL_READ_BYTES) this.#unreadSince = undefined;
  }

  /** Unread input is gone with the connection. Rows that wait for the application stay. */
  handleClosed(): void {
    this.#unreadSince = undefined;
  }
}
