/**
 * When to PING and when to give the other side up (docs/protocol.md, "Keep-alive"). Each session
 * has one, on either side.
 */

import type { Millis } from '../../base/clock.ts';

export interface KeepAliveLimits {
  readonly keepAliveIntervalMs: Millis;
  readonly idleTimeoutMs: Millis;
}

export class KeepAlive {
  readonly #limits: KeepAliveLimits;
  #sentAt: Millis;
  #receivedAt: Millis;
  // Silence without a PING may be a person with netcat, so it does not close the connection.
  #isPingSeen = false;
  #isPaused = false;

  constructor(limits: KeepAliveLimits, now: Millis) {
    this.#limits = limits;
    this.#sentAt = now;
    this.#receivedAt = now;
  }

  handleSent(now: Millis): void {
    this.#sentAt = now;
  }

  handleReceived(now: Millis): void {
    this.#receivedAt = now;
  }

  handlePing(): void {
    this.#isPingSeen = true;
  }

  /** We stopped reading, so silence says nothing about the other side. */
  handlePaused(): void {
    this.#isPaused = true;
  }

  handleResumed(now: Millis): void {
    this.#isPaused = false;
    this.#receivedAt = now;
  }

  get nextTimeout(): Millis {
    const pingAt = this.#sentAt + this.#limits.keepAliveIntervalMs;
    return this.#isTimed ? Math.min(pingAt, this.#receivedAt + this.#limits.idleTimeoutMs) : pingAt;
  }

  isPingDue(now: Millis): boolean {
    return now >= this.#sentAt + this.#limits.keepAliveIntervalMs;
  }

  isIdle(now: Millis): boolean {
    return this.#isTimed && now >= this.#receivedAt + this.#limits.idleTimeoutMs;
  }

  get #isTimed(): boolean {
    return this.#isPingSeen && !this.#isPaused;
  }
}
