/**
 * A disk under a log, as immutable states, so a copy costs nothing. Knows which states a power cut
 * would leave.
 *
 *   synced state ──▶ unsynced ──▶ unsynced ──▶ the state that the process sees
 */

import { type Random, randomInteger } from '../base/random.ts';
import type { Chunk } from '../core/model/chunk.ts';
import { type History, originOf } from '../core/model/history.ts';
import type { Bounds } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { HistoryNode } from './history-tree.ts';

export interface DiskStream extends Bounds {
  readonly chunks: readonly Chunk[];
  readonly rowsUpTo: number;
  /** The true newest batch. The log itself does not use it. */
  readonly head: HistoryNode;
}

export interface DiskState {
  readonly logId: string;
  /** The number of the newest era. */
  readonly era: number;
  readonly streams: ReadonlyMap<StreamName, DiskStream>;
}

export class FakeDisk {
  #state: DiskState;
  /** The states since the last sync, oldest first. The synced state comes before them. */
  #sinceSync: DiskState[] = [];

  constructor(state: DiskState) {
    this.#state = state;
  }

  static empty(logId: string): FakeDisk {
    return new FakeDisk({ logId, era: 0, streams: new Map() });
  }

  /** The current state, also usable as a copy: states never change. */
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

  /** Loses some of the unsynced states, the newest first. */
  loseTail(random: Random): void {
    const states = [...this.#sinceSync, this.#state];
    this.restore(states[randomInteger(random, 0, states.length - 1)]!);
  }

  restore(copy: DiskState): void {
    this.#state = copy;
    this.sync();
  }
}

export function emptyStream(logId: string, head: HistoryNode): DiskStream {
  const origin = originOf(logId);
  return {
    chunks: [],
    earliest: 1,
    latest: 0,
    rowsUpTo: 0,
    history: origin,
    base: origin,
    head,
  };
}

export function withChunks(kept: DiskStream, chunks: readonly Chunk[], head: HistoryNode = kept.head): DiskStream {
  const last = chunks.at(-1);
  if (last === undefined) return kept;
  const { upTo: latest, rowsUpTo, history } = last;
  return { ...kept, chunks: [...kept.chunks, ...chunks], latest, rowsUpTo, history, head };
}

/** The stream without its batches up to the token. A chunk goes when all its batches go. */
export function withoutRowsUpTo(kept: DiskStream, upTo: Token): DiskStream {
  const gone = Math.min(upTo, kept.latest);
  if (gone < kept.earliest) return kept;
  const base = historyAt(kept, gone);
  return { ...kept, earliest: gone + 1, base, chunks: kept.chunks.filter((chunk) => chunk.upTo > gone) };
}

/** The history of the chunk that holds the token. The token must be kept. */
export function historyAt({ chunks }: DiskStream, token: Token): History {
  return chunks.find(({ upTo }) => upTo >= token)!.history;
}
