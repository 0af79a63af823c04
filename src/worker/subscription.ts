/** Runs the application's handler over what a subscription has for it, one batch at a time. Knows no connection. */

import type { Batch } from '../core/model/batch.ts';
import { HandlerError, messageOf, PeerError, type RowcastError, UsageError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import { type RowValidator, validateRows } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Item } from '../core/follow/delivery.ts';
import type { Subscription as Machine } from '../core/follow/subscription.ts';

/** The next batch comes after the promise is resolved. One that throws ends the subscription. */
export type BatchHandler<Row = unknown> = (batch: Batch<Row>) => void | Promise<void>;

/** What the application may ask of a subscription. */
export interface Subscription {
  readonly stream: StreamName;
  /** Up to where rows were applied; undefined before a primary has told anything. */
  readonly position: Position | undefined;
  /** It has reached the primary's position since the last connect. */
  readonly isLive: boolean;
  /** It ended, by itself or from outside. */
  readonly isEnded: boolean;
  /** Why it ended by itself; undefined while it goes on. */
  readonly error: RowcastError | undefined;
}

/** What a worker hears of its subscriptions: the same object for all of them. */
export interface RunnerHooks {
  /** Rows that counted for so much are through the handler, or given up. */
  readonly onApplied: (runner: Runner, cost: number) => void;
  /** The position moved. */
  readonly onPosition: (runner: Runner) => void;
  readonly onLive: (runner: Runner) => void;
  /** It was live, and is not any more: the connection is lost, or it ended. */
  readonly onNotLive: (runner: Runner) => void;
  /** `ended`: the history of what was applied before. */
  readonly onReset: (runner: Runner, error: RowcastError, ended: History | undefined) => void;
  /** Whether a wait is over may have changed. */
  readonly onMoved: (runner: Runner) => void;
  /** The handler failed: nothing more of the stream may come. */
  readonly onFailing: (runner: Runner) => void;
  /** The handler failed, and the subscription has ended. */
  readonly onFailed: (runner: Runner, error: RowcastError) => void;
  /** The handler failed at its last batch, after the subscription was ended from outside. */
  readonly onFailedLate: (runner: Runner, error: RowcastError) => void;
}

export interface RunnerOptions {
  readonly validator: RowValidator | undefined;
  readonly handler: BatchHandler;
  readonly hooks: RunnerHooks;
}

type BatchItem = Extract<Item, { kind: 'batch' }>;

/** The application's side of one subscription. */
export class Runner implements Subscription {
  readonly stream: StreamName;
  readonly #options: RunnerOptions;
  /** Undefined before the checkpoint was read. */
  #machine: Machine | undefined;
  /** Settles when the batch that the handler is at is through. */
  #busy: Promise<void> | undefined;
  #isRunning = false;
  #wasLive = false;
  #end: { readonly error: RowcastError | undefined } | undefined;

  constructor(stream: StreamName, options: RunnerOptions) {
    this.stream = stream;
    this.#options = options;
  }

  /** The machine whose deliveries it runs. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  set machine(machine: Machine) {
    this.#machine = machine;
  }

  get position(): Position | undefined {
    return this.#machine?.delivery.applied;
  }

  get isLive(): boolean {
    return this.#end === undefined && this.#machine?.isLive === true;
  }

  /** Every stream is followed, and the primary does not have this one. */
  get isAbsent(): boolean {
    return this.#machine?.isWanted === false;
  }

  /** The handler has not finished what came: it is what a wait waits for. */
  get isBusy(): boolean {
    return this.#busy !== undefined;
  }

  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  get error(): RowcastError | undefined {
    return this.#end?.error;
  }

  /** Something waits, or whether it is live has changed. */
  run(): void {
    this.#tellLive();
    // A handler may send, subscribe, stop: whatever comes in by that waits its turn.
    if (this.#busy !== undefined || this.#isRunning || this.#machine === undefined || this.isEnded) return;
    const { delivery } = this.#machine;
    this.#isRunning = true;
    try {
      while (!this.isEnded) {
        const item = delivery.take();
        if (item === undefined) break;
        const isApplied = item.kind === 'batch' ? this.#apply(item) : true;
        if (typeof isApplied !== 'boolean') {
          this.#busy = isApplied.then((settled) => {
            this.#busy = undefined;
            this.#finish(item, settled);
            this.run();
          });
          return;
        }
        this.#finish(item, isApplied);
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Ends it from outside. What was not begun is given up; what the handler is at, it finishes. */
  async stop(): Promise<void> {
    this.#leave(undefined);
    await this.#busy;
  }

  /** The primary, the handler or the policy ended it. */
  fail(error: RowcastError): void {
    this.#leave(error);
  }

  #leave(error: RowcastError | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#tellLive();
    const cost = this.#machine?.delivery.clear() ?? 0;
    if (cost > 0) this.#options.hooks.onApplied(this, cost);
    this.#options.hooks.onMoved(this);
  }

  #tellLive(): void {
    const { isLive } = this;
    if (isLive === this.#wasLive) return;
    this.#wasLive = isLive;
    if (isLive) this.#options.hooks.onLive(this);
    else this.#options.hooks.onNotLive(this);
  }

  /** Whether the batch was applied; a promise only where the validator or the handler gives one. */
  #apply({ batch }: BatchItem): boolean | Promise<boolean> {
    const { validator } = this.#options;
    if (validator === undefined) return this.#handOver(batch);
    try {
      const rows = validateRows(batch.stream, validator, batch.rows);
      if (!(rows instanceof Promise)) return this.#handOver({ ...batch, rows });
      return rows.then(
        (checked) => this.#handOver({ ...batch, rows: checked }),
        (thrown: unknown) => this.#handleFailure(refusal(batch, thrown)),
      );
    } catch (thrown) {
      return this.#handleFailure(refusal(batch, thrown));
    }
  }

  #handOver(batch: Batch): boolean | Promise<boolean> {
    // Ended while the validator was at it.
    if (this.isEnded) return false;
    try {
      const pending = this.#options.handler(batch);
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
    const { hooks } = this.#options;
    if (!this.isEnded) {
      // First of all: what would still come in would count as waiting for ever.
      hooks.onFailing(this);
      this.fail(error);
      hooks.onFailed(this, error);
    } else if (!isClosed(error.cause)) {
      // What a handler cannot do any more because of the stop is no failure of its own.
      hooks.onFailedLate(this, error);
    }
    return false;
  }

  #finish(item: Item, isApplied: boolean): void {
    const { hooks } = this.#options;
    const { delivery } = this.#machine!;
    const before = delivery.applied;
    delivery.finish(item, isApplied);
    hooks.onApplied(this, item.cost);
    if (!isApplied) return;
    if (item.kind === 'reset') hooks.onReset(this, item.error, before?.history);
    else if (item.position !== undefined) hooks.onPosition(this);
    hooks.onMoved(this);
    if (item.kind !== 'batch') this.#tellLive();
  }
}

function isThenable(value: unknown): value is PromiseLike<void> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

function isClosed(thrown: unknown): boolean {
  return thrown instanceof UsageError && thrown.code === 'CLOSED';
}

/** The validator said no: the row came from the primary, so the error is the peer's. */
function refusal({ stream, token }: Batch, thrown: unknown): PeerError {
  const text = `token ${token}: ${messageOf(thrown)}`;
  return new PeerError('INVALID_ROW', text, { cause: thrown, facts: { stream, token } });
}

function failure({ stream, token }: Batch, thrown: unknown): HandlerError {
  const text = `the handler of stream ${stream} failed at token ${token}: ${messageOf(thrown)}`;
  return new HandlerError('HANDLER_FAILED', text, { cause: thrown, facts: { stream, token } });
}
