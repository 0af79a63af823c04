/**
 * Where a simulated worker keeps its positions. Outlives the process. A save takes its time, may fail, and may or may not
 * be there when the process ends meanwhile.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { Checkpoint } from '../worker/checkpoint.ts';
import type { Known } from './known.ts';
import type { SavedPositions } from './public-api.ts';

export interface CheckpointTimes {
  readonly maxSaveMs: Millis;
  /** Of a hundred saves, how many fail. */
  readonly failsPercent: number;
}

/** What a save stored: the positions, and the truth of where they stand. */
export interface Stored {
  readonly positions: SavedPositions;
  readonly known: ReadonlyMap<string, Known>;
}

const NOTHING: Stored = { positions: new Map(), known: new Map() };
/** Enough to go back by some seconds. */
const KEPT_COPIES = 5;

export interface FakeCheckpointOptions extends CheckpointTimes {
  readonly random: Random;
  /** Says where the positions stand, when they are saved. */
  readonly onSave: (positions: SavedPositions) => ReadonlyMap<string, Known>;
}

export class FakeCheckpoint {
  readonly #options: FakeCheckpointOptions;
  #stored: Stored = NOTHING;
  #copies: Stored[] = [];
  /** A save that has begun and not ended. */
  #saving: Stored | undefined;
  fails = true;

  constructor(options: FakeCheckpointOptions) {
    this.#options = options;
  }

  get stored(): Stored {
    return this.#stored;
  }

  /** The one that a process is given. */
  open(clock: Clock): Checkpoint {
    const { random, maxSaveMs, failsPercent, onSave } = this.#options;
    return {
      load: async () => this.#stored.positions,
      save: async (given) => {
        const positions = new Map(given);
        const saving = { positions, known: onSave(positions) };
        this.#saving = saving;
        if (maxSaveMs > 0)
          await new Promise<void>((resolve) => void clock.wakeIn(randomInteger(random, 0, maxSaveMs), resolve));
        this.#saving = undefined;
        if (this.fails && random.next() * 100 < failsPercent) throw new Error('no space is left for the checkpoint');
        this.#store(saving);
      },
    };
  }

  /** The process ends: a save that was under way is there or not. */
  crash(): void {
    if (this.#saving !== undefined && this.#options.random.next() < 0.5) this.#store(this.#saving);
    this.#saving = undefined;
  }

  /** An older copy takes its place, as after a restored backup of the worker. */
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
