/** One stream's rows on their way to the application: one batch at a time, positions, those who wait for one. Knows no connection. */

import { Queue } from '../base/queue.ts';
import type { Batch } from '../core/model/batch.ts';
import { HandlerError, messageOf, PeerError, type RowcastError, UsageError } from '../core/model/errors.ts';
import { type RowValidator, validateRows } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { InterestOutput, Position } from '../core/follow/interests.ts';

/** The next batch comes after the promise is resolved. One that throws ends the subscription. */
export type BatchHandler<Row = unknown> = (batch: Batch<Row>) => void | Promise<void>;

/** What the application may ask of a subscription. */
export interface Subscription {
  readonly stream: StreamName;
  /** The token up to which rows were applied; undefined before the first is known. */
  readonly position: Token | undefined;
  /** It has reached the primary's position since the last connect. */
  readonly isLive: boolean;
  /** It ended, by itself or from outside. */
  readonly isEnded: boolean;
  /** Why it ended by itself; undefined while it goes on. */
  readonly error: RowcastError | undefined;
}

export interface SubscriptionHooks {
  /** Rows of this size are through the handler, or given up. */
  readonly onApplied: (bytes: number) => void;
  /** The position moved. */
  readonly onPosition: () => void;
  readonly onLive: () => void;
  /** It was live, and is not any more: the connection is lost, or it ended. */
  readonly onNotLive: () => void;
  readonly onReset: (error: RowcastError) => void;
  /** The handler failed at its last batch, after the subscription was ended from outside. */
  readonly onFailedLate: (error: RowcastError) => void;
  /** It ended by itself: nothing more is wanted of the stream. */
  readonly onFailed: (error: RowcastError) => void;
}

export interface SubscriptionOptions {
  readonly stream: StreamName;
  readonly validator: RowValidator | undefined;
  readonly handler: BatchHandler;
  readonly hooks: SubscriptionHooks;
}

type Item = Exclude<InterestOutput, { kind: 'failed' }>;
type BatchItem = Extract<Item, { kind: 'batch' }>;

interface Waiter {
  readonly token: Token;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LiveSubscription implements Subscription {
  readonly stream: StreamName;
  readonly #options: SubscriptionOptions;
  /** What came and was not begun. */
  #items = new Queue<Item>();
  /** Settles when the batch that the handler is at is through. */
  #busy: Promise<void> | undefined;
  #isRunning = false;
  #position: Position | undefined;
  #isLive = false;
  #error: RowcastError | undefined;
  #isStopped = false;
  readonly #waiters = new Set<Waiter>();

  constructor(options: SubscriptionOptions) {
    this.stream = options.stream;
    this.#options = options;
  }

  get position(): Token | undefined {
    return this.#position?.token;
  }

  /** The position with its log id, as a checkpoint stores it. */
  get fullPosition(): Position | undefined {
    return this.#position;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** The handler has not finished what came: it is what a wait waits for. */
  get isBusy(): boolean {
    return this.#busy !== undefined;
  }

  get isEnded(): boolean {
    return this.#isStopped;
  }

  get error(): RowcastError | undefined {
    return this.#error;
  }

  /** Where a checkpoint says that it was left. */
  resumeAt(position: Position): void {
    this.#position = position;
  }

  handle(item: Item): void {
    if (this.#isStopped) {
      if (item.kind === 'batch') this.#options.hooks.onApplied(item.bytes);
      return;
    }
    this.#items.push(item);
    this.#run();
  }

  handleDisconnected(): void {
    // A POSITION that still waits behind rows was of the connection that ended.
    const items = new Queue<Item>();
    for (const item of this.#items) items.push(item.kind === 'position' ? { ...item, isLive: false } : item);
    this.#items = items;
    this.#leaveLive();
  }

  /** Resolves when everything up to `token` was applied; rejects when the subscription ends first. `cancel` gives the wait up. */
  wait(token: Token): { reached: Promise<void>; cancel: (error: Error) => void } {
    if (this.#position !== undefined && this.#position.token >= token)
      return { reached: Promise.resolve(), cancel: () => {} };
    let waiter: Waiter | undefined;
    const reached = new Promise<void>((resolve, reject) => {
      waiter = { token, resolve, reject };
      this.#waiters.add(waiter);
    });
    return {
      reached,
      cancel: (error) => {
        this.#waiters.delete(waiter!);
        waiter!.reject(error);
      },
    };
  }

  /** Ends it from outside. What was not begun is given up; what the handler is at, it finishes. */
  async stop(error: RowcastError): Promise<void> {
    this.#end(error);
    await this.#busy;
  }

  /** The primary, or the follower's policy, ended it. */
  fail(error: RowcastError): void {
    if (this.#isStopped) return;
    this.#error = error;
    this.#end(error);
    this.#options.hooks.onFailed(error);
  }

  #end(error: RowcastError): void {
    this.#isStopped = true;
    this.#leaveLive();
    const given = this.#items;
    this.#items = new Queue();
    for (const item of given) if (item.kind === 'batch') this.#options.hooks.onApplied(item.bytes);
    this.#rejectWaiters(error);
  }

  #leaveLive(): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#options.hooks.onNotLive();
  }

  /** Goes on by itself as long as handlers answer at once: no promise where none is needed. */
  #run(): void {
    // A handler may send, subscribe, stop: whatever comes in by that waits its turn.
    if (this.#busy !== undefined || this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
        const current = item;
        const isApplied = current.kind === 'batch' ? this.#apply(current) : true;
        if (typeof isApplied !== 'boolean') {
          this.#busy = isApplied.then((settled) => {
            this.#busy = undefined;
            // What comes in while it is finished waits its turn: else the position would move back.
            this.#isRunning = true;
            try {
              this.#finish(current, settled);
            } finally {
              this.#isRunning = false;
            }
            this.#run();
          });
          return;
        }
        this.#finish(current, isApplied);
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Whether the batch was applied; a promise only where the validator or the handler gives one. */
  #apply(batch: BatchItem): boolean | Promise<boolean> {
    const { validator } = this.#options;
    if (validator === undefined) return this.#handOver(batch, batch.rows);
    try {
      const rows = validateRows(batch.stream, validator, batch.rows);
      if (!(rows instanceof Promise)) return this.#handOver(batch, rows);
      return rows.then(
        (checked) => this.#handOver(batch, checked),
        (thrown: unknown) => this.#handleFailure(refusal(batch, thrown)),
      );
    } catch (thrown) {
      return this.#handleFailure(refusal(batch, thrown));
    }
  }

  #handOver(batch: BatchItem, rows: readonly unknown[]): boolean | Promise<boolean> {
    // Ended while the validator was at it.
    if (this.#isStopped) return false;
    const { stream, token } = batch;
    try {
      const pending = this.#options.handler({ stream, token, rows });
      if (!isThenable(pending)) return true;
      return Promise.resolve(pending).then(
        () => true,
        (thrown: unknown) => this.#handleFailure(failure(batch, thrown)),
      );
    } catch (thrown) {
      return this.#handleFailure(failure(batch, thrown));
    }
  }

  #handleFailure(error: RowcastError): false {
    if (!this.#isStopped) this.fail(error);
    // What a handler cannot do any more because of the stop is no failure of its own.
    else if (!isClosed(error.cause)) this.#options.hooks.onFailedLate(error);
    return false;
  }

  #finish(item: Item, isApplied: boolean): void {
    const { onApplied, onReset, onLive } = this.#options.hooks;
    if (item.kind === 'batch') onApplied(item.bytes);
    if (!isApplied) return;
    if (item.kind === 'reset') {
      this.#position = item.position;
      this.#rejectWaiters(item.error);
      onReset(item.error);
      return;
    }
    if (item.position !== undefined) this.#move(item.position);
    if (item.kind === 'position' && item.isLive && !this.#isStopped) {
      this.#isLive = true;
      onLive();
    }
  }

  #move(position: Position): void {
    this.#position = position;
    this.#options.hooks.onPosition();
    if (this.#waiters.size === 0) return;
    for (const waiter of this.#waiters) {
      if (waiter.token > position.token) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  #rejectWaiters(error: Error): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }
}

function isThenable(value: unknown): value is PromiseLike<void> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function isClosed(thrown: unknown): boolean {
  return thrown instanceof UsageError && thrown.code === 'CLOSED';
}

/** The validator said no: the row came from the primary, so the error is the peer's. */
function refusal({ token }: BatchItem, thrown: unknown): PeerError {
  return new PeerError('INVALID_ROW', `token ${token}: ${messageOf(thrown)}`, { cause: thrown });
}

function failure({ stream, token }: BatchItem, thrown: unknown): HandlerError {
  return new HandlerError(
    'HANDLER_FAILED',
    `the handler of stream ${stream} failed at token ${token}: ${messageOf(thrown)}`,
    { cause: thrown },
  );
}
