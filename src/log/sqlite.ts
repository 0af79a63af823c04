/**
 * The embedded log: one SQLite file, readable with the sqlite3 shell (`SELECT CAST(lines AS TEXT) FROM "rows of events"`).
 * GroupCommit that wait together share one commit; a record is a chunk, not a row. Reads and commits block the process, each for a page or a commit.
 */

import { resolve } from 'node:path';

import type Database from 'better-sqlite3';

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkBatch } from '../core/model/batch.ts';
import { LogError, UsageError } from '../core/model/errors.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { GroupCommit, type Committed, encodeChunks, type WaitingBatches } from './group-commit.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import type { HintListener, Log, LogOptions, ReadOptions } from './log.ts';
import { LOG_ID_DIGITS, logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';
import { damaged, sqliteLogError } from './sqlite-errors.ts';
import { type FileOptions, type LogFile, openLogFile, type Synchronous } from './sqlite-file.ts';
import { type Extent, SqliteStream } from './sqlite-stream.ts';

export interface SqliteLogOptions {
  /** The file; it and its directory are made when missing. Beside it lie `-wal`, `-shm` and, for good, an empty `.lock`. */
  readonly path: string;
  /** `full` (the default): an append survives a power cut. `normal`: it survives the end of the process, and a power cut may take the last ones. */
  readonly synchronous?: Synchronous;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The most pages that the file may have: a full disk, for tests. @internal */
  readonly maxPages?: number;
}

/**
 * A log in an SQLite file, with one process at a time that has it open; others may read it with the sqlite3 shell.
 * @throws UsageError INVALID_OPTION
 */
export function sqliteLog(options: SqliteLogOptions): Log {
  const { path, synchronous = 'full' } = options;
  if (path === '' || path === ':memory:')
    throw new UsageError('INVALID_OPTION', `an sqlite log has a file, not '${path}': use memoryLog() to keep nothing`);
  if (synchronous !== 'full' && synchronous !== 'normal') {
    throw new UsageError(
      'INVALID_OPTION',
      `synchronous of an sqlite log is 'full' or 'normal', not '${String(synchronous)}'`,
    );
  }
  return new SqliteLog(options, synchronous);
}

interface Opened extends LogOptions {
  readonly file: LogFile;
  readonly kept: ReadonlyMap<StreamName, SqliteStream>;
  /** Made once: better-sqlite3 makes a transaction in about the time in which an append is encoded. */
  readonly appendAll: Database.Transaction<(batches: WaitingBatches, now: number) => Appended[]>;
}

interface Appended {
  readonly kept: SqliteStream;
  readonly extent: Extent;
  readonly committed: Committed;
}

class SqliteLog implements Log {
  readonly name: string;
  /** As given: it is what the person who reads a message knows. */
  readonly #path: string;
  readonly #clock: Clock;
  readonly #fileOptions: FileOptions;
  // setImmediate: everything that this turn of the event loop brings, from all connections, shares the fsync.
  readonly #commits = new GroupCommit({
    check: (stream, rows) => this.#check(stream, rows),
    commit: (batches) => this.#commit(batches),
    soon: setImmediate,
  });
  #id: string | undefined;
  #opened: Opened | undefined;

  constructor(
    { path, clock = systemClock, random = systemRandom, maxPages }: SqliteLogOptions,
    synchronous: Synchronous,
  ) {
    this.name = `sqlite ${path}`;
    this.#path = path;
    this.#clock = clock;
    this.#fileOptions = { path: resolve(path), synchronous, maxPages, newId: () => randomHex(random, LOG_ID_DIGITS) };
  }

  get id(): string {
    if (this.#id === undefined) throw notOpen(this.name);
    return this.#id;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    const file = this.#attempt('open', () => openLogFile(this.#fileOptions));
    try {
      const kept = this.#attempt('open', () => this.#openStreams(file.database, options));
      const appendAll = file.database.transaction((batches: WaitingBatches, now: number) =>
        Array.from(batches, ([stream, ofStream]) => this.#appendTo(stream, ofStream, now)),
      );
      this.#opened = { ...options, file, kept, appendAll };
      this.#id = file.id;
    } catch (error) {
      file.release();
      throw error;
    }
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    return this.#commits.append(stream, rows);
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const kept = this.#stream(stream);
    refuseGap(this.name, stream, options.after, kept.extent);
    const chunks = this.#attempt('read', () => kept.read(options));
    return pageOf(stream, chunks, kept.extent.latest);
  }

  bounds(stream: StreamName): Bounds {
    const { earliest, latest } = this.#stream(stream).extent;
    return { earliest, latest };
  }

  watch(listener: HintListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    const kept = this.#stream(stream);
    kept.extent = this.#attempt('trim', () => this.#transact(() => kept.trim(upTo)));
  }

  async close(): Promise<void> {
    try {
      this.#commits.flush();
      this.#saveExtents();
    } finally {
      const opened = this.#opened;
      this.#opened = undefined;
      if (opened !== undefined) this.#attempt('close', () => opened.file.close());
    }
  }

  /** It only helps to see what is missing when the file is opened again: where there is no room for it, or someone else writes, it is left out. */
  #saveExtents(): void {
    const unsaved = [...(this.#opened?.kept.values() ?? [])].filter(({ isUnsaved }) => isUnsaved);
    if (unsaved.length === 0) return;
    try {
      this.#attempt('close', () => this.#transact(() => unsaved.forEach((stream) => stream.saveExtent())));
    } catch (error) {
      if (!(error instanceof LogError && (error.code === 'LOG_LOCKED' || error.code === 'LOG_FULL'))) throw error;
    }
  }

  #openStreams(database: Database.Database, { streams }: LogOptions): Map<StreamName, SqliteStream> {
    const damagedFile = (what: string): LogError => damaged(this.#path, what);
    const open = database.transaction(() =>
      streams.map((stream): [StreamName, SqliteStream] => [
        stream.name,
        new SqliteStream(database, stream, damagedFile),
      ]),
    );
    return new Map(open.immediate());
  }

  #check(stream: StreamName, rows: readonly RowText[]): void {
    this.#stream(stream);
    checkBatch(stream, rows, this.#requireOpen().limits);
  }

  #commit(batches: WaitingBatches): Committed[] {
    // Whole milliseconds, for the person at the shell.
    const now = Math.floor(this.#clock.now());
    const { appendAll } = this.#requireOpen();
    // A commit that fails is rolled back as a whole.
    const appended = this.#attempt('append to', () => appendAll.immediate(batches, now));
    // Only now, when all of it is durable, does the log reach further.
    return appended.map(({ kept, extent, committed }) => {
      kept.extent = extent;
      return committed;
    });
  }

  #appendTo(stream: StreamName, batches: readonly (readonly RowText[])[], now: number): Appended {
    const kept = this.#stream(stream);
    const chunks = encodeChunks({ stream, latest: kept.extent.latest, batches, now });
    const extent = kept.append(chunks, now);
    return { kept, extent, committed: { stream, latest: extent.latest, chunks } };
  }

  #transact<T>(work: () => T): T {
    return this.#requireOpen().file.database.transaction(work).immediate();
  }

  #attempt<T>(doing: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw sqliteLogError(this.#path, doing, error);
    }
  }

  #stream(stream: StreamName): SqliteStream {
    const kept = this.#requireOpen().kept.get(stream);
    if (kept === undefined) throw noSuchStream(this.name, stream);
    return kept;
  }

  #requireOpen(): Opened {
    if (this.#opened === undefined) throw notOpen(this.name);
    return this.#opened;
  }
}
