/** Where a worker keeps its positions, so that it resumes there after a crash. */

import { hidden } from '../core/model/option-kinds.ts';
import { type Kind, nameOfType } from '../core/model/options.ts';
import type { Position } from '../core/model/position.ts';

/**
 * Where positions are kept, in one of two ways. The key of a position is its stream's name. Keys that
 * begin with `$` are the worker's own; store them like the others. formatPosition and parsePosition
 * write and read a position as one word.
 *
 * With `save` the worker stores positions, shortly after batches were applied: a crash repeats those
 * of the last 0.1 s.
 *
 * Without `save` your handlers store `batch.position`, in the transaction that applies the rows: so
 * each batch is applied exactly once (docs/guides/exactly-once.md). `saveMoves` then stores what no
 * batch tells. Without `saveMoves` too the checkpoint is only read: a subscription from `now` has no
 * position before its first batch, and a pattern of streams begins anew at each start.
 * @example
 * const checkpoint = {
 *   load: async () => new Map(await db.query('SELECT key, position FROM places')),
 *   saveMoves: async (changed) => db.transaction(async (tx) => store(tx, changed)),
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
  /**
   * Stores the positions that no batch brings, all or none of them: where a subscription from `now`
   * began, a batch that was skipped, the end of a deleted stream (undefined: remove the key), and the
   * worker's own keys. Called between the batches of the stream, which wait for it, so it never
   * overwrites a later position. Not beside `save`.
   */
  saveMoves?(changed: ReadonlyMap<string, Position | undefined>): Promise<void>;
  /** The worker has stopped, and calls nothing more. */
  close?(): Promise<void>;
}

/** Who loads a checkpoint. */
export interface CheckpointReader {
  readonly workerName: string;
}

/** A checkpoint that also stores positions. */
export type SavingCheckpoint = Checkpoint & Required<Pick<Checkpoint, 'save'>>;

export const checkpointKind: Kind<Checkpoint> = {
  ...hidden<Checkpoint>(
    'an object with the method load, and either save or saveMoves unless it is only read',
    (value) => checkpointFault(value) === undefined,
  ),
  came: (value) => checkpointFault(value),
};

function checkpointFault(value: unknown): string | undefined {
  if (typeof value === 'string') return 'a string: fileCheckpoint(path) makes one that is kept in a file';
  if (typeof value !== 'object' || value === null) return nameOfType(value);
  const { load, save, saveMoves } = value as Partial<Checkpoint>;
  if (typeof load !== 'function') return `${nameOfType(value)} without load`;
  if (save !== undefined && saveMoves !== undefined) return 'one with both save and saveMoves';
  for (const [name, method] of Object.entries({ save, saveMoves })) {
    if (method !== undefined && typeof method !== 'function') return `one whose ${name} is ${nameOfType(method)}`;
  }
  return undefined;
}

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
