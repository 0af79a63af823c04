/**
 * A disk under a log: states that never change, so a copy costs nothing. Knows which of them a power cut would spare.
 *
 *   synced state ──▶ unsynced ──▶ unsynced ──▶ the state that the process sees
 */

import { type Random, randomInteger } from '../base/random.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Chunk } from '../log/chunk.ts';
import type { HistoryNode } from './history-tree.ts';

export interface DiskStream {
  readonly chunks: readonly Chunk[];
  readonly earliest: Token;
  readonly latest: Token;
  /** The truth about it: the log itself does not look at this. */
  readonly head: HistoryNode;
}

export interface DiskState {
  readonly logId: string;
  readonly streams: ReadonlyMap<StreamName, DiskStream>;
}

export class FakeDisk {
  #state: DiskState;
  /** What was written since the last sync, oldest first, with the synced state before it. */
  #sinceSync: DiskState[] = [];

  constructor(state: DiskState) {
    this.#state = state;
  }

  /** Also a copy: what is taken from here never changes. */
  get state(): DiskState {
    return this.#state;
  }

  write(state: DiskState, { isSynced }: { isSynced: boolean }): void {
    this.#sinceSync.push(this.#state);
    this.#state = state;
    if (isSynced) this.sync();
  }

  sync(): void {
    this.#sinceSync = [];
  }

  /** Some of what was not synced is gone, the newest first. */
  loseTail(random: Random): void {
    const states = [...this.#sinceSync, this.#state];
    this.restore(states[randomInteger(random, 0, states.length - 1)]!);
  }

  restore(copy: DiskState): void {
    this.#state = copy;
    this.sync();
  }
}
