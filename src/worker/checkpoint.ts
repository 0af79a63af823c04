/** Where a worker keeps its positions, so that it resumes there after a crash. */

import { hidden } from '../core/model/option-kinds.ts';
import type { Kind } from '../core/model/options.ts';
import type { Position } from '../core/model/position.ts';

/**
 * Implement it over your own database to store positions in the transaction that applies the rows.
 * The key of a position is its stream's name. Keys that begin with `$` are the worker's own; store
 * them like the others. formatPosition and parsePosition write and read a position as one word.
 *
 * Without `save` the worker only reads where to begin. A batch then counts as saved as soon as its
 * handler is finished. A pattern of streams begins anew at each start then: streams that were made
 * while the worker was away are followed from where `from` says.
 * @example
 * const checkpoint = {
 *   load: async () => new Map(await db.query('SELECT key, position FROM places')),
 *   save: async (changed) => db.transaction(async (tx) => {
 *     for (const [key, position] of changed) {
 *       if (position === undefined) await tx.remove(key);
 *       else await tx.upsert(key, formatPosition(position));
 *     }
 *   }),
 * };
 */
export interface Checkpoint {
  /**
   * Returns what was stored last; empty when nothing was. Called when the worker starts, and again by
   * a later start when it has rejected.
   */
  load(reader?: CheckpointReader): Promise<ReadonlyMap<string, Position>>;
  /**
   * Stores what has changed, all or none of it. Called after batches were applied, one call at a
   * time. What a failed call had comes again with the next one.
   * @param changed the positions that moved. Undefined: the key is gone, because its stream was
   *   deleted
   * @param all every position, these changes included, for a store that is written as a whole. It
   *   may not be kept or changed
   */
  save?(changed: ReadonlyMap<string, Position | undefined>, all: ReadonlyMap<string, Position>): Promise<void>;
  /** The worker has stopped, and calls nothing more. */
  close?(): Promise<void>;
}

/** Who loads a checkpoint. */
export interface CheckpointReader {
  readonly workerName: string;
}

export type SavingCheckpoint = Checkpoint & Required<Pick<Checkpoint, 'save'>>;

export const checkpointKind: Kind<Checkpoint> = hidden(
  'an object with the method load, and save unless it is only read',
  (value) => {
    const { load, save } = (value ?? {}) as Partial<Checkpoint>;
    return typeof load === 'function' && (save === undefined || typeof save === 'function');
  },
);

/**
 * Keeps positions within this process: for tests, and for workers that need not resume in another
 * process.
 */
export function memoryCheckpoint(): SavingCheckpoint {
  const stored = new Map<string, Position>();
  return {
    load: async () => new Map(stored),
    save: async (changed) => applyChanges(stored, changed),
  };
}

/** Brings stored positions up to date. */
export function applyChanges(stored: Map<string, Position>, changed: ReadonlyMap<string, Position | undefined>): void {
  for (const [key, position] of changed) {
    if (position === undefined) stored.delete(key);
    else stored.set(key, position);
  }
}
