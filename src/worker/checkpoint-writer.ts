/** When a checkpoint is written: soon after positions moved, one write at a time, and once more at the end. */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import { HandlerError, messageOf, RowcastError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Position } from '../core/follow/interests.ts';
import type { Checkpoint } from './checkpoint.ts';

export interface CheckpointWriterOptions {
  readonly checkpoint: Checkpoint;
  readonly clock: Clock;
  /** The positions as they are now. */
  readonly positions: () => ReadonlyMap<StreamName, Position>;
  /** A write failed; the next move of a position tries again, and so does the end. */
  readonly onError: (error: RowcastError) => void;
}

// A write is an fsync: many batches share one. A crash repeats at most what came within this time.
const INTERVAL_MS: Millis = 100;

export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions;
  #timer: Timer | undefined;
  #isDirty = false;
  #hasFailed = false;
  #writing: Promise<void> | undefined;

  constructor(options: CheckpointWriterOptions) {
    this.#options = options;
  }

  /** @throws HandlerError CHECKPOINT_FAILED */
  async load(): Promise<ReadonlyMap<StreamName, Position>> {
    try {
      return await this.#options.checkpoint.load();
    } catch (thrown) {
      throw explain('read', thrown);
    }
  }

  handlePosition(): void {
    this.#isDirty = true;
    this.#timer ??= this.#options.clock.wakeIn(INTERVAL_MS, () => {
      this.#timer = undefined;
      void this.#write();
    });
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#writing;
    this.#isDirty ||= this.#hasFailed;
    await this.#write();
  }

  async #write(): Promise<void> {
    if (this.#writing !== undefined || !this.#isDirty) return;
    this.#isDirty = false;
    this.#writing = this.#save();
    await this.#writing;
    this.#writing = undefined;
    // Positions moved while it was being written.
    if (this.#isDirty) this.handlePosition();
  }

  async #save(): Promise<void> {
    try {
      await this.#options.checkpoint.save(this.#options.positions());
      this.#hasFailed = false;
    } catch (thrown) {
      this.#hasFailed = true;
      this.#options.onError(explain('write', thrown));
    }
  }
}

function explain(verb: string, thrown: unknown): RowcastError {
  if (thrown instanceof RowcastError) return thrown;
  return new HandlerError('CHECKPOINT_FAILED', `cannot ${verb} the checkpoint: ${messageOf(thrown)}`, {
    cause: thrown,
  });
}
