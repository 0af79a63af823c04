/**
 * Runs the application's handler over the items of a subscription, one batch at a time. Knows no
 * connection.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { Queue } from '../base/queue.ts';
import { type Resolvable, resolvable } from '../base/resolvable.ts';
import type { Batch } from '../core/model/batch.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { Position } from '../core/model/position.ts';
import { parseTexts, type RowValidator, validateRows } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Item } from '../core/follow/delivery.ts';
import { FailurePolicy, type FailureStep } from '../core/follow/failure-policy.ts';
import type { Subscription as Machine } from '../core/follow/subscription.ts';
import {
  type BatchItem,
  failureOf,
  handlerError,
  type OnError,
  onErrorError,
  type OnErrorFault,
  refusedError,
  ruleOf,
  unreadableError,
} from './failures.ts';

/**
 * Handles one batch. The next one comes after the promise is resolved. When it throws, the
 * subscription does what its onError says.
 */
export type BatchHandler<Row = unknown> = (batch: Batch<Row>) => void | Promise<void>;

/** A subscription as the application sees it. */
export interface Subscription {
  readonly stream: StreamName;
  /** The position up to which rows were applied. Undefined before a primary has told any. */
  readonly position: Position | undefined;
  /** The primary's position was reached since the last connect. */
  readonly isLive: boolean;
  /** The subscription ended, by itself or from outside. */
  readonly isEnded: boolean;
  /**
   * Why the subscription ended by itself. Undefined while it goes on, and when it ended from
   * outside.
   */
  readonly error: RowcastError | undefined;
  /**
   * Resolves when the subscription has ended in good order and its handler is finished. Rejects with
   * its error when it ended by itself, or when the handler failed at its last batch. Whoever has read
   * it has taken the error: the worker does not emit it then.
   */
  readonly done: Promise<void>;
}

/** What subscriptions tell their worker. All of them share one object. */
export interface RunnerHooks {
  readonly now: () => Millis;
  readonly clock: Clock;
  /** Rows of this cost are finished or dropped. */
  readonly onApplied: (runner: Runner, cost: number) => void;
  /**
   * Stores a position that no handler has stored; undefined: the stream was deleted. Never rejects.
   * Undefined where handlers do not store positions.
   */
  readonly keepMove: ((stream: StreamName, position: Position | undefined) => Promise<void>) | undefined;
  /** The position moved. */
  readonly onPosition: (runner: Runner) => void;
  readonly onLive: (runner: Runner) => void;
  /** The subscription is not live any more: the connection is lost, or the subscription ended. */
  readonly onNotLive: (runner: Runner) => void;
  /** The stream is read from its start, and rows before this token are no longer kept. */
  readonly onTrimmed: (runner: Runner, earliest: Token) => void;
  /** `ended` is the history of the rows applied before the reset. */
  readonly onReset: (runner: Runner, error: RowcastError, ended: History | undefined) => void;
  /** The stream was deleted, and the application was told. `isEnded`: it was not made again yet. */
  readonly onDeleted: (runner: Runner, isEnded: boolean) => void;
  /** A batch failed, and is tried again. */
  readonly onRetry: (runner: Runner, error: RowcastError, delayMs: Millis) => void;
  /** A batch failed, and the subscription goes on without it. */
  readonly onSkipped: (runner: Runner, error: RowcastError, position: Position) => void;
  /** A wait may be over. */
  readonly onMoved: (runner: Runner) => void;
  /** The subscription failed, and was followed by another one of the stream, which was made again. */
  readonly onSucceeded: (machine: Machine) => void;
  /** The handler failed, so no more of the stream may come. */
  readonly onFailing: (runner: Runner) => void;
  /** The primary, onReset or the handler has ended the subscription. */
  readonly onFailed: (runner: Runner, error: RowcastError) => void;
  /** The handler failed at its last batch, after the subscription was ended from outside. */
  readonly onFailedLate: (runner: Runner, error: RowcastError) => void;
}

export interface RunnerOptions {
  /** The pattern through which the stream is followed. Undefined when it is followed by name. */
  readonly pattern?: NamePattern | undefined;
  readonly validator: RowValidator | undefined;
  readonly handler: BatchHandler;
  readonly onError: OnError;
  readonly hooks: RunnerHooks;
}

/** The subscription ended before the handler got the batch. */
const LEFT = Symbol('left');

/** Undefined: the batch was applied. */
type Outcome = RowcastError | typeof LEFT | undefined;

/** The application's side of one subscription. */
export class Runner implements Subscription {
  readonly stream: StreamName;
  /** Its position has moved since a checkpoint was written. */
  isToSave = false;
  readonly #options: RunnerOptions;
  /** Undefined before the checkpoint was read. */
  #machine: Machine | undefined;
  /** Follow the stream since it was deleted and made again, each after the one before. */
  readonly #successors = new Queue<Machine>();
  /** Settles when the handler is finished with its present batch. */
  #busy: Promise<void> | undefined;
  #busySince: Millis | undefined;
  #failing: RowcastError | undefined;
  #busyAt: Token | undefined;
  /** Resolves when the handler at work is abandoned. Made for those who wait for it. */
  #released: Resolvable<void> | undefined;
  #isAbandoned = false;
  /** The batch that is being handled has failed. */
  #policy: FailurePolicy | undefined;
  /** Ends the wait for the next attempt. */
  #endWait: (() => void) | undefined;
  #isRunning = false;
  /** Another handler of the stream is not finished yet. */
  #isHeld = false;
  #wasLive = false;
  #done: Resolvable<void> | undefined;
  /** The handler failed at its last batch, after the end. */
  #lateError: RowcastError | undefined;
  #end: { readonly error: RowcastError | undefined } | undefined;

  constructor(stream: StreamName, options: RunnerOptions) {
    this.stream = stream;
    this.#options = options;
  }

  /** The machine whose deliveries it runs. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** The stream is followed by this machine, once the one before it has told that it was deleted. */
  attach(machine: Machine): void {
    if (this.#machine === undefined) this.#machine = machine;
    else this.#successors.push(machine);
  }

  /** The machine whose deliveries it runs, and those that come after it. */
  get machines(): Machine[] {
    return this.#machine === undefined ? [] : [this.#machine, ...this.#successors];
  }

  get pattern(): NamePattern | undefined {
    return this.#options.pattern;
  }

  get position(): Position | undefined {
    return this.#machine?.delivery.applied;
  }

  get isLive(): boolean {
    return this.#end === undefined && this.#machine?.isLive === true;
  }

  /** The handler has not finished its batch, which may hold a wait up. */
  get isBusy(): boolean {
    return this.#busy !== undefined;
  }

  /** The handler is at a batch. */
  get isAtWork(): boolean {
    return this.#busy !== undefined || this.#isRunning;
  }

  /** Resolves when the handler is finished with its batch, and the position is where it left it. */
  async finished(): Promise<void> {
    // A handler that called us is busy only once it has returned.
    if (this.#isRunning) await Promise.resolve();
    if (this.#busy === undefined) return;
    this.#released ??= resolvable<void>();
    await Promise.race([this.#busy, this.#released.promise]);
  }

  /** The token of the batch that the handler is at. */
  get busyAt(): Token | undefined {
    return this.#busyAt;
  }

  /** Whatever the handler still does, it moves no position, and nobody waits for it. */
  abandon(error: RowcastError): void {
    this.#isAbandoned = true;
    this.#lateError = error;
    this.#busy = undefined;
    this.#released?.resolve();
    this.#settleDone();
  }

  /** Begins only after a handler that was there before: one stream never has two at work. */
  hold(before: Promise<void>): void {
    this.#isHeld = true;
    void before.then(() => {
      this.#isHeld = false;
      this.run();
    });
  }

  /** Since when the handler has been at its batch. Undefined while it is not. */
  get busySince(): Millis | undefined {
    return this.#busySince;
  }

  /** How the batch failed that onError has in hand. Undefined while there is none. */
  get failing(): RowcastError | undefined {
    return this.#failing;
  }

  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  get done(): Promise<void> {
    if (this.#done === undefined) {
      this.#done = resolvable<void>();
      // Reading it is not a promise to await it.
      this.#done.promise.catch(() => {});
      this.#settleDone();
    }
    return this.#done.promise;
  }

  /** Someone has read `done`. */
  get isDoneTaken(): boolean {
    return this.#done !== undefined;
  }

  get error(): RowcastError | undefined {
    return this.#end?.error;
  }

  /**
   * Runs the handler over the items that wait, and tells when the subscription became live or
   * stopped being so.
   */
  run(): void {
    this.#tellLive();
    // A handler may send, subscribe or stop. Items that come in meanwhile wait for their turn.
    if (this.isAtWork || this.#isHeld || this.isEnded) return;
    this.#isRunning = true;
    try {
      while (!this.isEnded) {
        const item = this.#machine?.delivery.take();
        if (item === undefined) break;
        const isApplied = item.kind === 'batch' ? this.#apply(item) : this.#keepMove(item);
        if (typeof isApplied !== 'boolean') {
          this.#busySince = this.#options.hooks.now();
          this.#busyAt = item.kind === 'batch' ? item.batch.token : undefined;
          this.#busy = isApplied.then((settled) => {
            if (this.#isAbandoned) return;
            this.#busy = undefined;
            this.#busySince = undefined;
            this.#failing = undefined;
            this.#finish(item, settled);
            this.#settleDone();
            this.run();
          });
          return;
        }
        this.#finish(item, isApplied);
      }
    } finally {
      this.#isRunning = false;
    }
    this.#settleDone();
  }

  /**
   * Ends the subscription from outside. Drops the items that were not begun, and waits for the
   * handler to finish its batch.
   */
  async stop(): Promise<void> {
    this.#leave(undefined);
    await this.finished();
  }

  #leave(error: RowcastError | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#endWait?.();
    this.#tellLive();
    let cost = 0;
    for (const { delivery } of this.machines) cost += delivery.clear();
    if (cost > 0) this.#options.hooks.onApplied(this, cost);
    this.#options.hooks.onMoved(this);
    this.#settleDone();
  }

  /** Stores, in order with the batches, what no handler stores. Nothing with another checkpoint. */
  #keepMove(item: Exclude<Item, BatchItem>): true | Promise<true> {
    const { keepMove } = this.#options.hooks;
    if (keepMove === undefined || (item.kind !== 'position' && item.kind !== 'deleted')) return true;
    const before = this.#machine!.delivery.toSave;
    const next = item.kind === 'position' ? item.position : undefined;
    if (before?.token === next?.token && before?.history === next?.history) return true;
    return keepMove(this.stream, next).then(() => true);
  }

  #settleDone(): void {
    if (this.#end === undefined || this.#done === undefined || this.#busy !== undefined || this.#isRunning) return;
    const error = this.#end.error ?? this.#lateError;
    if (error === undefined) this.#done.resolve();
    else this.#done.reject(error);
  }

  #tellLive(): void {
    const { isLive } = this;
    if (isLive === this.#wasLive) return;
    this.#wasLive = isLive;
    if (isLive) this.#options.hooks.onLive(this);
    else this.#options.hooks.onNotLive(this);
  }

  /**
   * Whether the batch was applied or skipped. A promise only when the validator or the handler
   * returns one, or when the batch has failed.
   */
  #apply(item: BatchItem): boolean | Promise<boolean> {
    const outcome = this.#attempt(item, item.batch);
    if (outcome === undefined) return true;
    if (!(outcome instanceof Promise)) return this.#settle(item, outcome);
    return outcome.then((settled) => this.#settle(item, settled));
  }

  #attempt(item: BatchItem, batch: Batch): Outcome | Promise<Outcome> {
    if (item.isUnreadable === true) return unreadableError(item, this.#attempts);
    const { validator } = this.#options;
    if (validator === undefined) return this.#handOver(item, batch);
    try {
      const rows = validateRows(batch.stream, validator, batch.rows);
      if (!(rows instanceof Promise)) return this.#handOver(item, { ...batch, rows });
      return rows.then(
        (checked) => this.#handOver(item, { ...batch, rows: checked }),
        (thrown: unknown) => refusedError(item, thrown, this.#attempts),
      );
    } catch (thrown) {
      return refusedError(item, thrown, this.#attempts);
    }
  }

  #handOver(item: BatchItem, batch: Batch): Outcome | Promise<Outcome> {
    // The subscription ended while the validator ran.
    if (this.isEnded) return LEFT;
    try {
      const pending = this.#options.handler(batch);
      if (!isThenable(pending)) return undefined;
      return Promise.resolve(pending).then(
        () => undefined,
        (thrown: unknown) => handlerError(item, thrown, this.#attempts),
      );
    } catch (thrown) {
      return handlerError(item, thrown, this.#attempts);
    }
  }

  /** The number of the present attempt. */
  get #attempts(): number {
    return (this.#policy?.attempt ?? 0) + 1;
  }

  #settle(item: BatchItem, outcome: Outcome): boolean | Promise<boolean> {
    if (outcome === undefined) return true;
    if (outcome === LEFT) return false;
    if (this.isEnded) return this.#failLate(outcome);
    this.#policy = new FailurePolicy(ruleOf(this.#options.onError));
    const step = this.#policy.handleFailure(item.isUnreadable === true);
    if (step.kind === 'stop') return this.#stopAt(outcome);
    if (step.kind === 'skip') return this.#skip(item, outcome);
    return this.#recover(item, outcome, step);
  }

  /** Does what onError says until the batch is applied or skipped, or the subscription has ended. */
  async #recover(item: BatchItem, first: RowcastError, firstStep: FailureStep): Promise<boolean> {
    const policy = this.#policy!;
    let error = first;
    let step = firstStep;
    for (;;) {
      this.#failing = error;
      if (step.kind === 'ask') {
        const answer = await this.#ask(item, error);
        if ('thrown' in answer) return this.#stopAt(onErrorError(item, error, answer, policy.attempt));
        step = policy.handleAnswer(answer.answer);
        if (step.kind === 'no-answer') return this.#stopAt(onErrorError(item, error, answer, policy.attempt));
      }
      if (step.kind === 'skip') return this.#skip(item, error);
      if (step.kind !== 'retry') return this.#stopAt(error);
      if (!this.isEnded) this.#options.hooks.onRetry(this, error, step.delayMs);
      await this.#wait(step.delayMs);
      if (this.isEnded) return false;
      // The handler may have changed the rows that it had.
      const rows = item.isUnreadable === true ? item.batch.rows : parseTexts(item.texts!);
      const outcome = await this.#attempt(item, { ...item.batch, rows });
      if (outcome === undefined || outcome === LEFT) {
        this.#policy = undefined;
        return outcome === undefined;
      }
      if (this.isEnded) return this.#failLate(outcome);
      error = outcome;
      step = policy.handleFailure(item.isUnreadable === true);
    }
  }

  async #ask(item: BatchItem, error: RowcastError): Promise<OnErrorFault> {
    const onError = this.#options.onError as Extract<OnError, (...args: never) => unknown>;
    try {
      return { answer: await onError(failureOf(item, error, this.#policy!.attempt)) };
    } catch (thrown) {
      return { thrown };
    }
  }

  /** Ends at once with the subscription. */
  async #wait(delayMs: Millis): Promise<void> {
    if (this.isEnded) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.hooks.clock.wakeIn(delayMs, resolve);
      this.#endWait = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#endWait = undefined;
  }

  #skip({ batch, position }: BatchItem, error: RowcastError): boolean | Promise<true> {
    if (this.#isAbandoned) return false;
    this.#policy = undefined;
    const { keepMove, onSkipped } = this.#options.hooks;
    onSkipped(this, error, batch.position);
    if (keepMove === undefined || position === undefined) return true;
    return keepMove(this.stream, position).then(() => true);
  }

  #stopAt(error: RowcastError): false {
    if (this.isEnded) return this.#failLate(error);
    const { hooks } = this.#options;
    // Comes first, because rows that come in later would count as waiting for ever.
    hooks.onFailing(this);
    this.#leave(error);
    hooks.onFailed(this, error);
    return false;
  }

  /** Fails at the last batch, after the subscription was ended from outside. */
  #failLate(error: RowcastError): false {
    // A handler that failed with CLOSED only met the stop, so its error is not reported.
    if (this.#isAbandoned || isClosed(error.cause)) return false;
    this.#lateError = error;
    this.#options.hooks.onFailedLate(this, error);
    return false;
  }

  #finish(item: Item, isApplied: boolean): void {
    const { hooks } = this.#options;
    const machine = this.#machine!;
    const before = machine.delivery.applied;
    machine.finish(item, isApplied);
    hooks.onApplied(this, item.cost);
    if (!isApplied) return;
    switch (item.kind) {
      case 'batch':
      case 'position':
        if (item.position !== undefined) hooks.onPosition(this);
        break;
      case 'trimmed':
        hooks.onTrimmed(this, item.earliest);
        break;
      case 'reset':
        hooks.onReset(this, item.error, before?.history);
        break;
      case 'deleted':
        if (item.isVoid) hooks.onReset(this, item.error, before?.history);
        this.#succeed();
        break;
      case 'failed':
        this.#handleEnd(item.error);
        break;
    }
    hooks.onMoved(this);
    if (item.kind !== 'batch') this.#tellLive();
  }

  #handleEnd(error: RowcastError): void {
    if (this.isEnded) return;
    const { hooks } = this.#options;
    const successors = [...this.#successors];
    this.#successors.clear();
    hooks.onFailing(this);
    this.#leave(error);
    hooks.onFailed(this, error);
    for (const machine of successors) hooks.onSucceeded(machine);
  }

  /** The stream was deleted. It goes on if it was made again. */
  #succeed(): void {
    if (this.isEnded) return;
    const next = this.#successors.shift();
    if (next === undefined) this.#end = { error: undefined };
    else this.#machine = next;
    this.#options.hooks.onDeleted(this, next === undefined);
  }
}

function isThenable(value: unknown): value is PromiseLike<void> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function isClosed(thrown: unknown): boolean {
  return thrown instanceof UsageError && thrown.code === 'CLOSED';
}
