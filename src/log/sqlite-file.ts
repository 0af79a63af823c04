/**
 * Opens the file of an sqlite log: creates a new file, recognises one of ours, and locks it against
 * other writers.
 */

import { existsSync } from 'node:fs';

import Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import { LogError } from '../core/model/errors.ts';
import { type Era, formatEra, isLogId, ORIGIN_ERA, parseEra } from '../core/model/history.ts';
import { parseMark, type TimeMark } from './log-time.ts';
import { damaged, fenced, isInputOutputError, outcomeUnknown } from './sqlite-errors.ts';
import { FileGuard } from './sqlite-guard.ts';
import { type Lock, lockFile } from './sqlite-lock.ts';
import { fileIdentity, makeFile, realPathOf } from './sqlite-place.ts';
import { rewriteWal } from './sqlite-rewrite.ts';
import { WalKeeper } from './sqlite-wal.ts';

/** `Rowc`: marks a Rowcast log among SQLite databases, for us and for `file`. */
const APPLICATION_ID = 0x526f7763;
/** Stored in `user_version`. Raised when an older Rowcast could not read a newer file. */
const FORMAT_VERSION = 3;

/** How long a commit blocks the process while a person writes with the sqlite3 shell. */
const BUSY_TIMEOUT_MS: Millis = 250;
/**
 * Measured with commits of one row, commits of thousands, and reads. 4 KiB is best for the first,
 * 16 KiB for the others; 8 KiB is close to both.
 */
const PAGE_BYTES = 8 * 1024;
const TABLES = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE streams (
    name TEXT PRIMARY KEY,
    rows_table TEXT NOT NULL UNIQUE COLLATE NOCASE,
    latest INTEGER NOT NULL,
    earliest INTEGER NOT NULL,
    rows_up_to INTEGER NOT NULL,
    base_era TEXT NOT NULL
  ) WITHOUT ROWID;`;

export type Synchronous = 'full' | 'normal';

export interface FileOptions {
  readonly path: string;
  readonly synchronous: Synchronous;
  readonly maxWalBytes?: number;
  readonly maxPages?: number | undefined;
  /** Makes the log id of a new file. */
  readonly newId?: () => string;
  /** Refuses a file that is missing or empty. */
  readonly mustExist?: boolean;
}

/**
 * Opens and locks the file.
 * @throws Errors of SQLite and the system as they are; the caller names them.
 */
export async function openLogFile(options: FileOptions): Promise<LogFile> {
  if (options.mustExist === true && !existsSync(options.path))
    throw new LogError('LOG_UNAVAILABLE', `cannot open ${options.path}: there is no such file`);
  const path = realPathOf(options.path);
  makeFile(path);
  const lock = await lockFile(path);
  let database: Database.Database | undefined;
  try {
    const identity = fileIdentity(path);
    rewriteWal(path);
    database = new Database(path, { timeout: BUSY_TIMEOUT_MS, fileMustExist: true });
    const id = prepareDatabase(database, options);
    if (fileIdentity(path) !== identity) throw fenced(options.path, 'it was replaced while it was opened');
    return new LogFile({ database, lock, path, id, options });
  } catch (error) {
    database?.close();
    lock.release();
    throw error;
  }
}

interface LogFileParts {
  readonly database: Database.Database;
  readonly lock: Lock;
  /** The path with all links resolved. */
  readonly path: string;
  readonly id: string;
  readonly options: FileOptions;
}

interface Meta {
  readonly read: Database.Statement<[string], string>;
  readonly write: Database.Statement<[string, string]>;
}

/**
 * The open file: its transactions and its close. Transactions fail for good once the file is no
 * longer ours.
 */
export class LogFile {
  readonly database: Database.Database;
  readonly id: string;
  /** As given by the caller, for messages. */
  readonly #givenPath: string;
  readonly #path: string;
  readonly #lock: Lock;
  readonly #meta: Meta;
  readonly #begin: Database.Statement;
  readonly #commit: Database.Statement;
  readonly #rollback: Database.Statement;
  readonly #wal: WalKeeper;
  #guard: FileGuard | undefined;
  #era = '';
  #isForeign = false;

  constructor({ database, lock, path, id, options }: LogFileParts) {
    this.database = database;
    this.id = id;
    this.#givenPath = options.path;
    this.#path = path;
    this.#lock = lock;
    this.#meta = {
      read: database.prepare<[string], string>('SELECT value FROM meta WHERE name = ?').pluck(),
      write: database.prepare(
        'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      ),
    };
    this.#begin = database.prepare('BEGIN IMMEDIATE');
    this.#commit = database.prepare('COMMIT');
    this.#rollback = database.prepare('ROLLBACK');
    this.#wal = new WalKeeper({ database, path, maxBytes: options.maxWalBytes ?? Infinity });
  }

  /** The WAL holds more than it should. */
  get isWalHigh(): boolean {
    return this.#wal.isHigh;
  }

  /** The size of the WAL in bytes when it is so large that appends must be refused. */
  get fullWalBytes(): number | undefined {
    return this.#wal.fullBytes;
  }

  /** Begins an era and does `work` in the same transaction. From here on the file is guarded. */
  begin<T>(next: (newest: Era) => Era, work: (era: Era) => T): T {
    let era: Era | undefined;
    const result = this.#transact(() => {
      const newest = parseEra(this.#meta.read.get('era') ?? '');
      if (newest === undefined) throw damaged(this.#givenPath, 'it does not say which era is its newest');
      era = next(newest);
      this.#meta.write.run('era', formatEra(era));
      return work(era);
    });
    this.#era = formatEra(era!);
    // Moves the era into the file itself, where `checkContent` looks for it.
    this.database.pragma('wal_checkpoint(PASSIVE)');
    this.#guard = new FileGuard(this.#path);
    return result;
  }

  /**
   * Does `work` in a transaction if the file is still ours. Commits to a moved file would be lost,
   * and a file opened by another process since would get two rows for one token.
   * @throws LogError LOG_FENCED, LOG_OUTCOME_UNKNOWN; what `work` throws; errors of SQLite
   */
  transact<T>(work: () => T): T {
    this.checkPlace();
    return this.#transact(() => {
      this.#checkEra();
      return work();
    });
  }

  /**
   * Checks that the path still leads to this file.
   * @throws LogError LOG_FENCED
   */
  checkPlace(): void {
    const fault = this.#guard?.fault();
    if (fault !== undefined) throw fenced(this.#givenPath, fault);
    this.#wal.handleSize(this.#guard?.walBytes ?? 0);
  }

  /**
   * Checks the content of the file, past everything this process has cached: a file that is
   * overwritten keeps its inode, and our pages of it stay in memory. It opens a connection, so call
   * it rarely.
   * @throws LogError LOG_FENCED
   */
  checkContent(): void {
    this.#checkEra();
    if (this.#guard?.wasWritten() !== true) return;
    let found: { id: string | undefined; era: string | undefined } | undefined;
    try {
      found = this.#readAfresh();
    } catch {
      // The file is no database any more, or not ours.
    }
    // Our own connection saw no problem, so this is no other writer but other content under the
    // same inode.
    this.#isForeign = found?.id !== this.id || found.era !== this.#era;
    if (this.#isForeign) throw fenced(this.#givenPath, 'its content was replaced');
  }

  /** Gives the log another id. */
  rename(id: string): void {
    this.#transact(() => this.#meta.write.run('log id', id));
  }

  readTimeMark(): TimeMark | undefined {
    return parseMark(this.#meta.read.get('log time') ?? '');
  }

  /** Call it within a transaction. */
  writeTimeMark(mark: TimeMark): void {
    this.#meta.write.run('log time', JSON.stringify(mark));
  }

  /** Moves the WAL into the database, closes the file and releases the lock. */
  async close(): Promise<void> {
    await this.#wal.close();
    try {
      // Closing moves the WAL only when no reader has the file open. This moves what can be moved
      // now.
      if (!this.#isForeign) this.database.pragma('wal_checkpoint(PASSIVE)');
    } finally {
      this.release();
    }
  }

  /** Closes a damaged file without moving the WAL. */
  release(): void {
    // The last connection to close moves the WAL into the file. A read-only connection cannot, and
    // its presence stops the others from doing it.
    const reader = this.#isForeign ? openReader(this.#path) : undefined;
    this.database.close();
    reader?.close();
    this.#lock.release();
  }

  #transact<T>(work: () => T): T {
    this.#begin.run();
    let result: T;
    try {
      result = work();
    } catch (error) {
      this.#undo();
      throw error;
    }
    try {
      this.#commit.run();
    } catch (error) {
      this.#undo();
      throw isInputOutputError(error) ? outcomeUnknown(this.#givenPath, error) : error;
    }
    return result;
  }

  /** SQLite has already rolled back after some errors. */
  #undo(): void {
    if (this.database.inTransaction) this.#rollback.run();
  }

  #checkEra(): void {
    const newest = this.#meta.read.get('era');
    if (newest !== this.#era) throw fenced(this.#givenPath, `its newest era is ${newest ?? 'gone'}, not ${this.#era}`);
  }

  #readAfresh(): { id: string | undefined; era: string | undefined } {
    const reader = new Database(this.#path, { readonly: true, timeout: 0 });
    try {
      const read = reader.prepare<[string], string>('SELECT value FROM meta WHERE name = ?').pluck();
      return { id: read.get('log id'), era: read.get('era') };
    } finally {
      reader.close();
    }
  }
}

/** Undefined when it cannot be opened. */
function openReader(path: string): Database.Database | undefined {
  try {
    const reader = new Database(path, { readonly: true, timeout: 0 });
    reader.pragma('schema_version');
    return reader;
  } catch {
    return undefined;
  }
}

function prepareDatabase(database: Database.Database, options: FileOptions): string {
  const { path, synchronous, maxPages, newId, mustExist } = options;
  // Nothing is written before the file is known to be ours or empty.
  const isNew = recognise(database, path);
  if (isNew && mustExist === true) throw damaged(path, 'it is empty');
  if (isNew) database.pragma(`page_size = ${PAGE_BYTES}`);
  const mode = database.pragma('journal_mode = WAL', { simple: true });
  if (mode !== 'wal') {
    throw new LogError(
      'LOG_UNAVAILABLE',
      `cannot open ${path}: its file system cannot share memory, which SQLite's WAL needs; give a path on a local disk`,
    );
  }
  database.pragma(`synchronous = ${synchronous}`);
  // On macOS fsync alone leaves the rows in the disk's own cache.
  database.pragma('fullfsync = ON');
  database.pragma('cell_size_check = ON');
  if (maxPages !== undefined) database.pragma(`max_page_count = ${maxPages}`);
  if (isNew) createTables(database, newId?.() ?? '');
  const id = database.prepare<[], string>(`SELECT value FROM meta WHERE name = 'log id'`).pluck().get();
  if (id === undefined || !isLogId(id)) throw damaged(path, 'it has no log id');
  return id;
}

/** @returns whether the file is new */
function recognise(database: Database.Database, path: string): boolean {
  const applicationId = database.pragma('application_id', { simple: true });
  const version = database.pragma('user_version', { simple: true }) as number;
  if (applicationId === APPLICATION_ID) {
    if (version === FORMAT_VERSION) return false;
    throw otherFormat(path, version);
  }
  const entries = database.prepare<[], number>('SELECT count(*) FROM sqlite_schema').pluck().get();
  if (applicationId === 0 && version === 0 && entries === 0) return true;
  throw damaged(path, 'it is the SQLite database of another application');
}

function otherFormat(path: string, version: number): LogError {
  const what = `cannot open ${path}: it is of format ${version}, and this Rowcast reads format ${FORMAT_VERSION}`;
  const todo =
    version > FORMAT_VERSION
      ? 'a newer Rowcast wrote it: upgrade'
      : `serve it with the Rowcast that wrote it, on other ports, and move each stream to a new file of this one: ` +
        `\`rowcast follow events --from start --json --connect OLD | jq -c '.rows[]' | rowcast append events --admin NEW\``;
  return new LogError('LOG_FORMAT', `${what}; ${todo} (docs/operations.md, "Another format")`);
}

function createTables(database: Database.Database, id: string): void {
  const create = database.transaction(() => {
    database.pragma(`application_id = ${APPLICATION_ID}`);
    database.pragma(`user_version = ${FORMAT_VERSION}`);
    database.exec(TABLES);
    database.prepare(`INSERT INTO meta (name, value) VALUES ('log id', ?), ('era', ?)`).run(id, ORIGIN_ERA);
  });
  create.immediate();
}
