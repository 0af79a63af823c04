/**
 * Waits for positions. Each ends when its position is reached, when it never will be, or after too
 * long.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../core/model/history.ts';
import { formatPosition, type Position } from '../core/model/position.ts';
import type { Runner } from './subscription.ts';

export type WaitVerdict = 'reached' | 'not-yet' | 'other-log' | 'no-history';

export interface WaitsOptions {
  readonly clock: Clock;
  readonly judge: (runner: Runner, position: Position) => WaitVerdict;
  /** What holds the subscription up, for the text of WAIT_TIMEOUT. */
  readonly why: (runner: Runner) => string;
  /** The error when the subscription was ended from outside. */
  readonly closed: (runner: Runner) => Error;
}

interface Wait {
  readonly runner: Runner;
  readonly position: Position;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Waits {
  readonly #options: WaitsOptions;
  readonly #waits = new Map<Runner, Set<Wait>>();

  constructor(options: WaitsOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the position is reached.
   * @throws UsageError WAIT_TIMEOUT, OTHER_LOG, INVALID_POSITION; the signal's reason; the error of
   *   a subscription that ends or is reset meanwhile
   */
  async wait(runner: Runner, position: Position, timeoutMs: Millis, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const verdict = this.#options.judge(runner, position);
    if (verdict === 'reached') return;
    if (verdict !== 'not-yet') throw refusalOf(verdict, runner, position);
    const { clock, why } = this.#options;
    let abort: (() => void) | undefined;
    let wait: Wait | undefined;
    const reached = new Promise<void>((resolve, reject) => {
      wait = { runner, position, resolve, reject };
      this.#add(wait);
    });
    const timer = clock.wakeIn(timeoutMs, () => {
      const { stream } = runner;
      const at = runner.position === undefined ? 'no position' : formatPosition(runner.position);
      const asked = formatPosition(position);
      const text = `stream ${stream} is at ${at}, ${asked} was not reached within ${timeoutMs} ms: ${why(runner)}`;
      wait!.reject(new UsageError('WAIT_TIMEOUT', text, { facts: { position, at: runner.position } }));
    });
    if (signal !== undefined) {
      abort = (): void => wait!.reject(signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
    }
    try {
      await reached;
    } finally {
      this.#remove(wait!);
      timer.cancel();
      if (abort !== undefined) signal!.removeEventListener('abort', abort);
    }
  }

  /** @throws UsageError OTHER_LOG, INVALID_POSITION */
  judge(runner: Runner, position: Position): boolean {
    const verdict = this.#options.judge(runner, position);
    if (verdict === 'reached' || verdict === 'not-yet') return verdict === 'reached';
    throw refusalOf(verdict, runner, position);
  }

  /** The subscription moved or ended, or its primary has greeted. */
  check(runner: Runner): void {
    const waits = this.#waits.get(runner);
    if (waits === undefined) return;
    for (const wait of waits) {
      if (runner.isEnded) wait.reject(runner.error ?? this.#options.closed(runner));
      else {
        const verdict = this.#options.judge(runner, wait.position);
        if (verdict === 'reached') wait.resolve();
        else if (verdict !== 'not-yet') wait.reject(refusalOf(verdict, runner, wait.position));
        else continue;
      }
      waits.delete(wait);
    }
    if (waits.size === 0) this.#waits.delete(runner);
  }

  checkAll(): void {
    for (const runner of this.#waits.keys()) this.check(runner);
  }

  /**
   * A history ended, and waits for its rows end with it. Waits for rows of a later history, or of
   * another log, go on.
   */
  handleReset(runner: Runner, error: RowcastError, ended: History | undefined): void {
    const waits = this.#waits.get(runner);
    for (const wait of waits ?? []) {
      if (isAfter(wait.position.history, ended)) continue;
      wait.reject(error);
      waits!.delete(wait);
    }
    if (waits?.size === 0) this.#waits.delete(runner);
  }

  #add(wait: Wait): void {
    const waits = this.#waits.get(wait.runner);
    if (waits === undefined) this.#waits.set(wait.runner, new Set([wait]));
    else waits.add(wait);
  }

  #remove(wait: Wait): void {
    const waits = this.#waits.get(wait.runner);
    waits?.delete(wait);
    if (waits?.size === 0) this.#waits.delete(wait.runner);
  }
}

function isAfter(history: History | undefined, ended: History | undefined): boolean {
  if (history === undefined || ended === undefined) return false;
  return logIdOf(history) !== logIdOf(ended) || eraNumberOf(history) > eraNumberOf(ended);
}

function refusalOf(verdict: 'other-log' | 'no-history', { stream }: Runner, position: Position): UsageError {
  const text = formatPosition(position);
  const facts = { position };
  if (verdict === 'other-log') {
    return new UsageError('OTHER_LOG', `${text} is of another log than stream ${stream} here: it cannot be reached`, {
      facts,
    });
  }
  return new UsageError(
    'INVALID_POSITION',
    `${text} has no history, so nothing here tells whether it was reached: use the position that append gave`,
    { facts },
  );
}
