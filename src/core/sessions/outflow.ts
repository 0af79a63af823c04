/**
 * What a primary's session sent and how much of it the socket took: when the next page may go, when the next request may
 * be answered, who is stuck. Knows no socket.
 */

import type { Millis } from '../../base/clock.ts';

/** Answers that the socket has not taken. Beyond it no further request is read: a peer that only asks fills no memory. */
export const MAX_UNREAD_ANSWER_BYTES: number = 256 * 1024;

/** About what a request holds in memory while it waits for the log. */
const WAITING_REQUEST_BYTES = 256;

export class Outflow {
  /** A page left and the socket has not taken all of it: no other page is asked for. */
  #isBlocked = false;
  /** Of the lines that left, and of the requests that wait, since the socket was last seen to have taken everything. */
  #answerBytes = 0;
  #transmittedBytes = 0;
  #takenBytes = 0;
  #tookAt: Millis = 0;

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Since when the socket has not taken what it should; Infinity while nothing waits for it. */
  get blockedSince(): Millis {
    return this.#transmittedBytes > this.#takenBytes ? this.#tookAt : Infinity;
  }

  /** No request may be answered now. */
  get isFlooded(): boolean {
    return this.#answerBytes > MAX_UNREAD_ANSWER_BYTES;
  }

  /** A request waits for the log. Its answer comes later, so until something was taken it counts as one. */
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
    // The clock of a stall starts when there is something to take.
    if (this.#transmittedBytes === this.#takenBytes) this.#tookAt = now;
    this.#transmittedBytes += bytes;
  }
}
