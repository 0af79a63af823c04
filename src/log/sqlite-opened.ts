/**
 * An sqlite log while it is open: its file and its streams, the transactions that change them, and
 * why it must stop.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import type { Declarations } from '../core/model/declarations.ts';
import { type ErrorCode, LogError } from '../core/model/errors.ts';
import { formatHistory, type History } from '../core/model/history.ts';
import type { Bounds } from '../core/model/page.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import { DEFAULT_ID_RETENTION_MS, type KnownId } from './append-ids.ts';
import { AgeSweep } from './age-sweep.ts';
import { nextEra } from './era.ts';
import type { CommitPlan } from './group-commit.ts';
import type { BackupOptions, Held, LogOptions, SourceEvent } from './log.ts';
import { type Boot, LogTime, resumedMs } from './log-time.ts';
import { copyDatabase } from './sqlite-backup.ts';
import { damaged, isDamage, isFull, sqliteLogError, walFull } from './sqlite-errors.ts';
import type { LogFile } from './sqlite-file.ts';
import { IdTable } from './sqlite-ids.ts';
import { Removals } from './sqlite-removal.ts';
import type { SqliteStream } from './sqlite-stream.ts';
import { StreamTable } from './sqlite-streams.ts';
import { StreamUpkeep } from './sqlite-upkeep.ts';
import { type Changes, LogWriter } from './sqlite-writer.ts';
import type { StreamHolders } from './stream-holders.ts';
import { noSuchStream, notOpen } from './usage-errors.ts';

/** How often an idle log checks that its file is still its own. */
const FILE_CHECK_INTERVAL_MS: Millis = 1_000;

/** After these errors the log refuses appends until it is opened again. */
const STOPPING_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['LOG_FENCED', 'LOG_OUTCOME_UNKNOWN']);
/** After these errors a log still closes, without saving its extents. */
const UNSAVED_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([...STOPPING_CODES, 'LOG_LOCKED', 'LOG_FULL']);

export interface OpenedEnvironment {
  /** Of the log, for messages. */
  readonly name: string;
  /** As given by the caller, for messages. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly boot: () => Boot | undefined;
  /** Tells what happens apart from the calls of the log's user. */
  readonly announce: (events: readonly SourceEvent[]) => void;
  /** It refuses appends from now on. */
  readonly handleStopped: (reason: LogError) => void;
}

/** What a read does with a stream that is made, and with one that is not. */
export interface Reading<T> {
  readonly made: (stream: SqliteStream) => T;
  readonly unmade: () => T;
}

export class OpenedLog {
  readonly id: string;
  readonly limits: BatchLimits;
  readonly catalog: StreamName;
  readonly streams: StreamTable;
  readonly #environment: OpenedEnvironment;
  readonly #file: LogFile;
  readonly #declarations: Declarations;
  readonly #time: LogTime;
  readonly #ids: IdTable;
  readonly #writer: LogWriter;
  readonly #removals: Removals;
  readonly #upkeep: StreamUpkeep;
  readonly #ages: AgeSweep;
  readonly #backups = new Set<Promise<void>>();
  #checks: NodeJS.Timeout | undefined;
  isOpen = true;
  /** Why it refuses appends until it is closed and opened again. */
  stopped: LogError | undefined;

  /**
   * Begins an era and reads the names of the streams, in one transaction. Releases the file when
   * that fails.
   * @throws LogError; errors of SQLite
   */
  static begin(file: LogFile, options: LogOptions, environment: OpenedEnvironment): OpenedLog {
    const { clock, random } = environment;
    const wallMs = clock.wallNow();
    try {
      const opened = file.begin(
        (newest) => nextEra(newest.number, wallMs, random),
        (begun) => new OpenedLog(file, options, environment, formatHistory({ logId: file.id, ...begun })),
      );
      opened.#removals.start();
      opened.#ages.start(options.declarations);
      // Not the injected clock: its timers keep a process alive, and an open log must not.
      opened.#checks = setInterval(() => opened.#checkFile(), FILE_CHECK_INTERVAL_MS).unref();
      return opened;
    } catch (error) {
      file.release();
      throw error;
    }
  }

  private constructor(file: LogFile, options: LogOptions, environment: OpenedEnvironment, era: History) {
    const { database } = file;
    const { path, clock, random } = environment;
    const { declarations, catalog, idRetentionMs = DEFAULT_ID_RETENTION_MS } = options;
    this.id = file.id;
    this.limits = options.limits;
    this.catalog = catalog;
    this.#environment = environment;
    this.#file = file;
    this.#declarations = declarations;
    this.streams = new StreamTable({ file, declarations, catalog, damaged: (what) => damaged(path, what) });
    this.#ids = new IdTable(database, this.streams.chunks.eras, idRetentionMs);
    this.#time = resumeTime(file, this.streams.chunks.newestLogMs(), environment);
    this.#writer = new LogWriter({
      file,
      streams: this.streams,
      ids: this.#ids,
      time: this.#time,
      clock,
      random,
      era,
      watchDamage: (stream, doing, work) => this.#watchDamage(stream, doing, work),
    });
    this.#removals = new Removals(database, (work) => {
      this.#checkWal();
      this.#writeOnFullDisk('delete from', work);
    });
    this.#ages = new AgeSweep(clock, () => this.#dropAged());
    this.#upkeep = new StreamUpkeep((streams) => environment.announce(this.#storeHolders(streams)));
  }

  get era(): History {
    return this.#writer.era;
  }

  get isWalHigh(): boolean {
    return this.isOpen && this.#file.isWalHigh;
  }

  /** Whether the stream may be appended to. The catalog may not. */
  declares(stream: StreamName): boolean {
    // A look at the streams that are made is cheaper than patterns.
    return this.streams.find(stream) !== undefined || this.#declarations.has(stream);
  }

  /** A stream, or the catalog. Undefined: it is not made. */
  find(stream: StreamName): SqliteStream | undefined {
    if (stream === this.catalog) return this.streams.catalog;
    const kept = this.streams.find(stream);
    if (kept === undefined && !this.declares(stream)) throw noSuchStream(this.#environment.name, stream);
    return kept;
  }

  findId(stream: StreamName, id: string): KnownId | undefined {
    const kept = this.find(stream);
    if (kept === undefined) return undefined;
    return this.#attempt('read', () => this.#ids.find(kept.id, id, this.#time.now()));
  }

  read<T>(stream: StreamName, { made, unmade }: Reading<T>): T {
    const kept = this.find(stream);
    // Without this a log that lost its file would report its old positions, and followers would
    // believe they are live.
    if (this.stopped?.code === 'LOG_FENCED') throw this.stopped;
    return kept === undefined ? unmade() : this.#watchDamage(kept, 'read', () => made(kept));
  }

  boundsOf(kept: SqliteStream): Bounds {
    try {
      return this.#watchDamage(kept, 'read', () => kept.extent.bounds);
    } catch (error) {
      // A damaged stream must not hide the others from a caller that asks for all. Its rows and
      // positions are refused.
      if (isDamage(error)) return kept.savedBounds;
      throw error;
    }
  }

  /**
   * @throws UsageError NO_SUCH_STREAM; LogError LOG_DAMAGED when the stream is known to be damaged, or
   * is found so at its first use
   */
  checkAppend(stream: StreamName): void {
    const kept = this.streams.find(stream);
    if (kept === undefined) {
      if (!this.#declarations.has(stream)) throw noSuchStream(this.#environment.name, stream);
      return;
    }
    if (kept.damage !== undefined) throw kept.damage;
    if (!kept.isRead) this.#watchDamage(kept, 'append to', () => kept.extent);
  }

  append(plan: CommitPlan): readonly SourceEvent[] {
    const write = (): Changes =>
      this.#write('append to', () => {
        this.#checkWal();
        return this.#writer.append(plan);
      });
    try {
      return this.#apply(write());
    } catch (error) {
      if (!isFull(error)) throw error;
      // What retention drops makes room within the file.
      this.#environment.announce(this.#shed(plan.streams.keys()));
      this.#file.room.reuseWal();
      return this.#apply(write());
    }
  }

  /**
   * Changes streams in one transaction, also on a full disk. They move in memory only when that is
   * durable.
   */
  change(doing: string, change: (writer: LogWriter) => Changes): readonly SourceEvent[] {
    return this.#apply(this.#writeOnFullDisk(doing, () => change(this.#writer)));
  }

  #apply(changes: Changes): readonly SourceEvent[] {
    this.#writer.apply(changes);
    for (const stream of changes.gone) this.#upkeep.forget(stream);
    for (const stream of changes.replaced) this.#upkeep.forget(stream);
    for (const stream of changes.surplus) this.#upkeep.add(stream);
    for (const [stream] of changes.moved) if (stream.hasHolderChanges) this.#upkeep.add(stream);
    // A trim makes room at once, as its caller expects. Deletions take their turn.
    const isTrim = changes.gone.length === 0 && changes.replaced.length === 0;
    if (changes.hasRemovals && isTrim) this.#removals.startNow();
    else if (changes.hasRemovals) this.#removals.start();
    return changes.events;
  }

  /** Tells the holders of a stream something, which is written soon. */
  tellHolders(stream: StreamName, tell: (holders: StreamHolders) => Held): Held {
    return this.read(stream, {
      made: (kept) => {
        const { holders } = kept;
        if (holders === undefined) return 'other';
        const held = tell(holders);
        if (holders.hasChanges) this.#upkeep.add(kept);
        return held;
      },
      unmade: () => 'other',
    });
  }

  /** Resolves to the streams that the worker held. */
  forgetWorker(worker: WorkerName): { readonly forgotten: StreamName[]; readonly events: readonly SourceEvent[] } {
    if (this.stopped !== undefined) throw this.stopped;
    // What waits is not in the table yet.
    const waiting = this.#upkeep.takeAll();
    const storedOf = this.streams.holders.streamsOf(worker);
    const forgotten: SqliteStream[] = [];
    for (const stream of this.streams.values()) {
      const { untilSavedBy } = stream.retain;
      if (untilSavedBy === undefined) continue;
      if (!storedOf.has(stream.id) && !untilSavedBy.includes(worker) && !waiting.includes(stream)) continue;
      try {
        if (this.#watchDamage(stream, 'read', () => stream.forgetHolder(worker))) forgotten.push(stream);
      } catch (error) {
        // What is damaged is left as it is, and the others go on.
        if (stream.damage === undefined) throw error;
      }
    }
    const changed = new Set([...waiting, ...forgotten]);
    try {
      const events = this.#storeHolders(changed);
      return { forgotten: forgotten.map(({ name }) => name), events };
    } catch (error) {
      // It is tried again: in memory the worker is forgotten already.
      for (const stream of changed) this.#upkeep.add(stream);
      throw error;
    }
  }

  async backup(path: string, options: BackupOptions = {}): Promise<void> {
    const check = (): void => {
      if (!this.isOpen) throw notOpen(this.#environment.name);
      if (this.stopped !== undefined) throw this.stopped;
      this.#file.checkPlace();
    };
    const copying = copyDatabase({ ...options, database: this.#file.database, path, check });
    const ended = copying.catch(() => {}).then(() => void this.#backups.delete(ended));
    this.#backups.add(ended);
    return copying;
  }

  /**
   * Saves the extents and the time. They help the next open to see missing chunks and the time that
   * passed, so a failure to write them is ignored.
   */
  saveExtents(): void {
    if (this.stopped !== undefined) return;
    try {
      this.#write('close', () => {
        this.#writer.apply(this.#writer.storeHolders(this.#upkeep.takeAll()));
        this.streams.saveExtents();
        this.#file.writeTimeMark(this.#time.mark(this.#environment.boot()));
      });
    } catch (error) {
      if (!(error instanceof LogError && UNSAVED_CODES.has(error.code))) throw error;
    }
  }

  async close(): Promise<void> {
    this.isOpen = false;
    clearInterval(this.#checks);
    this.#removals.stop();
    this.#ages.stop();
    this.#upkeep.stop();
    await Promise.all(this.#backups);
    try {
      await this.#file.close();
    } catch (error) {
      throw sqliteLogError(this.#environment.path, 'close', error);
    }
  }

  #shed(names: Iterable<StreamName>): readonly SourceEvent[] {
    const streams = [...names].map((name) => this.streams.find(name)).filter((stream) => stream !== undefined);
    return this.#storeHolders(streams);
  }

  #storeHolders(streams: Iterable<SqliteStream>): readonly SourceEvent[] {
    return this.change('keep holders of', (writer) => writer.shed(streams, writer.storeHolders(streams)));
  }

  /** Lets streams drop what is too old, a few at a time. */
  #dropAged(): void {
    if (this.stopped !== undefined) return;
    const now = this.#time.now();
    for (const stream of this.streams.values()) if (stream.mayHaveAged(now)) this.#upkeep.add(stream, true);
  }

  /** @throws LogError LOG_FULL */
  #checkWal(): void {
    const { fullWalBytes } = this.#file;
    if (fullWalBytes !== undefined) throw walFull(this.#environment.path, fullWalBytes);
  }

  #checkFile(): void {
    if (this.stopped !== undefined) return;
    try {
      this.#file.checkPlace();
      this.#file.checkContent();
      this.#file.room.restore();
    } catch (error) {
      // A commit will meet any other error too.
      if (error instanceof LogError && error.code === 'LOG_FENCED') this.#stop(error);
    }
  }

  /** Does `work` in one transaction. */
  #write<T>(doing: string, work: () => T): T {
    if (this.stopped !== undefined) throw this.stopped;
    try {
      return this.#attempt(doing, () => this.#file.transact(work));
    } catch (error) {
      if (error instanceof LogError && STOPPING_CODES.has(error.code)) this.#stop(error);
      throw error;
    }
  }

  /** As `#write`. Where the disk is full, it gets the room that is kept for it. */
  #writeOnFullDisk<T>(doing: string, work: () => T): T {
    try {
      return this.#write(doing, work);
    } catch (error) {
      if (!isFull(error)) throw error;
      return this.#attempt(doing, () => this.#file.room.use(() => this.#write(doing, work)));
    }
  }

  #stop(reason: LogError): void {
    if (this.stopped !== undefined) return;
    this.stopped = reason;
    this.#environment.handleStopped(reason);
  }

  /** A stream known to be damaged refuses appends, because new rows could not be read back. */
  #watchDamage<T>(kept: SqliteStream, doing: string, work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      const error = sqliteLogError(this.#environment.path, doing, thrown);
      if (error instanceof LogError && isDamage(thrown)) kept.damage = error;
      throw error;
    }
  }

  #attempt<T>(doing: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw sqliteLogError(this.#environment.path, doing, error);
    }
  }
}

function resumeTime(file: LogFile, newestMs: Millis, { clock, boot }: OpenedEnvironment): LogTime {
  const now = boot();
  const startMs = resumedMs({ mark: file.readTimeMark(), newestMs, wallMs: clock.wallNow(), boot: now });
  const time = new LogTime(startMs, clock);
  // If this process is killed, the next one continues from here.
  file.writeTimeMark(time.mark(now));
  return time;
}
