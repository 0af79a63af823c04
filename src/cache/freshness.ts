/** What a cache must know about the stream that invalidates it. */

import type { Clock, Millis } from '../base/clock.ts';

export interface Freshness {
  /**
   * True while every invalidation arrives here: an entry is as fresh as the position. Otherwise
   * entries are suspect.
   */
  readonly isLive: boolean;
  /**
   * True while the stream is followed from a known position without a gap, so a missed invalidation
   * comes again. Otherwise nothing can be kept: the invalidation that would drop it may never come.
   */
  readonly isAnchored: boolean;
  /** For how long it has not been live. */
  readonly suspectForMs: Millis;
}

/** For the primary: it makes the invalidations itself and cannot miss any. */
export const alwaysFresh: Freshness = Object.freeze({ isLive: true, isAnchored: true, suspectForMs: 0 });

/** The parts of a subscription that matter here. */
interface Followed {
  readonly isLive: boolean;
  readonly isEnded: boolean;
}

/** For a worker: live while its subscription is live. */
export class FollowedFreshness implements Freshness {
  readonly #subscription: Followed;
  readonly #clock: Clock;
  #isPositionKnown = false;
  #notLiveSince: Millis;

  constructor(subscription: Followed, clock: Clock) {
    this.#subscription = subscription;
    this.#clock = clock;
    this.#notLiveSince = clock.now();
  }

  get isLive(): boolean {
    return this.#subscription.isLive;
  }

  get isAnchored(): boolean {
    return this.#isPositionKnown && !this.#subscription.isEnded;
  }

  get suspectForMs(): Millis {
    return this.isLive ? 0 : this.#clock.now() - this.#notLiveSince;
  }

  handleLive(): void {
    this.#isPositionKnown = true;
  }

  handleNotLive(): void {
    this.#notLiveSince = this.#clock.now();
  }

  handleReset(): void {
    this.#isPositionKnown = false;
  }
}
