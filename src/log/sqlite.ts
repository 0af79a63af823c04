/**
 * The embedded log: one SQLite file, readable with the sqlite3 shell (`SELECT CAST(lines AS TEXT)
 * FROM "rows of events"`). Queued appends share one commit, and a record is a chunk, not a row.
 * Reads and commits block the process, each for one page or commit.
 */

import { resolve } from 'node:path';

import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { type ErrorCode, LogError, UsageError } from '../core/model/errors.ts';
import { formatHistory, type History, LOG_ID_DIGITS } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { madeRow, nextEra } from './era.ts';
import { type Committed, encodeChunks, GroupCommit, type WaitingBatches, type WaitingStreams } from './group-commit.ts';
import type { AppendOptions, Log, LogHealth, LogOptions, ReadOptions, SourceListener } from './log.ts';
import { type Boot, LogTime, resumedMs, systemBoot } from './log-time.ts';
import { damaged, isDamage, sqliteLogError, walFull } from './sqlite-errors.ts';
import { type FileOptions, type LogFile, openLogFile, type Synchronous } from './sqlite-file.ts';
import { type Extent, SqliteStream } from './sqlite-stream.ts';
import { logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

/** Options of `sqliteLog`. */
export interface SqliteLogOptions {
  /**
   * The file. It and its directory are created when missing. `-wal`, `-shm` and a permanent empty
   * `.lock` lie beside it.
   */
  readonly path: string;
  /**
   * `full` (default): an append survives a power cut. `normal`: it survives the end of the process;
   * a power cut may lose the newest ones.
   */
  readonly synchronous?: Synchronous;
  /**
   * The most bytes of the file `-wal`, which grows while a reader holds an old snapshot. Above it
   * appends are refused with LOG_FULL until that reader has left. Default 1 GiB, at least 16 MiB.
   */
  readonly maxWalBytes?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The boot of the machine, for tests. @internal */
  readonly boot?: () => Boot | undefined;
  /** The most pages of the file, to simulate a full disk in tests. @internal */
  readonly maxPages?: number;
}

const DEFAULT_MAX_WAL_BYTES = 1024 * 1024 * 1024;
/** Below this a few commits of large batches could reach the bound without any reader. */
const LEAST_MAX_WAL_BYTES = 16 * 1024 * 1024;

/** How often an idle log checks that its file is still its own. */
const FILE_CHECK_INTERVAL_MS: Millis = 1_000;
/** A commit that takes longer counts as slow. A healthy disk needs a hundredth of it. */
const SLOW_COMMIT_MS: Millis = 500;
/** How long a slow commit keeps the log's health at `slow`. */
const SLOW_FOR_MS: Millis = 60_000;

/**
 * A log in an SQLite file. One process at a time has it open; others may read it with the sqlite3
 * shell.
 * @throws UsageError INVALID_OPTION
 */
export function sqliteLog(options: SqliteLogOptions): Log {
  const { path, synchronous = 'full', maxWalBytes = DEFAULT_MAX_WAL_BYTES } = options;
  if (path === '' || path === ':memory:')
    throw new UsageError('INVALID_OPTION', `an sqlite log has a file, not '${path}': use memoryLog() to keep nothing`);
  if (synchronous !== 'full' && synchronous !== 'normal') {
    throw new UsageError(
      'INVALID_OPTION',
      `synchronous of an sqlite log is 'full' or 'normal', not '${String(synchronous)}'`,
    );
  }
  if (!Number.isSafeInteger(maxWalBytes) || maxWalBytes < LEAST_MAX_WAL_BYTES) {
    throw new UsageError(
      'INVALID_OPTION',
      `maxWalBytes of an sqlite log is an integer from ${LEAST_MAX_WAL_BYTES}, not ${maxWalBytes}`,
    );
  }
  return new SqliteLog({ ...options, synchronous, maxWalBytes });
}

interface Opened extends LogOptions {
  readonly file: LogFile;
  readonly era: History;
  readonly time: LogTime;
  readonly declared: ReadonlyMap<StreamName, Stream>;
  /** The declared streams and the catalog. */
  readonly kept: ReadonlyMap<StreamName, SqliteStream>;
}

interface Appended {
  readonly kept: SqliteStream;
  readonly extent: Extent;
  readonly committed: Committed;
}

type CheckedOptions = SqliteLogOptions & Required<Pick<SqliteLogOptions, 'synchronous' | 'maxWalBytes'>>;

/** After these errors the log refuses appends until it is opened again. */
const STOPPING_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['LOG_FENCED', 'LOG_OUTCOME_UNKNOWN']);
/** After these errors a log still closes, without saving its extents. */
const UNSAVED_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([...STOPPING_CODES, 'LOG_LOCKED', 'LOG_FULL']);

class SqliteLog implements Log {
  readonly name: string;
  /** As given by the caller: the name that a reader of messages knows. */
  readonly #path: string;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #boot: () => Boot | undefined;
  readonly #fileOptions: FileOptions;
  // setImmediate: everything from one turn of the event loop, of all connections, shares the fsync.
  readonly #commits = new GroupCommit({
    check: (stream, rows, options) => this.#check(stream, rows, options),
    commit: (waiting) => this.#commit(waiting),
    soon: setImmediate,
  });
  #identity: { readonly id: string; readonly era: History } | undefined;
  #opening: Promise<void> | undefined;
  #opened: Opened | undefined;
  /** Why it refuses appends until it is closed and opened again. */
  #stopped: LogError | undefined;
  #slowAt: Millis = -Infinity;
  #checks: NodeJS.Timeout | undefined;

  constructor(options: CheckedOptions) {
    const { path, synchronous, maxWalBytes, maxPages } = options;
    const { clock = systemClock, random = systemRandom, boot = systemBoot } = options;
    this.name = `sqlite ${path}`;
    this.#path = path;
    this.#clock = clock;
    this.#random = random;
    this.#boot = boot;
    const newId = (): string => randomHex(random, LOG_ID_DIGITS);
    this.#fileOptions = { path: resolve(path), synchronous, maxWalBytes, maxPages, newId };
  }

  get id(): string {
    return this.#requireIdentity().id;
  }

  get era(): History {
    return this.#requireIdentity().era;
  }

  get health(): LogHealth {
    if (this.#stopped !== undefined) return 'failed';
    const isSlow = this.#clock.now() - this.#slowAt < SLOW_FOR_MS || this.#opened?.file.isWalHigh === true;
    return isSlow ? 'slow' : 'ok';
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined || this.#opening !== undefined) throw logIsOpen(this.name);
    this.#opening = this.#open(options);
    try {
      await this.#opening;
    } finally {
      this.#opening = undefined;
    }
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  judge(position: Position): Verdict {
    return this.#read(position.stream, (kept) => kept.judge(position));
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const { bounds } = this.#stream(stream).extent;
    refuseGap(this.name, stream, options.after, bounds);
    return pageOf(
      stream,
      this.#read(stream, (kept) => kept.read(options)),
      bounds,
    );
  }

  bounds(stream: StreamName): Bounds {
    return this.#stream(stream).extent.bounds;
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.#read(stream, (kept) => kept.rowsAfter(after));
  }

  watch(listener: SourceListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    const kept = this.#stream(stream);
    kept.extent = this.#write('trim', () => kept.trim(upTo));
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => {});
    try {
      this.#commits.flush();
      this.#saveExtents();
    } finally {
      clearInterval(this.#checks);
      const opened = this.#opened;
      this.#opened = undefined;
      if (opened !== undefined) await this.#attemptAsync('close', async () => opened.file.close());
    }
  }

  async #open(options: LogOptions): Promise<void> {
    const file = await this.#attemptAsync('open', async () => openLogFile(this.#fileOptions));
    try {
      this.#opened = this.#attempt('open', () => this.#begin(file, options));
    } catch (error) {
      file.release();
      throw error;
    }
    this.#identity = { id: file.id, era: this.#opened.era };
    this.#stopped = undefined;
    this.#slowAt = -Infinity;
    // Not the injected clock: its timers keep a process alive, and an open log must not.
    this.#checks = setInterval(() => this.#checkFile(), FILE_CHECK_INTERVAL_MS).unref();
  }

  /**
   * Saves the extents and the time. They help the next open to see missing chunks and the time that
   * passed, so a failure to write them is ignored.
   */
  #saveExtents(): void {
    if (this.#opened === undefined || this.#stopped !== undefined) return;
    const { file, time, kept } = this.#opened;
    try {
      this.#write('close', () => {
        for (const stream of kept.values()) if (stream.isUnsaved) stream.saveExtent();
        file.writeTimeMark(time.mark(this.#boot()));
      });
    } catch (error) {
      if (!(error instanceof LogError && UNSAVED_CODES.has(error.code))) throw error;
    }
  }

  /** Begins an era and creates new streams and their catalog rows, in one transaction. */
  #begin(file: LogFile, options: LogOptions): Opened {
    const { database, id } = file;
    const damagedFile = (what: string): LogError => damaged(this.#path, what);
    const openStream = (stream: Pick<Stream, 'name' | 'retain'>): SqliteStream =>
      new SqliteStream({ database, logId: id, stream, damaged: damagedFile });
    const wallMs = this.#clock.wallNow();
    return file.begin(
      (newest) => nextEra(newest.number, wallMs, this.#random),
      (begun): Opened => {
        const era = formatHistory({ logId: id, ...begun });
        const kept = new Map(options.streams.map((stream) => [stream.name, openStream(stream)]));
        const made = options.streams.filter(({ name }) => kept.get(name)!.isNew);
        const catalog = openStream({ name: options.catalog, retain: {} });
        kept.set(options.catalog, catalog);
        const time = this.#resumeTime(file, [...kept.values()]);
        const declared = new Map(options.streams.map((stream) => [stream.name, stream]));
        const opened = { ...options, file, era, time, declared, kept };
        if (made.length > 0) {
          const batches = made.map(({ name }) => [madeRow(name, wallMs)]);
          catalog.extent = this.#appendTo(opened, options.catalog, { batches }).extent;
        }
        return opened;
      },
    );
  }

  #resumeTime(file: LogFile, streams: readonly SqliteStream[]): LogTime {
    const boot = this.#boot();
    const newestMs = Math.max(0, ...streams.map((stream) => stream.newestLogMs));
    const startMs = resumedMs({ mark: file.readTimeMark(), newestMs, wallMs: this.#clock.wallNow(), boot });
    const time = new LogTime(startMs, this.#clock);
    // If this process is killed, the next one continues from here.
    file.writeTimeMark(time.mark(boot));
    return time;
  }

  #checkFile(): void {
    const { file } = this.#requireOpen();
    if (this.#stopped !== undefined) return;
    try {
      file.checkPlace();
      file.checkContent();
    } catch (error) {
      // A commit will meet any other error too.
      if (error instanceof LogError && error.code === 'LOG_FENCED') this.#stop(error);
    }
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
    const { damage } = this.#stream(stream);
    if (damage !== undefined) throw damage;
  }

  #commit(waiting: WaitingStreams): Committed[] {
    const opened = this.#requireOpen();
    const startedAt = this.#clock.now();
    try {
      const appended = this.#write('append to', () => {
        const { fullWalBytes } = opened.file;
        if (fullWalBytes !== undefined) throw walFull(this.#path, fullWalBytes);
        return Array.from(waiting, ([stream, batches]) => this.#appendTo(opened, stream, batches));
      });
      // The extents move only now, when everything is durable.
      return appended.map(({ kept, extent, committed }) => {
        kept.extent = extent;
        return committed;
      });
    } finally {
      const endedAt = this.#clock.now();
      if (endedAt - startedAt > SLOW_COMMIT_MS) this.#slowAt = endedAt;
    }
  }

  #appendTo({ era, time, kept: all }: Opened, stream: StreamName, waiting: WaitingBatches): Appended {
    const kept = all.get(stream)!;
    const { bounds, rowsUpTo } = kept.extent;
    const logMs = time.now();
    const atMs = Math.floor(this.#clock.wallNow());
    const chunks = encodeChunks({ stream, waiting, latest: bounds.latest, rowsUpTo, history: era, atMs, logMs });
    const extent = this.#watchDamage(kept, 'append to', () => kept.append(chunks, logMs));
    return { kept, extent, committed: { kind: 'rows', stream, latest: extent.bounds.latest, chunks } };
  }

  /** Does `work` in one transaction. */
  #write<T>(doing: string, work: () => T): T {
    const { file } = this.#requireOpen();
    if (this.#stopped !== undefined) throw this.#stopped;
    try {
      return this.#attempt(doing, () => file.transact(work));
    } catch (error) {
      if (error instanceof LogError && STOPPING_CODES.has(error.code)) this.#stop(error);
      throw error;
    }
  }

  #read<T>(stream: StreamName, work: (kept: SqliteStream) => T): T {
    const kept = this.#stream(stream);
    // Without this a log that lost its file would report its old positions, and followers would
    // believe they are live.
    if (this.#stopped?.code === 'LOG_FENCED') throw this.#stopped;
    return this.#watchDamage(kept, 'read', () => work(kept));
  }

  #stop(reason: LogError): void {
    this.#stopped ??= reason;
  }

  /** A stream known to be damaged refuses appends, because new rows could not be read back. */
  #watchDamage<T>(kept: SqliteStream, doing: string, work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      const error = sqliteLogError(this.#path, doing, thrown);
      if (error instanceof LogError && isDamage(thrown)) kept.damage = error;
      throw error;
    }
  }

  #attempt<T>(doing: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw sqliteLogError(this.#path, doing, error);
    }
  }

  async #attemptAsync<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw sqliteLogError(this.#path, doing, error);
    }
  }

  /** The streams that may be appended to: every declared one, not the catalog. */
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
