/**
 * Counts what a primary's session sent and how much of it the socket took. So it knows when the
 * next page may go, when the next request may be answered, and when the peer is stuck. Knows no
 * socket.
 */

import type { Millis } from '../../base/clock.ts';

/**
 * The most bytes of answers that may wait for the socket. Beyond it no further request is read, so
 * a peer that only asks fills no memory.
 */
export const MAX_UNREAD_ANSWER_BYTES: number = 256 * 1024;

/** About what a request holds in memory while it waits for the log. */
const WAITING_REQUEST_BYTES = 256;

export class Outflow {
  /** A page left and the socket has not taken all of it, so no other page is requested. */
  #isBlocked = false;
  /** Bytes of sent lines and of waiting requests since the socket last had taken everything. */
  #answerBytes = 0;
  #transmittedBytes = 0;
  #takenBytes = 0;
  #tookAt: Millis = 0;

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Since when the socket leaves bytes waiting. Infinity while none wait. */
  get blockedSince(): Millis {
    return this.#transmittedBytes > this.#takenBytes ? this.#tookAt : Infinity;
  }

  /** No request may be answered now. */
  get isFlooded(): boolean {
    return this.#answerBytes > MAX_UNREAD_ANSWER_BYTES;
  }

  /**
   * A request waits for the log. Its answer comes later, so until the socket has taken everything
   * the request counts as one.
   */
  handleRequest(): void {
    this.#answerBytes += WAITING_REQUEST_BYTES;
  }

  handleLine(now: Millis, bytes: number): void {
    this.#answerBytes += bytes;
    this.#handleTransmitted(now, bytes);
  }

  handlePage(now: Millis, bytes: number): void {
    this.#isBlocked = true;
    this.#handleTransmitted(now, bytes);
  }

  handleDrained(now: Millis): void {
    this.#isBlocked = false;
    this.#answerBytes = 0;
    this.handleProgress(now, 0);
  }

  handleProgress(now: Millis, unsentBytes: number): void {
    const taken = this.#transmittedBytes - unsentBytes;
    if (taken <= this.#takenBytes) return;
    this.#takenBytes = taken;
    this.#tookAt = now;
  }

  #handleTransmitted(now: Millis, bytes: number): void {
    // A stall is timed from the first byte that waits.
    if (this.#transmittedBytes === this.#takenBytes) this.#tookAt = now;
    this.#transmittedBytes += bytes;
  }
}
