/**
 * The stored positions of a simulated worker. They outlive the process. A save takes time and may
 * fail; when the process ends during a save, it may or may not be stored.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { applyChanges, type SavingCheckpoint } from '../worker/checkpoint.ts';
import type { Boundary } from './happening.ts';
import type { Known } from './known.ts';
import type { SavedPositions } from './public-api.ts';

export interface CheckpointTimes {
  readonly maxSaveMs: Millis;
  /** How many of a hundred saves fail. */
  readonly failsPercent: number;
}

/** A stored save: the positions, and the true place of each. */
export interface Stored {
  readonly positions: SavedPositions;
  readonly known: ReadonlyMap<string, Known>;
  readonly boundaries: ReadonlyMap<string, Boundary>;
}

/** Before the first save. */
export const NOTHING: Stored = { positions: new Map(), known: new Map(), boundaries: new Map() };
/** Enough to go back by some seconds. */
const KEPT_COPIES = 5;

export interface FakeCheckpointOptions extends CheckpointTimes {
  readonly random: Random;
  /** Returns what is true of the positions that are being saved. */
  readonly onSave: (positions: SavedPositions) => Pick<Stored, 'known' | 'boundaries'>;
}

export class FakeCheckpoint {
  readonly #options: FakeCheckpointOptions;
  #stored: Stored = NOTHING;
  #copies: Stored[] = [];
  /** A save in progress. */
  #saving: Stored | undefined;
  fails = true;

  constructor(options: FakeCheckpointOptions) {
    this.#options = options;
  }

  get stored(): Stored {
    return this.#stored;
  }

  /** The checkpoint for one process. */
  open(clock: Clock): SavingCheckpoint {
    const { random, maxSaveMs, failsPercent, onSave } = this.#options;
    return {
      load: async () => this.#stored.positions,
      save: async (changed) => {
        const positions = new Map(this.#stored.positions);
        applyChanges(positions, changed);
        const saving = { positions, ...onSave(positions) };
        this.#saving = saving;
        if (maxSaveMs > 0)
          await new Promise<void>((resolve) => void clock.wakeIn(randomInteger(random, 0, maxSaveMs), resolve));
        this.#saving = undefined;
        if (this.fails && random.next() * 100 < failsPercent) throw new Error('no space is left for the checkpoint');
        this.#store(saving);
      },
    };
  }

  /** The process ends: a save in progress is stored or not. */
  crash(): void {
    if (this.#saving !== undefined && this.#options.random.next() < 0.5) this.#store(this.#saving);
    this.#saving = undefined;
  }

  /** Restores an older copy, as from a backup of the worker. */
  goBack(): boolean {
    const copy = this.#copies.shift();
    if (copy === undefined) return false;
    this.#stored = copy;
    this.#copies = [];
    return true;
  }

  #store(saved: Stored): void {
    this.#copies.push(this.#stored);
    if (this.#copies.length > KEPT_COPIES) this.#copies.shift();
    this.#stored = saved;
  }
}
