/**
 * The calls of `start` that wait until the worker is live, and the warnings while it is not. Knows
 * no connection.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Holdup } from './holdups.ts';
import type { StartOptions, WorkerEvents } from './options.ts';

// Long enough for an ordinary start, short enough for a person who watches.
const FIRST_WARNING_MS: Millis = 5_000;
const LONGEST_PAUSE_MS: Millis = 600_000;

/** How many holdups an event or an error names. */
const MOST_NAMED = 5;

export interface StartingOptions {
  readonly workerName: string;
  readonly clock: Clock;
  readonly isLive: () => boolean;
  /** The error of a subscription that failed and was not replaced. */
  readonly failure: () => Error | undefined;
  readonly holdups: () => readonly Holdup[];
  readonly onWaiting: (waiting: WorkerEvents['waiting'][0], text: string) => void;
}

interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Starting {
  readonly #options: StartingOptions;
  readonly #pending = new Set<Pending>();
  /** The worker has begun, and has not been live since. */
  #isComing = false;
  #since: Millis | undefined;
  #pauseMs: Millis = FIRST_WARNING_MS;
  #timer: Timer | undefined;

  constructor(options: StartingOptions) {
    this.#options = options;
  }

  /** The worker has begun to follow, whoever asked for it. */
  handleBegun(): void {
    this.#isComing = true;
    this.#watch();
    this.check();
  }

  /**
   * Waits until the worker is live.
   * @param begun settles when the worker has begun to follow, or cannot
   * @throws UsageError START_TIMEOUT; the signal's reason; what `begun` rejects with; the error of a
   *   subscription that failed
   */
  async wait(begun: Promise<void>, { timeoutMs, signal }: StartOptions): Promise<void> {
    const { clock } = this.#options;
    let abort: (() => void) | undefined;
    let timer: Timer | undefined;
    let pending: Pending | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        pending = { resolve, reject };
        this.#pending.add(pending);
        this.#watch();
        const giveUp = (error: unknown): void => {
          // From now on it takes no error of a subscription.
          this.#pending.delete(pending!);
          reject(error);
        };
        if (timeoutMs !== undefined) timer = clock.wakeIn(timeoutMs, () => giveUp(this.#timeoutError(timeoutMs)));
        abort = () => giveUp(signal!.reason);
        signal?.addEventListener('abort', abort, { once: true });
        begun.then(() => this.#settle(pending!), reject);
      });
    } finally {
      this.#pending.delete(pending!);
      timer?.cancel();
      signal?.removeEventListener('abort', abort!);
      this.#unwatch();
    }
  }

  /** The worker may be live now: a stream has become so, or one that held it up has ended. */
  check(): void {
    if ((this.#pending.size === 0 && !this.#isComing) || !this.#options.isLive()) return;
    this.#isComing = false;
    for (const { resolve } of this.#pending) resolve();
    this.#pending.clear();
    this.#unwatch();
  }

  /**
   * A subscription has failed, or the worker stops.
   * @returns whether someone who waits gets the error
   */
  fail(error: Error): boolean {
    if (this.#pending.size === 0) return false;
    for (const { reject } of this.#pending) reject(error);
    this.#pending.clear();
    this.#unwatch();
    return true;
  }

  /** The worker stops. */
  close(error: Error): void {
    this.#isComing = false;
    this.fail(error);
    this.#unwatch();
  }

  #settle(pending: Pending): void {
    const failure = this.#options.failure();
    if (failure !== undefined) pending.reject(failure);
    else this.check();
  }

  #watch(): void {
    if (this.#since !== undefined) return;
    this.#since = this.#options.clock.now();
    this.#pauseMs = FIRST_WARNING_MS;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = this.#options.clock.wakeIn(this.#pauseMs, () => {
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
      this.#schedule();
      this.#warn();
    });
  }

  #unwatch(): void {
    if (this.#isComing || this.#pending.size > 0) return;
    this.#timer?.cancel();
    this.#since = undefined;
  }

  #warn(): void {
    const waitedMs = Math.round(this.#options.clock.now() - this.#since!);
    const holdups = this.#options.holdups();
    const text = `not live after ${waitedMs} ms: ${say(holdups)}`;
    this.#options.onWaiting({ waitedMs, holdups: holdups.slice(0, MOST_NAMED), count: holdups.length }, text);
  }

  #timeoutError(timeoutMs: Millis): UsageError {
    const holdups = this.#options.holdups();
    const text = `worker ${this.#options.workerName} is not live after ${timeoutMs} ms, and goes on: ${say(holdups)}`;
    return new UsageError('START_TIMEOUT', text, { facts: { timeoutMs, holdups: holdups.slice(0, MOST_NAMED) } });
  }
}

function say(holdups: readonly Holdup[]): string {
  const texts = holdups.slice(0, MOST_NAMED).map(({ text }) => text);
  const more = holdups.length - texts.length;
  return more > 0 ? `${texts.join('; ')}; and ${more} more` : texts.join('; ');
}
