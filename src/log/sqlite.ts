/**
 * The embedded log: one SQLite file, readable with the sqlite3 shell (`SELECT CAST(lines AS TEXT) FROM "rows of events"`).
 * Appends that wait together share one commit; a record is a chunk, not a row. Reads and commits block the process, each for a page or a commit.
 */

import { resolve } from 'node:path';

import type Database from 'better-sqlite3';

import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { LogError, UsageError } from '../core/model/errors.ts';
import { type Era, formatEra, formatHistory, type History, LOG_ID_DIGITS, parseEra } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { madeRow, nextEra } from './era.ts';
import { type Committed, encodeChunks, GroupCommit, type WaitingBatches, type WaitingStreams } from './group-commit.ts';
import type { AppendOptions, Log, LogHealth, LogOptions, ReadOptions, SourceListener } from './log.ts';
import { damaged, sqliteLogError } from './sqlite-errors.ts';
import { type FileOptions, type LogFile, openLogFile, type Synchronous } from './sqlite-file.ts';
import { type Extent, SqliteStream } from './sqlite-stream.ts';
import { logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

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
  readonly era: History;
  readonly declared: ReadonlyMap<StreamName, Stream>;
  /** The declared streams and the catalog. */
  readonly kept: ReadonlyMap<StreamName, SqliteStream>;
  /** Made once: better-sqlite3 makes a transaction in about the time in which an append is encoded. */
  readonly appendAll: Database.Transaction<(waiting: WaitingStreams) => Appended[]>;
}

interface Appended {
  readonly kept: SqliteStream;
  readonly extent: Extent;
  readonly committed: Committed;
}

class SqliteLog implements Log {
  readonly name: string;
  readonly health: LogHealth = 'ok';
  /** As given: it is what the person who reads a message knows. */
  readonly #path: string;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #fileOptions: FileOptions;
  // setImmediate: everything that this turn of the event loop brings, from all connections, shares the fsync.
  readonly #commits = new GroupCommit({
    check: (stream, rows, options) => this.#check(stream, rows, options),
    commit: (waiting) => this.#commit(waiting),
    soon: setImmediate,
  });
  #identity: { readonly id: string; readonly era: History } | undefined;
  #opened: Opened | undefined;

  constructor(
    { path, clock = systemClock, random = systemRandom, maxPages }: SqliteLogOptions,
    synchronous: Synchronous,
  ) {
    this.name = `sqlite ${path}`;
    this.#path = path;
    this.#clock = clock;
    this.#random = random;
    this.#fileOptions = { path: resolve(path), synchronous, maxPages, newId: () => randomHex(random, LOG_ID_DIGITS) };
  }

  get id(): string {
    return this.#requireIdentity().id;
  }

  get era(): History {
    return this.#requireIdentity().era;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    const file = this.#attempt('open', () => openLogFile(this.#fileOptions));
    try {
      this.#opened = this.#attempt('open', () => this.#begin(file, options));
      this.#identity = { id: file.id, era: this.#opened.era };
    } catch (error) {
      file.release();
      throw error;
    }
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  judge(position: Position): Verdict {
    const kept = this.#stream(position.stream);
    return this.#attempt('read', () => kept.judge(position));
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const kept = this.#stream(stream);
    refuseGap(this.name, stream, options.after, kept.extent.bounds);
    const chunks = this.#attempt('read', () => kept.read(options));
    return pageOf(stream, chunks, kept.extent.bounds);
  }

  bounds(stream: StreamName): Bounds {
    return this.#stream(stream).extent.bounds;
  }

  rowsAfter(stream: StreamName, after: Token): number {
    const kept = this.#stream(stream);
    return this.#attempt('read', () => kept.rowsAfter(after));
  }

  watch(listener: SourceListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
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

  /** Begins an era, makes the streams that are new and their rows of the catalog: all or nothing of it. */
  #begin(file: LogFile, options: LogOptions): Opened {
    const { database, id } = file;
    const begin = (): Opened => {
      const wallMs = this.#clock.wallNow();
      const era = formatHistory({ logId: id, ...beginEra(file, this.#path, wallMs, this.#random) });
      const damagedFile = (what: string): LogError => damaged(this.#path, what);
      const openStream = (stream: Pick<Stream, 'name' | 'retain'>): SqliteStream =>
        new SqliteStream({ database, logId: id, stream, damaged: damagedFile });
      const kept = new Map(options.streams.map((stream) => [stream.name, openStream(stream)]));
      const catalog = openStream({ name: options.catalog, retain: {} });
      kept.set(options.catalog, catalog);
      const made = options.streams
        .filter(({ name }) => kept.get(name)!.isNew)
        .map(({ name }) => [madeRow(name, wallMs)]);
      if (made.length > 0) catalog.extent = this.#appendTo(catalog, options.catalog, { batches: made }, era).extent;
      const appendAll = database.transaction((waiting: WaitingStreams) =>
        Array.from(waiting, ([stream, batches]) => this.#appendTo(kept.get(stream)!, stream, batches, era)),
      );
      return {
        ...options,
        file,
        era,
        declared: new Map(options.streams.map((one) => [one.name, one])),
        kept,
        appendAll,
      };
    };
    return database.transaction(begin).immediate();
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
  }

  #commit(waiting: WaitingStreams): Committed[] {
    const { appendAll } = this.#requireOpen();
    // A commit that fails is rolled back as a whole.
    const appended = this.#attempt('append to', () => appendAll.immediate(waiting));
    // Only now, when all of it is durable, does the log reach further.
    return appended.map(({ kept, extent, committed }) => {
      kept.extent = extent;
      return committed;
    });
  }

  #appendTo(kept: SqliteStream, stream: StreamName, batches: WaitingBatches, era: History): Appended {
    const { bounds, rowsUpTo } = kept.extent;
    // Whole milliseconds, for the person at the shell.
    const logMs = Math.floor(this.#clock.now());
    const atMs = Math.floor(this.#clock.wallNow());
    const chunks = encodeChunks({
      batches: batches.batches,
      attributes: batches.attributes,
      stream,
      latest: bounds.latest,
      rowsUpTo,
      history: era,
      atMs,
      logMs,
    });
    const extent = kept.append(chunks, logMs);
    return { kept, extent, committed: { kind: 'rows', stream, latest: extent.bounds.latest, chunks } };
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

  /** What may be appended to: the catalog may not. */
  #requireDeclared(stream: StreamName): Stream {
    const declared = this.#requireOpen().declared.get(stream);
    if (declared === undefined) throw noSuchStream(this.name, stream);
    return declared;
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

  #requireIdentity(): { readonly id: string; readonly era: History } {
    if (this.#identity === undefined) throw notOpen(this.name);
    return this.#identity;
  }
}

function beginEra({ database }: LogFile, path: string, wallMs: Millis, random: Random): Era {
  const newest = database.prepare<[], string>(`SELECT value FROM meta WHERE name = 'era'`).pluck().get();
  const before = parseEra(newest ?? '');
  if (before === undefined) throw damaged(path, 'it does not say which era is its newest');
  const era = nextEra(before.number, wallMs, random);
  database.prepare(`UPDATE meta SET value = ? WHERE name = 'era'`).run(formatEra(era));
  return era;
}
