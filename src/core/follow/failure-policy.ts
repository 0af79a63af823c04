/**
 * What becomes of a batch that failed: when it is tried again, and when the stream stops or goes on
 * without it. Knows no handler and no clock.
 */

import type { Millis } from '../../base/clock.ts';

/** What becomes of a batch that failed. */
export type FailureDecision = 'stop' | 'skip' | 'retry';

/** `times`: how often the batch is tried again; Infinity: until it succeeds. */
export interface RetryOptions {
  readonly times: number;
  /** The wait before the second attempt. It doubles with each further one, up to a minute. Default 100. */
  readonly backoffMs?: Millis;
}

/** Tries a batch again, and then skips it or, as without `then`, stops its stream. */
export interface RetryRule {
  readonly retry: RetryOptions;
  readonly then?: 'stop' | 'skip';
}

/** What a subscription does with a batch that fails. `ask`: the application's function decides. */
export type FailureRule = 'stop' | 'skip' | 'ask' | RetryRule;

export type FailureStep =
  | { readonly kind: 'stop' | 'skip' | 'ask' }
  /** The application's function gave an answer that is none. */
  | { readonly kind: 'no-answer' }
  | { readonly kind: 'retry'; readonly delayMs: Millis };

const DEFAULT_BACKOFF_MS: Millis = 100;
/** The longest wait between two attempts, unless the first one is longer. */
export const LONGEST_RETRY_WAIT_MS: Millis = 60_000;

/** The failures of one batch. */
export class FailurePolicy {
  readonly #rule: FailureRule;
  #attempt = 0;

  constructor(rule: FailureRule) {
    this.#rule = rule;
  }

  /** How often the batch has failed. */
  get attempt(): number {
    return this.#attempt;
  }

  /** @param isUnreadable a row of the batch cannot be read, so trying again is in vain */
  handleFailure(isUnreadable: boolean): FailureStep {
    this.#attempt++;
    const rule = this.#rule;
    if (typeof rule === 'string') return { kind: rule };
    const isOver = isUnreadable || this.#attempt > rule.retry.times;
    return isOver ? { kind: rule.then ?? 'stop' } : this.#retry(rule.retry.backoffMs);
  }

  /** The application's function has answered. */
  handleAnswer(answer: unknown): FailureStep {
    if (answer === 'retry') return this.#retry();
    return { kind: answer === 'stop' || answer === 'skip' ? answer : 'no-answer' };
  }

  #retry(backoffMs: Millis = DEFAULT_BACKOFF_MS): FailureStep {
    const longest = Math.max(LONGEST_RETRY_WAIT_MS, backoffMs);
    return { kind: 'retry', delayMs: Math.min(backoffMs * 2 ** (this.#attempt - 1), longest) };
  }
}
