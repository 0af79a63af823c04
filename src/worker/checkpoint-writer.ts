/**
 * Writes to a checkpoint what has changed soon after positions moved, one write at a time, and once
 * more at the end.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Subscription as Machine } from '../core/follow/subscription.ts';
import { HandlerError, messageOf, quote, RowcastError } from '../core/model/errors.ts';
import { nameOfType } from '../core/model/options.ts';
import { checkPosition, type Position } from '../core/model/position.ts';
import { applyChanges, type Checkpoint } from './checkpoint.ts';
import type { Runner } from './subscription.ts';

/**
 * A position at the time when a checkpoint was written, so that the subscription can be told once
 * it is saved.
 */
export interface SavedPosition {
  readonly machine: Machine;
  readonly position: Position;
  readonly lineage: number;
}

export interface CheckpointWriterOptions {
  readonly workerName: string;
  readonly checkpoint: Checkpoint;
  readonly clock: Clock;
  /** The subscription that follows a stream now. */
  readonly runnerOf: (stream: string) => Runner | undefined;
  /** These positions are stored. */
  readonly onSaved: (own: readonly SavedPosition[]) => void;
  /** A write failed. The next move of a position tries again, and so does the end. */
  readonly onError: (error: RowcastError) => void;
}

// A write is an fsync, so many batches share one. A crash repeats at most the batches of this time.
const INTERVAL_MS: Millis = 100;

/**
 * The calls of each checkpoint that have not settled. A worker that was abandoned may leave one,
 * and the next worker reads the checkpoint after it.
 */
const unsettled = new WeakMap<Checkpoint, Set<Promise<void>>>();

export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions;
  /** Every position as it is stored, and while a write runs as that write has it. */
  readonly #all = new Map<string, Position>();
  /** Subscriptions whose position has moved since. */
  #moved: Runner[] = [];
  /** What else has changed since, and what a write that failed had. */
  #changed = new Map<string, Position | undefined>();
  #own: SavedPosition[] = [];
  #timer: Timer | undefined;
  #isDirty = false;
  #hasFailed = false;
  #writing: Promise<void> | undefined;
  #isAbandoned = false;
  #isClosed = false;

  constructor(options: CheckpointWriterOptions) {
    this.#options = options;
  }

  /** False: handlers store the positions of batches. */
  get canSave(): boolean {
    return this.#options.checkpoint.save !== undefined;
  }

  /** @throws HandlerError CHECKPOINT_FAILED */
  async load(): Promise<ReadonlyMap<string, Position>> {
    const { checkpoint } = this.#options;
    await Promise.allSettled(unsettled.get(checkpoint) ?? new Set<Promise<void>>());
    // The worker was stopped meanwhile. Nobody would close what a load opens now.
    if (this.#isClosed) return this.#all;
    try {
      const stored = await checkpoint.load({ workerName: this.#options.workerName });
      checkStored(stored);
      applyChanges(this.#all, stored);
      return stored;
    } catch (thrown) {
      throw explain('read', thrown);
    }
  }

  /** The position of a subscription has moved. */
  handleMoved(runner: Runner): void {
    if (runner.isToSave || !this.canSave) return;
    runner.isToSave = true;
    this.#moved.push(runner);
    this.#schedule();
  }

  /** Another position has changed. Undefined: it is gone. */
  handleChanged(key: string, position: Position | undefined): void {
    // Where handlers store positions, those of streams are theirs and keepMove's.
    const isOurs = this.canSave || (this.#options.checkpoint.saveMoves !== undefined && key.startsWith('$'));
    if (!isOurs) return;
    this.#changed.set(key, position);
    this.#schedule();
  }

  /** A save is on its way. */
  get isWriting(): boolean {
    return this.#writing !== undefined;
  }

  /** Begins no save any more: another worker may have the checkpoint by now. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#writing;
    this.#isDirty ||= this.#hasFailed;
    await this.#write();
    await this.#options.checkpoint.close?.();
  }

  #schedule(): void {
    this.#isDirty = true;
    this.#timer ??= this.#options.clock.wakeIn(INTERVAL_MS, () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  async #write(): Promise<void> {
    if (this.#writing !== undefined || !this.#isDirty || this.#isAbandoned) return;
    this.#isDirty = false;
    this.#writing = this.#save();
    await this.#writing;
    this.#writing = undefined;
    // Positions moved during the write.
    if (this.#isDirty) this.#schedule();
  }

  async #save(): Promise<void> {
    const own = this.#own;
    this.#collect();
    const changed = this.#changed;
    this.#changed = new Map();
    this.#own = [];
    const stored = new Map([...changed.keys()].map((key) => [key, this.#all.get(key)]));
    applyChanges(this.#all, changed);
    try {
      if (changed.size > 0) await this.#store(changed);
      this.#hasFailed = false;
    } catch (thrown) {
      this.#hasFailed = true;
      applyChanges(this.#all, stored);
      // What has changed meanwhile is newer.
      for (const [key, position] of this.#changed) changed.set(key, position);
      this.#changed = changed;
      this.#own = own;
      this.#options.onError(explain('write', thrown));
      return;
    }
    this.#options.onSaved(own);
  }

  async #store(changed: ReadonlyMap<string, Position | undefined>): Promise<void> {
    const { checkpoint } = this.#options;
    const calls = unsettled.get(checkpoint) ?? new Set();
    unsettled.set(checkpoint, calls);
    const call = (async () =>
      checkpoint.saveMoves === undefined ? checkpoint.save!(changed, this.#all) : checkpoint.saveMoves(changed))();
    calls.add(call);
    try {
      await call;
    } finally {
      calls.delete(call);
    }
  }

  /** Stores the position of a stream that no handler has stored. A failure is reported. */
  async keepMove(stream: string, position: Position | undefined): Promise<void> {
    if (this.#isAbandoned) return;
    try {
      await this.#store(new Map([[stream, position]]));
    } catch (thrown) {
      this.#options.onError(explain('write', thrown));
    }
  }

  /** Collects what has changed. A key that the checkpoint need not be told of is left out. */
  #collect(): void {
    const changed = this.#changed;
    for (const runner of this.#moved) {
      runner.isToSave = false;
      const { stream } = runner;
      // A subscription that was removed may still have finished its last batch.
      const { machine } =
        this.#options.runnerOf(stream)?.machine === undefined ? runner : this.#options.runnerOf(stream)!;
      if (machine === undefined) continue;
      const { toSave, applied, lineage } = machine.delivery;
      changed.set(stream, toSave);
      if (applied !== undefined) this.#own.push({ machine, position: applied, lineage });
    }
    this.#moved = [];
    for (const [key, position] of changed) {
      const stored = this.#all.get(key);
      if (stored?.token === position?.token && stored?.history === position?.history) changed.delete(key);
    }
  }
}

/** What an application's own checkpoint gives may be anything. */
function checkStored(stored: ReadonlyMap<string, Position>): void {
  if (typeof stored?.get !== 'function' || typeof stored.entries !== 'function') {
    throw new TypeError(`its load gave ${nameOfType(stored)}, not a Map of positions`);
  }
  for (const [key, position] of stored) {
    try {
      checkPosition(position);
    } catch (thrown) {
      throw new TypeError(`its load gave no position for ${quote(key)}: ${messageOf(thrown)}`, { cause: thrown });
    }
  }
}

function explain(verb: string, thrown: unknown): RowcastError {
  if (thrown instanceof RowcastError) return thrown;
  const text = `cannot ${verb} the checkpoint: ${messageOf(thrown)}`;
  return new HandlerError('CHECKPOINT_FAILED', text, { cause: thrown });
}
