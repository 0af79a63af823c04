/**
 * What followed streams have to send by themselves, and when: a request that waits its time, and
 * APPLIED for what moved.
 */

import type { Millis } from '../../base/clock.ts';
import type { Subscription } from './subscription.ts';

export class DueStreams {
  readonly #appliedIntervalMs: Millis;
  /** Subscriptions that will ask again by themselves. */
  readonly #waitingAhead = new Set<Subscription>();
  /** When the first of them asks. */
  #askAt: Millis = Infinity;
  /** Subscriptions that may have an APPLIED to send, and when it is due. */
  #toAcknowledge: Subscription[] = [];
  #acknowledgeAt: Millis = Infinity;

  constructor(appliedIntervalMs: Millis) {
    this.#appliedIntervalMs = appliedIntervalMs;
  }

  get nextTimeout(): Millis {
    return Math.min(this.#acknowledgeAt, this.#askAt);
  }

  /** The subscription asks again at its own time-out. */
  noteAhead(subscription: Subscription): void {
    const { nextTimeout } = subscription;
    if (nextTimeout === undefined) return;
    this.#waitingAhead.add(subscription);
    this.#askAt = Math.min(this.#askAt, nextTimeout);
  }

  /** Takes the subscriptions that ask again now. */
  takeAhead(now: Millis): readonly Subscription[] {
    if (now < this.#askAt) return [];
    this.#askAt = Infinity;
    const due: Subscription[] = [];
    for (const subscription of this.#waitingAhead) {
      const { nextTimeout } = subscription;
      if (nextTimeout !== undefined && nextTimeout > now) {
        this.#askAt = Math.min(this.#askAt, nextTimeout);
        continue;
      }
      this.#waitingAhead.delete(subscription);
      if (nextTimeout !== undefined) due.push(subscription);
    }
    return due;
  }

  /** The subscription may have something to acknowledge. */
  noteMoved(now: Millis, subscription: Subscription): void {
    if (subscription.isToAcknowledge) return;
    subscription.isToAcknowledge = true;
    this.#toAcknowledge.push(subscription);
    if (this.#acknowledgeAt === Infinity) this.#acknowledgeAt = now + this.#appliedIntervalMs;
  }

  /** Takes the subscriptions that may have something to acknowledge, when that is due. */
  takeMoved(now: Millis): readonly Subscription[] {
    if (this.#acknowledgeAt === Infinity || now < this.#acknowledgeAt) return [];
    return this.#takeMoved();
  }

  /** The connection is gone, and what was due on it. */
  clear(): void {
    this.#waitingAhead.clear();
    this.#askAt = Infinity;
    this.#takeMoved();
  }

  #takeMoved(): readonly Subscription[] {
    const moved = this.#toAcknowledge;
    for (const subscription of moved) subscription.isToAcknowledge = false;
    this.#toAcknowledge = [];
    this.#acknowledgeAt = Infinity;
    return moved;
  }
}
