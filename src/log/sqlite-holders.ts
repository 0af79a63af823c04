/**
 * Who holds rows of the streams of an sqlite log back: the table, and when it is written. What a
 * worker has saved moves each second for each stream, so it is written in steps, apart from the
 * commits of rows.
 */

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import { LogError } from '../core/model/errors.ts';
import type { WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { EraTexts } from './sqlite-chunk-record.ts';
import type { SqliteStream } from './sqlite-stream.ts';
import type { HolderChanges, HolderRecord } from './stream-holders.ts';

interface StoredHolder {
  readonly worker: WorkerName;
  readonly token: Token | null;
  readonly era: unknown;
  readonly holds: number;
}

/** The table `holders`. Knows no transactions. */
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

/** What was saved is written this much later: all that moved meanwhile costs one write. */
const INTERVAL_MS: Millis = 1_000;
/** The most streams of one step, which takes a few milliseconds. */
const MAX_STEP_STREAMS = 100;
/** From step to step, between which appends have their turn. */
const PAUSE_MS: Millis = 10;

const PASSING_CODES: ReadonlySet<string> = new Set(['LOG_LOCKED', 'LOG_FULL']);

/** Streams whose holders have changed, until that is written and what it frees is dropped. */
export class HolderWrites {
  readonly #write: (streams: readonly SqliteStream[]) => void;
  readonly #waiting = new Set<SqliteStream>();
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Infinity;

  /** `write` writes the changes of some streams in a transaction, and throws when it cannot. */
  constructor(write: (streams: readonly SqliteStream[]) => void) {
    this.#write = write;
  }

  /** The holders of a stream have changed, or more of its rows can be dropped. */
  add(stream: SqliteStream, isUrgent: boolean = stream.holders?.isUrgent === true): void {
    this.#waiting.add(stream);
    this.#continueIn(isUrgent ? 0 : INTERVAL_MS);
  }

  /** The stream is gone. */
  forget(stream: SqliteStream): void {
    this.#waiting.delete(stream);
  }

  /** Everything that waits, which the caller writes. */
  takeAll(): SqliteStream[] {
    const all = [...this.#waiting];
    this.#waiting.clear();
    return all;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueMs = Infinity;
  }

  // Not the injected clock: its timers keep a process alive, and these must not.
  #continueIn(ms: Millis): void {
    if (ms >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = ms;
    this.#timer = setTimeout(() => this.#goOn(), ms).unref();
  }

  #goOn(): void {
    this.stop();
    const step = [...this.#waiting].slice(0, MAX_STEP_STREAMS);
    for (const stream of step) this.#waiting.delete(stream);
    try {
      this.#write(step);
      if (this.#waiting.size > 0) this.#continueIn(PAUSE_MS);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      // Anything else is met by appends and reads too, and the log has stopped.
      if (!PASSING_CODES.has(error.code)) return;
      for (const stream of step) this.#waiting.add(stream);
      this.#continueIn(INTERVAL_MS);
    }
  }
}
