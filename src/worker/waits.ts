/**
 * Waits for positions. Each ends when its position is reached, when it never will be, or after too
 * long.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { deletedError } from '../core/follow/reset-errors.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../core/model/history.ts';
import { formatPosition, type Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Runner } from './subscription.ts';

export type WaitVerdict = 'reached' | 'not-yet' | 'other-log' | 'no-history';

/** What a wait is about: a subscription, or a stream that a pattern will bring. */
export type Awaited = Runner | Expected;

/** A stream that no subscription follows yet. A pattern will, once the primary has it. */
export class Expected {
  readonly stream: StreamName;
  readonly position = undefined;
  readonly error = undefined;
  isEnded = false;

  constructor(stream: StreamName) {
    this.stream = stream;
  }
}

export interface WaitsOptions {
  readonly clock: Clock;
  readonly judge: (awaited: Awaited, position: Position) => WaitVerdict;
  /** What holds the stream up, for the text of WAIT_TIMEOUT. */
  readonly why: (awaited: Awaited) => string;
  /** The error when the subscription was ended from outside. */
  readonly closed: (stream: StreamName) => Error;
}

interface Wait {
  /** Changes when the stream is found, and when it is deleted. */
  awaited: Awaited;
  readonly position: Position;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Waits {
  readonly #options: WaitsOptions;
  readonly #waits = new Map<Awaited, Set<Wait>>();
  /** Streams that are waited for. */
  readonly #expected = new Map<StreamName, Expected>();

  constructor(options: WaitsOptions) {
    this.#options = options;
  }

  /** A stream that a pattern will bring. */
  expect(stream: StreamName): Expected {
    return this.#expected.get(stream) ?? new Expected(stream);
  }

  /** The stream that was expected is followed now. */
  handleFound(runner: Runner): void {
    const expected = this.#expected.get(runner.stream);
    if (expected !== undefined) this.#move(expected, runner);
    this.check(runner);
  }

  /** The stream was deleted. Those who wait for what comes once it is made again go on. */
  handleDeleted(runner: Runner): void {
    const expected = this.expect(runner.stream);
    this.#move(runner, expected);
    this.check(expected);
  }

  /** A stream was deleted: what it had, up to this history, never comes. */
  handleGone(stream: StreamName, history: History, runner: Runner | undefined): void {
    for (const awaited of [runner, this.#expected.get(stream)]) {
      for (const wait of (awaited && this.#waits.get(awaited)) ?? []) {
        if (isAfter(wait.position.history, history)) continue;
        wait.reject(deletedError(stream, wait.position));
        this.#remove(wait);
      }
    }
  }

  /** Patterns or streams were given up, a catalog has told how far it is, or the worker stops. */
  checkExpected(isAwaited: (stream: StreamName) => boolean): void {
    for (const expected of this.#expected.values()) {
      expected.isEnded = !isAwaited(expected.stream);
      this.check(expected);
    }
  }

  /**
   * Resolves when the position is reached.
   * @throws UsageError WAIT_TIMEOUT, OTHER_LOG, INVALID_POSITION; the signal's reason; the error of
   *   a subscription that ends or is reset meanwhile
   */
  async wait(awaited: Awaited, position: Position, timeoutMs: Millis, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const verdict = this.#options.judge(awaited, position);
    if (verdict === 'reached') return;
    if (verdict !== 'not-yet') throw refusalOf(verdict, awaited, position);
    const { clock, why } = this.#options;
    let abort: (() => void) | undefined;
    let wait: Wait | undefined;
    const reached = new Promise<void>((resolve, reject) => {
      wait = { awaited, position, resolve, reject };
      this.#add(wait);
    });
    const timer = clock.wakeIn(timeoutMs, () => {
      const now = wait!.awaited;
      const at = now.position === undefined ? 'no position' : formatPosition(now.position);
      const asked = formatPosition(position);
      const text = `stream ${now.stream} is at ${at}, ${asked} was not reached within ${timeoutMs} ms: ${why(now)}`;
      wait!.reject(new UsageError('WAIT_TIMEOUT', text, { facts: { position, at: now.position } }));
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
  judge(awaited: Awaited, position: Position): boolean {
    const verdict = this.#options.judge(awaited, position);
    if (verdict === 'reached' || verdict === 'not-yet') return verdict === 'reached';
    throw refusalOf(verdict, awaited, position);
  }

  /** The subscription moved or ended, or its primary has greeted. */
  check(awaited: Awaited): void {
    const waits = this.#waits.get(awaited);
    if (waits === undefined) return;
    for (const wait of waits) {
      if (awaited.isEnded) wait.reject(awaited.error ?? this.#options.closed(awaited.stream));
      else {
        const verdict = this.#options.judge(awaited, wait.position);
        if (verdict === 'reached') wait.resolve();
        else if (verdict !== 'not-yet') wait.reject(refusalOf(verdict, awaited, wait.position));
        else continue;
      }
      this.#remove(wait);
    }
  }

  checkAll(): void {
    for (const awaited of this.#waits.keys()) this.check(awaited);
  }

  /**
   * A history ended, and waits for its rows end with it. Waits for rows of a later history, or of
   * another log, go on.
   */
  handleReset(runner: Runner, error: RowcastError, ended: History | undefined): void {
    for (const wait of this.#waits.get(runner) ?? []) {
      if (isAfter(wait.position.history, ended)) continue;
      wait.reject(error);
      this.#remove(wait);
    }
  }

  #move(from: Awaited, to: Awaited): void {
    for (const wait of this.#waits.get(from) ?? []) {
      this.#remove(wait);
      wait.awaited = to;
      this.#add(wait);
    }
  }

  #add(wait: Wait): void {
    const { awaited } = wait;
    const waits = this.#waits.get(awaited);
    if (waits !== undefined) {
      waits.add(wait);
      return;
    }
    this.#waits.set(awaited, new Set([wait]));
    if (awaited instanceof Expected) this.#expected.set(awaited.stream, awaited);
  }

  #remove(wait: Wait): void {
    const { awaited } = wait;
    const waits = this.#waits.get(awaited);
    waits?.delete(wait);
    if (waits?.size !== 0) return;
    this.#waits.delete(awaited);
    if (this.#expected.get(awaited.stream) === awaited) this.#expected.delete(awaited.stream);
  }
}

function isAfter(history: History | undefined, ended: History | undefined): boolean {
  if (history === undefined || ended === undefined) return false;
  return logIdOf(history) !== logIdOf(ended) || eraNumberOf(history) > eraNumberOf(ended);
}

function refusalOf(verdict: 'other-log' | 'no-history', { stream }: Awaited, position: Position): UsageError {
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
