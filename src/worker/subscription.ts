/** One stream's rows on their way to the application: one batch at a time, positions, those who wait for one. Knows no connection. */

import { HandlerError, messageOf, PeerError, type RowcastError } from '../model/errors.ts';
import { type RowValidator, validateRows } from '../model/row.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { InterestOutput, Position } from '../protocol/interests.ts';

/** Rows that share one token, to be applied together. */
export interface Batch<Row = unknown> {
  readonly stream: StreamName;
  readonly token: Token;
  readonly rows: readonly Row[];
}

/** The next batch comes after the promise is resolved. One that throws ends the subscription. */
export type BatchHandler<Row = unknown> = (batch: Batch<Row>) => void | Promise<void>;

/** What the application may ask of a subscription. */
export interface Subscription {
  readonly stream: StreamName;
  /** The token up to which rows were applied; undefined before the first is known. */
  readonly position: Token | undefined;
  /** It has reached the primary's position since the last connect. */
  readonly isLive: boolean;
  /** Why it ended; undefined while it goes on. */
  readonly error: RowcastError | undefined;
}

export interface SubscriptionHooks {
  /** Rows of this size are through the handler, or given up. */
  readonly onApplied: (bytes: number) => void;
  /** The position moved. */
  readonly onPosition: () => void;
  readonly onLive: () => void;
  readonly onReset: (error: RowcastError) => void;
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

interface Waiter {
  readonly token: Token;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LiveSubscription implements Subscription {
  readonly stream: StreamName;
  readonly #options: SubscriptionOptions;
  #items: Item[] = [];
  #next = 0;
  #isBusy = false;
  #isRunning = false;
  #handleIdle: (() => void) | undefined;
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
    return this.#isBusy;
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
    this.#isLive = false;
    // A POSITION that still waits behind rows was of the connection that ended.
    this.#items = this.#items.map((item) => (item.kind === 'position' ? { ...item, isLive: false } : item));
  }

  /** Resolves when everything up to `token` was applied; rejects when the subscription ends first. `cancel` gives the wait up. */
  wait(token: Token): { reached: Promise<void>; cancel: (error: Error) => void } {
    if (this.#position !== undefined && this.#position.token >= token) return { reached: Promise.resolve(), cancel: () => {} };
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
    if (!this.#isBusy) return;
    await new Promise<void>((resolve) => {
      this.#handleIdle = resolve;
    });
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
    this.#isLive = false;
    for (const item of this.#items.slice(this.#next)) if (item.kind === 'batch') this.#options.hooks.onApplied(item.bytes);
    this.#items = [];
    this.#next = 0;
    this.#rejectWaiters(error);
  }

  /** Goes on by itself as long as handlers answer at once: no promise where none is needed. */
  #run(): void {
    // A handler may send, subscribe, stop: whatever comes in by that waits its turn.
    if (this.#isBusy || this.#isRunning) return;
    this.#isRunning = true;
    while (this.#next < this.#items.length) {
      const item = this.#items[this.#next++]!;
      const pending = item.kind === 'batch' ? this.#apply(item) : undefined;
      if (pending !== undefined) {
        this.#isBusy = true;
        this.#isRunning = false;
        void pending.then((isApplied) => {
          this.#isBusy = false;
          this.#finish(item, isApplied);
          this.#handleIdle?.();
          this.#run();
        });
        return;
      }
      this.#finish(item, this.#error === undefined);
    }
    this.#items = [];
    this.#next = 0;
    this.#isRunning = false;
  }

  /** Undefined when it was done at once; else whether it was applied. Failures are kept in #error. */
  #apply(item: Extract<Item, { kind: 'batch' }>): Promise<boolean> | undefined {
    const { stream, token } = item;
    const { validator, handler } = this.#options;
    try {
      const rows = validator === undefined ? item.rows : validateRows(stream, validator, item.rows);
      const pending = rows instanceof Promise ? rows.then((checked) => handler({ stream, token, rows: checked })) : handler({ stream, token, rows });
      if (!isPromise(pending)) return undefined;
      return pending.then(
        () => true,
        (thrown: unknown) => {
          this.fail(explain(stream, token, thrown));
          return false;
        },
      );
    } catch (thrown) {
      this.fail(explain(stream, token, thrown));
      return undefined;
    }
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

function isPromise(value: unknown): value is Promise<void> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function explain(stream: StreamName, token: Token, thrown: unknown): RowcastError {
  // The validator's error: the row came from the primary, so it is the peer's.
  if (thrown instanceof Error && 'code' in thrown && thrown.code === 'INVALID_ROW') {
    return new PeerError('INVALID_ROW', `token ${token}: ${thrown.message}`, { cause: thrown });
  }
  return new HandlerError('HANDLER_FAILED', `the handler of stream ${stream} failed at token ${token}: ${messageOf(thrown)}`, { cause: thrown });
}
