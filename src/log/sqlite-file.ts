/** Opens the file of an sqlite log: makes it when it is new, recognises it when it is ours, and holds it against other writers. */

import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

import Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import { LogError } from '../core/model/errors.ts';
import { isLogId } from '../core/model/history.ts';
import { damaged } from './sqlite-errors.ts';

/** `Rowc`: how `file` and we recognise a Rowcast log among SQLite databases. */
const APPLICATION_ID = 0x526f7763;
/** In `user_version`. Raised when an older Rowcast could not read what a newer one writes. */
const FORMAT_VERSION = 3;

/** How long a commit waits, and with it the process, for a person who writes with the sqlite3 shell. */
const BUSY_TIMEOUT_MS: Millis = 250;
/** Measured with commits of one row and of thousands, and with reads: 4 KiB is best for the first, 16 KiB for the others, and this is near both. */
const PAGE_BYTES = 8 * 1024;
/** What the WAL may grow to before it is moved into the database: the longest pause that a commit makes. */
const CHECKPOINT_BYTES = 2 * 1024 * 1024;

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
  readonly maxPages: number | undefined;
  /** The identity of the history, should the file be new. */
  readonly newId: () => string;
}

export interface LogFile {
  readonly database: Database.Database;
  readonly id: string;
  /** Moves what is in the WAL into the database, closes it, and lets other writers in. */
  close(): void;
  /** Closes it as it is: for a file in which something is wrong. */
  release(): void;
}

/** @throws Errors of SQLite and the system as they are; the caller names them. */
export function openLogFile(options: FileOptions): LogFile {
  makeDirectory(dirname(options.path));
  const lock = lockFile(options.path);
  let database: Database.Database | undefined;
  try {
    database = new Database(options.path, { timeout: BUSY_TIMEOUT_MS });
    const id = prepareDatabase(database, options);
    return logFile(database, lock, id);
  } catch (error) {
    database?.close();
    lock.close();
    throw error;
  }
}

/** Not mkdir's own `recursive`: in Node 20 it never returns where a directory exists and yet nothing can be made in it (`/proc`, a link to nowhere). */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  const parent = dirname(directory);
  if (parent !== directory) makeDirectory(parent);
  mkdirSync(directory);
}

/**
 * A lock on a file of its own: readers of the database are not shut out, and the system lifts it however the process ends.
 * Nobody may open this file other than through SQLite: closing any descriptor of it would lift the lock.
 */
function lockFile(path: string): Database.Database {
  const lock = new Database(`${path}.lock`, { timeout: 0 });
  try {
    // Nothing is ever written to it, so nothing need be rolled back from a file after a crash.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    throw error;
  }
}

function logFile(database: Database.Database, lock: Database.Database, id: string): LogFile {
  const release = (): void => {
    database.close();
    lock.close();
  };
  const close = (): void => {
    try {
      // Closing moves the WAL only when no reader has the file open; this moves what can be moved in any case.
      database.pragma('wal_checkpoint(PASSIVE)');
    } finally {
      release();
    }
  };
  return { database, id, close, release };
}

function prepareDatabase(database: Database.Database, { path, synchronous, maxPages, newId }: FileOptions): string {
  // Nothing is written before it is known that the file is ours or empty.
  const isNew = recognise(database, path);
  if (isNew) database.pragma(`page_size = ${PAGE_BYTES}`);
  const mode = database.pragma('journal_mode = WAL', { simple: true });
  if (mode !== 'wal') {
    throw new LogError(
      'LOG_UNAVAILABLE',
      `cannot open ${path}: its file system cannot share memory, which SQLite's WAL needs; give a path on a local disk`,
    );
  }
  database.pragma(`synchronous = ${synchronous}`);
  // macOS: there fsync alone leaves the rows in the disk's own cache.
  database.pragma('fullfsync = ON');
  database.pragma('cell_size_check = ON');
  // A file that someone else made may have other pages.
  const pageBytes = database.pragma('page_size', { simple: true }) as number;
  database.pragma(`wal_autocheckpoint = ${CHECKPOINT_BYTES / pageBytes}`);
  if (maxPages !== undefined) database.pragma(`max_page_count = ${maxPages}`);
  if (isNew) createTables(database, newId());
  const id = database.prepare<[], string>(`SELECT value FROM meta WHERE name = 'log id'`).pluck().get();
  if (id === undefined || !isLogId(id)) throw damaged(path, 'it has no log id');
  return id;
}

/** @returns whether it is new */
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
    database.prepare(`INSERT INTO meta (name, value) VALUES ('log id', ?), ('era', ?)`).run(id, '0.00000000');
  });
  create.immediate();
}
