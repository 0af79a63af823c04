/**
 * Opens the file of an sqlite log: creates a new file, recognises one of ours, and locks it against
 * other writers.
 */

import { existsSync } from 'node:fs';

import Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import { LogError, systemCode } from '../core/model/errors.ts';
import { type Era, formatEra, parseEra } from '../core/model/history.ts';
import { parseMark, type TimeMark } from './log-time.ts';
import { damaged, fenced, isInputOutputError, outcomeUnknown } from './sqlite-errors.ts';
import { type FormatOptions, prepareDatabase } from './sqlite-format.ts';
import { FileGuard } from './sqlite-guard.ts';
import { type Lock, lockFile } from './sqlite-lock.ts';
import { fileIdentity, makeFile, realPathOf } from './sqlite-place.ts';
import { rewriteWal } from './sqlite-rewrite.ts';
import { DiskRoom } from './sqlite-room.ts';
import { WalKeeper } from './sqlite-wal.ts';
import { removeStaleBackups } from './temporary-backup.ts';

/** How long a commit blocks the process while a person writes with the sqlite3 shell. */
const BUSY_TIMEOUT_MS: Millis = 250;

export interface FileOptions extends FormatOptions {
  readonly maxWalBytes?: number;
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
    // The lock says that no other process makes one of them now.
    await removeStaleBackups(options.path);
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
  /** What it does when the disk is full. */
  readonly room: DiskRoom;
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
  /** Begun in the running transaction. */
  #begunEra: string | undefined;
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
    this.room = new DiskRoom({ database, path, maxPages: options.maxPages });
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
    const result = this.#transact(() => work(this.beginEra(next)));
    this.#guard = new FileGuard(this.#path);
    this.room.start();
    return result;
  }

  /** Begins another era, in the running transaction: the era is ours once that is committed. */
  beginEra(next: (newest: Era) => Era): Era {
    const newest = parseEra(this.#meta.read.get('era') ?? '');
    if (newest === undefined) throw damaged(this.#givenPath, 'it does not say which era is its newest');
    const era = next(newest);
    this.#begunEra = formatEra(era);
    this.#meta.write.run('era', this.#begunEra);
    return era;
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

  /** How many records of streams there should be. */
  readStreamCount(): number {
    return Number(this.#meta.read.get('streams'));
  }

  /** Call it within a transaction. */
  addToStreamCount(added: number): void {
    this.#meta.write.run('streams', String(this.readStreamCount() + added));
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
    } catch (error) {
      // The rows are in the WAL, and stay there.
      if (!systemCode(error).startsWith('SQLITE_FULL')) throw error;
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
    this.#begunEra = undefined;
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
    if (this.#begunEra !== undefined) this.#setEra(this.#begunEra);
    return result;
  }

  #setEra(era: string): void {
    this.#era = era;
    try {
      // Moves the era into the file itself, where `checkContent` looks for it.
      this.database.pragma('wal_checkpoint(PASSIVE)');
    } catch {
      // The transaction is committed. The next one meets a disk that fails.
    }
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
