/**
 * The table of who holds rows of the streams of an sqlite log back. Knows no transactions: the
 * caller begins and ends them.
 */

import type Database from 'better-sqlite3';

import type { WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { EraTexts } from './sqlite-chunk-record.ts';
import type { HolderChanges, HolderRecord } from './stream-holders.ts';

interface StoredHolder {
  readonly worker: WorkerName;
  readonly token: Token | null;
  readonly era: unknown;
  readonly holds: number;
}

export class HolderTable {
  readonly #eras: EraTexts;
  readonly #all: Database.Statement<[streamId: number], StoredHolder>;
  readonly #store: Database.Statement<[streamId: number, WorkerName, Token | null, string | null, number]>;
  readonly #remove: Database.Statement<[streamId: number, WorkerName]>;
  readonly #removeAll: Database.Statement<[streamId: number]>;
  readonly #streamsOf: Database.Statement<[WorkerName], number>;

  constructor(database: Database.Database, eras: EraTexts) {
    this.#eras = eras;
    this.#all = database.prepare('SELECT worker, token, era, holds FROM holders WHERE stream_id = ?');
    this.#store = database.prepare(
      'INSERT OR REPLACE INTO holders (stream_id, worker, token, era, holds) VALUES (?, ?, ?, ?, ?)',
    );
    this.#remove = database.prepare('DELETE FROM holders WHERE stream_id = ? AND worker = ?');
    this.#removeAll = database.prepare('DELETE FROM holders WHERE stream_id = ?');
    this.#streamsOf = database.prepare<[WorkerName], number>('SELECT stream_id FROM holders WHERE worker = ?').pluck();
  }

  of(streamId: number): HolderRecord[] {
    return this.#all.all(streamId).map(({ worker, token, era, holds }) => {
      const history = token === null ? undefined : this.#eras.historyOf(era);
      // What cannot be read counts as nothing saved, which keeps every row.
      const saved = token === null || history === undefined ? undefined : { token, history };
      return { worker, saved, holds: holds !== 0 };
    });
  }

  store(streamId: number, { stored, removed }: HolderChanges): void {
    for (const { worker, saved, holds } of stored) {
      const era = saved === undefined ? null : this.#eras.textOf(saved.history);
      this.#store.run(streamId, worker, saved?.token ?? null, era, Number(holds));
    }
    for (const worker of removed) this.#remove.run(streamId, worker);
  }

  /** Of a stream that is deleted. */
  removeAll(streamId: number): void {
    this.#removeAll.run(streamId);
  }

  /** The ids of the streams that have an entry of the worker. It scans the table. */
  streamsOf(worker: WorkerName): Set<number> {
    return new Set(this.#streamsOf.iterate(worker));
  }
}
