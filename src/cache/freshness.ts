/** What a cache must know of the stream that invalidates it. */

import type { Clock, Millis } from '../base/clock.ts';

export interface Freshness {
  /**
   * Whatever is invalidated is heard of here: an entry is as fresh as the position. Else entries
   * are suspect.
   */
  readonly isLive: boolean;
  /**
   * What is missed now comes again: the stream is followed from a known position, without a gap.
   * While it is not, nothing can be kept, because an invalidation that would have dropped it may
   * never come.
   */
  readonly isAnchored: boolean;
  /** How long it has not been live. */
  readonly suspectForMs: Millis;
}

/** The primary invalidates by itself: nothing gets between. */
export const alwaysFresh: Freshness = Object.freeze({ isLive: true, isAnchored: true, suspectForMs: 0 });

/** The parts of a subscription that count. */
interface Followed {
  readonly isLive: boolean;
  readonly isEnded: boolean;
}

/** A worker's: live as long as its subscription is. */
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
