/**
 * Writes a checkpoint soon after positions moved, one write at a time, and once more at the end.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import { HandlerError, messageOf, RowcastError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { SavedPosition } from './subscriptions.ts';

export interface CheckpointWriterOptions {
  readonly checkpoint: Checkpoint;
  readonly clock: Clock;
  /** The positions as they are now. */
  readonly positions: () => {
    readonly positions: ReadonlyMap<string, Position>;
    readonly own: readonly SavedPosition[];
  };
  /** These positions are stored. */
  readonly onSaved: (own: readonly SavedPosition[]) => void;
  /** A write failed. The next move of a position tries again, and so does the end. */
  readonly onError: (error: RowcastError) => void;
}

// A write is an fsync, so many batches share one. A crash repeats at most the batches of this time.
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
  async load(): Promise<ReadonlyMap<string, Position>> {
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
    // Positions moved during the write.
    if (this.#isDirty) this.handlePosition();
  }

  async #save(): Promise<void> {
    const { positions, own } = this.#options.positions();
    try {
      await this.#options.checkpoint.save(positions);
      this.#hasFailed = false;
    } catch (thrown) {
      this.#hasFailed = true;
      this.#options.onError(explain('write', thrown));
      return;
    }
    this.#options.onSaved(own);
  }
}

function explain(verb: string, thrown: unknown): RowcastError {
  if (thrown instanceof RowcastError) return thrown;
  const text = `cannot ${verb} the checkpoint: ${messageOf(thrown)}`;
  return new HandlerError('CHECKPOINT_FAILED', text, { cause: thrown });
}
