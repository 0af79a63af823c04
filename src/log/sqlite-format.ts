/**
 * The format of the file of an sqlite log: its tables and settings, and how a file of ours is told
 * from others.
 *
 *   meta      log id, newest era, log time, and how many streams there are
 *   streams   a record for each stream that is made; `$streams` is the catalog
 *   chunks    the rows of all streams, in commit order (docs/decisions/0013)
 *   ids       the ids of appends, in commit order
 *   holders   who holds rows of which stream back, and up to where each of them has saved it
 *   removals  streams that are deleted and still have chunks or ids
 */

import type Database from 'better-sqlite3';

import { LogError } from '../core/model/errors.ts';
import { isLogId, ORIGIN_ERA } from '../core/model/history.ts';
import { damaged } from './sqlite-errors.ts';
import type { Synchronous } from './synchronous.ts';

/** `Rowc`: marks a Rowcast log among SQLite databases, for us and for `file`. */
const APPLICATION_ID = 0x526f7763;
/** Stored in `user_version`. Raised when an older Rowcast could not read a newer file. */
const FORMAT_VERSION = 4;

/**
 * Measured with commits of one row, commits of thousands, and reads. 4 KiB is best for the first,
 * 16 KiB for the others; 8 KiB is close to both.
 */
const PAGE_BYTES = 8 * 1024;

// AUTOINCREMENT: the id of a deleted stream may still be in `chunks` and must not come again.
// `texts` is last, so a query of the other columns does not read it.
const TABLES = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    latest INTEGER NOT NULL,
    earliest INTEGER NOT NULL,
    rows_up_to INTEGER NOT NULL,
    base_era TEXT NOT NULL
  );
  CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL,
    up_to INTEGER NOT NULL,
    after INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    rows_up_to INTEGER NOT NULL,
    sizes TEXT NOT NULL,
    tokens TEXT,
    era TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    log_ms INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    attributes TEXT,
    texts BLOB NOT NULL
  );
  CREATE UNIQUE INDEX chunks_of_streams ON chunks (stream_id, up_to);
  CREATE TABLE ids (
    place INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL,
    id TEXT NOT NULL,
    hash TEXT NOT NULL,
    token INTEGER NOT NULL,
    era TEXT NOT NULL,
    log_ms INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX ids_of_streams ON ids (stream_id, id);
  CREATE TABLE holders (
    stream_id INTEGER NOT NULL,
    worker TEXT NOT NULL,
    token INTEGER,
    era TEXT,
    holds INTEGER NOT NULL,
    PRIMARY KEY (stream_id, worker)
  ) WITHOUT ROWID;
  CREATE TABLE removals (stream_id INTEGER PRIMARY KEY);`;

export interface FormatOptions {
  /** As given by the caller, for messages. */
  readonly path: string;
  readonly synchronous: Synchronous;
  readonly maxPages?: number | undefined;
  /** Makes the log id of a new file. */
  readonly newId?: () => string;
  /** Refuses a file that is missing or empty. */
  readonly mustExist?: boolean;
}

/**
 * Makes the tables of a new file, or recognises a file of ours, and gives the connection its settings.
 * @returns the id of the log
 * @throws LogError LOG_DAMAGED, LOG_FORMAT, LOG_UNAVAILABLE; errors of SQLite
 */
export function prepareDatabase(database: Database.Database, options: FormatOptions): string {
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
    database
      .prepare(`INSERT INTO meta (name, value) VALUES ('log id', ?), ('era', ?), ('streams', '0')`)
      .run(id, ORIGIN_ERA);
  });
  create.immediate();
}
