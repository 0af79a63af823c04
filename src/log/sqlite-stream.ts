/**
 * One stream in an sqlite log: its table of chunks and its extent. Knows no transactions: the
 * caller begins and ends them.
 */

import { crc32 } from 'node:zlib';

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import type { LogError } from '../core/model/errors.ts';
import { eraTextOf, type History, ORIGIN_ERA, parseEra } from '../core/model/history.ts';
import type { BatchAttributes, Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention, Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter, chunkBytes, rowsOfChunkAfter } from './chunk.ts';
import { judgePosition } from './judge.ts';
import type { ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';

/**
 * A stream whose retention was lowered sheds its surplus over several commits, so that none takes
 * long.
 */
const MAX_DROPS_PER_COMMIT = 1_000;

/**
 * Retention drops chunks every this many commits of the stream. A drop rewrites three pages, as
 * many as the append of a row. The first commit after an open drops too, so a process that appends
 * little also drops.
 */
const COMMITS_PER_DROP = 16;

/** The bounds of a stream, in memory. */
export interface Extent {
  readonly bounds: Bounds;
  /** How many rows the stream has had. */
  readonly rowsUpTo: number;
}

/**
 * The stream's record in the table `streams`. It is not written with each append, which would cost
 * a page each time. `latest` and `rows_up_to` are those of the last trim or close; the chunks after
 * it tell the rest.
 */
interface StreamRecord {
  readonly rows_table: string;
  readonly latest: Token;
  readonly earliest: Token;
  readonly rows_up_to: number;
  readonly base_era: unknown;
}

type ChunkRecord = [
  after: unknown,
  upTo: unknown,
  rows: unknown,
  rowsUpTo: unknown,
  era: unknown,
  atMs: unknown,
  logMs: unknown,
  crc: unknown,
  attributes: unknown,
  lines: unknown,
];

/** What the checksum of a record covers. */
interface Checksummed {
  readonly after: Token;
  readonly upTo: Token;
  readonly rows: number;
  readonly rowsUpTo: number;
  readonly era: string;
  readonly logMs: Millis;
  readonly attributes: string | null;
  readonly lines: Uint8Array;
}

/**
 * A chunk without its lines. The lines are the last column of a record, so this does not read them.
 */
interface Edge {
  readonly after: Token;
  readonly upTo: Token;
  readonly rows: number;
  readonly rowsUpTo: number;
  readonly era: unknown;
  readonly logMs: Millis;
}

interface Statements {
  readonly insert: Database.Statement<
    [Token, Token, number, number, string, Millis, Millis, number, string | null, Uint8Array]
  >;
  readonly readAfter: Database.Statement<[Token], ChunkRecord>;
  readonly firstAfter: Database.Statement<[Token], Edge>;
  readonly oldest: Database.Statement<[], Edge>;
  readonly newest: Database.Statement<[], Edge>;
  readonly deleteUpTo: Database.Statement<[Token]>;
  readonly saveExtent: Database.Statement<[Token, Token, number, string, StreamName]>;
}

export interface SqliteStreamOptions {
  readonly database: Database.Database;
  readonly logId: string;
  readonly stream: Pick<Stream, 'name' | 'retain'>;
  readonly damaged: (what: string) => LogError;
}

export class SqliteStream {
  readonly #name: StreamName;
  readonly #logId: string;
  readonly #retain: Retention;
  readonly #statements: Statements;
  readonly #damaged: (what: string) => LogError;
  /** The table `streams` had no record of it. */
  readonly isNew: boolean;
  /** As last committed. The caller sets it once the result of `append` or `trim` is durable. */
  extent: Extent;
  /** The damage that was found; the stream refuses appends then. Set by the caller. */
  damage: LogError | undefined;
  #savedLatest: Token;
  #newestLogMs: Millis = 0;
  #commitsUntilDrop = 0;
  /** The history of the last record read. Neighbours usually have the same. */
  #lastHistory: History = '';

  /** Creates the stream's table if it has none. Call it within a transaction. */
  constructor({ database, logId, stream: { name, retain }, damaged }: SqliteStreamOptions) {
    this.#name = name;
    this.#logId = logId;
    this.#retain = retain;
    this.#damaged = (what) => damaged(`stream ${name}: ${what}`);
    const found = findRecord(database, name);
    this.isNew = found === undefined;
    const record = found ?? createRecord(database, name);
    this.#savedLatest = record.latest;
    this.#statements = prepareStatements(database, quoteName(record.rows_table));
    this.extent = this.#readExtent(record);
  }

  append(chunks: readonly Chunk[], now: Millis): Extent {
    const { earliest, base } = this.extent.bounds;
    let { rowsUpTo } = this.extent;
    for (const chunk of chunks) {
      const { after, upTo, rows, atMs, logMs, lines } = chunk;
      // Without the id of the log: all eras share it, and `new-history` changes it.
      const era = eraTextOf(chunk.history);
      const attributes = attributesText(chunk.attributes);
      ({ rowsUpTo } = chunk);
      const crc = checksumOf({ after, upTo, rows, rowsUpTo, era, logMs, attributes, lines });
      this.#statements.insert.run(upTo, after, rows, rowsUpTo, era, atMs, logMs, crc, attributes, lines);
    }
    const { upTo: latest, history } = chunks[chunks.length - 1]!;
    return this.#dropOldest({ bounds: { earliest, latest, history, base }, rowsUpTo }, now);
  }

  #dropOldest(extent: Extent, now: Millis): Extent {
    if (this.#commitsUntilDrop-- > 0) return extent;
    this.#commitsUntilDrop = COMMITS_PER_DROP - 1;
    const { bounds, rowsUpTo } = extent;
    let last: Edge | undefined;
    for (let drops = 0; drops < MAX_DROPS_PER_COMMIT; drops++) {
      const oldest = this.#oldestUnderRetention();
      if (oldest === undefined) break;
      const rows = rowsUpTo - oldest.rowsUpTo + oldest.rows;
      if (!mayDropOldest(this.#retain, { rows, oldest, now })) break;
      this.#statements.deleteUpTo.run(oldest.upTo);
      last = oldest;
      if (drops === MAX_DROPS_PER_COMMIT - 1) this.#commitsUntilDrop = 0;
    }
    if (last === undefined) return extent;
    const earliest = Math.max(bounds.earliest, last.upTo + 1);
    return this.#save({ bounds: { ...bounds, earliest, base: this.#historyOf(last.era) }, rowsUpTo });
  }

  /** The log's time of its newest row at open. */
  get newestLogMs(): Millis {
    return this.#newestLogMs;
  }

  /** Something was appended since the extent was saved. */
  get isUnsaved(): boolean {
    return this.extent.bounds.latest !== this.#savedLatest;
  }

  /** Saves the extent at close, so that the next open can see missing chunks. */
  saveExtent(): void {
    this.#save(this.extent);
  }

  trim(upTo: Token): Extent {
    const { bounds, rowsUpTo } = this.extent;
    const last = Math.min(upTo, bounds.latest);
    if (last < bounds.earliest) return this.extent;
    const base = this.#historyAt(last);
    this.#statements.deleteUpTo.run(last);
    return this.#save({ bounds: { ...bounds, earliest: last + 1, base }, rowsUpTo });
  }

  /**
   * The chunks of one era after token `after`. The first chunk is cut at `after`; the last one is
   * the chunk that reaches `maxBytes`.
   */
  read({ after, maxBytes }: ReadOptions): Chunk[] {
    const chunks: Chunk[] = [];
    const { latest } = this.extent.bounds;
    if (after >= latest) return chunks;
    let reached = after;
    let bytes = 0;
    for (const record of this.#statements.readAfter.iterate(after)) {
      const chunk = chunkAfter(this.#checkChunk(record), after);
      if (chunk.after !== reached) throw this.#damaged(`the rows from ${reached + 1} to ${chunk.after} are gone`);
      if (chunks.length > 0 && chunk.history !== chunks[0]!.history) return chunks;
      chunks.push(chunk);
      reached = chunk.upTo;
      bytes += chunkBytes(chunk);
      if (bytes >= maxBytes || reached >= latest) return chunks;
    }
    throw this.#damaged(`the rows from ${reached + 1} to ${latest} are gone`);
  }

  judge(position: Position): Verdict {
    const historyAt = (token: Token): History => this.#historyAt(token);
    return judgePosition(position, { logId: this.#logId, bounds: this.extent.bounds, historyAt });
  }

  rowsAfter(after: Token): number {
    const { bounds, rowsUpTo } = this.extent;
    const from = Math.max(after, bounds.earliest - 1);
    if (from >= bounds.latest) return 0;
    const chunk = this.#firstAfter(from);
    return rowsUpTo - chunk.rowsUpTo + rowsOfChunkAfter(chunk, from);
  }

  #historyAt(token: Token): History {
    return this.#historyOf(this.#firstAfter(token - 1).era);
  }

  #firstAfter(token: Token): Edge {
    const edge = this.#statements.firstAfter.get(token);
    if (edge === undefined) throw this.#damaged(`the rows after ${token} are gone`);
    return edge;
  }

  #oldestUnderRetention(): Edge | undefined {
    const { rows, ageMs } = this.#retain;
    return rows === undefined && ageMs === undefined ? undefined : this.#statements.oldest.get();
  }

  #save(extent: Extent): Extent {
    const { latest, earliest, base } = extent.bounds;
    this.#statements.saveExtent.run(latest, earliest, extent.rowsUpTo, eraTextOf(base), this.#name);
    this.#savedLatest = latest;
    return extent;
  }

  /** SQLite has no checksums: a flipped bit in the lines would go out to every worker. */
  #checkChunk([after, upTo, rows, rowsUpTo, era, atMs, logMs, crc, attributes, lines]: ChunkRecord): Chunk {
    const isChunk =
      typeof after === 'number' &&
      typeof upTo === 'number' &&
      typeof rows === 'number' &&
      typeof rowsUpTo === 'number' &&
      typeof era === 'string' &&
      typeof atMs === 'number' &&
      typeof logMs === 'number' &&
      (attributes === null || typeof attributes === 'string') &&
      lines instanceof Uint8Array &&
      checksumOf({ after, upTo, rows, rowsUpTo, era, logMs, attributes, lines }) === crc;
    if (!isChunk) throw this.#damaged(`the chunk up to ${String(upTo)} is not what was written`);
    const history = this.#historyOf(era);
    const chunk = { after, upTo, rows, rowsUpTo, history, atMs, logMs, lines };
    return attributes === null ? chunk : { ...chunk, attributes: parseAttributes(attributes) };
  }

  #historyOf(era: unknown): History {
    if (this.#lastHistory !== '' && eraTextOf(this.#lastHistory) === era) return this.#lastHistory;
    if (typeof era !== 'string' || parseEra(era) === undefined) throw this.#damaged(`'${String(era)}' is no era`);
    this.#lastHistory = `${this.#logId}.${era}`;
    return this.#lastHistory;
  }

  /** Finds missing chunks at both ends. Damage between them shows when it is read. */
  #readExtent({ latest, earliest, rows_up_to: rowsUpTo, base_era: baseEra }: StreamRecord): Extent {
    const oldest = this.#statements.oldest.get();
    const newest = this.#statements.newest.get();
    const isWhole =
      oldest === undefined || newest === undefined
        ? earliest === latest + 1
        : oldest.after < earliest && earliest <= oldest.upTo && newest.upTo >= latest;
    if (!isWhole) throw this.#damaged(`the rows from ${earliest} to ${latest} are not all there`);
    const base = this.#historyOf(baseEra);
    if (newest === undefined) return { bounds: { earliest, latest, history: base, base }, rowsUpTo };
    const history = this.#historyOf(newest.era);
    this.#newestLogMs = newest.logMs;
    return { bounds: { earliest, latest: newest.upTo, history, base }, rowsUpTo: newest.rowsUpTo };
  }
}

function checksumOf({ after, upTo, rows, rowsUpTo, era, logMs, attributes, lines }: Checksummed): number {
  return crc32(`${after} ${upTo} ${rows} ${rowsUpTo} ${era} ${logMs} ${attributes}`, crc32(lines));
}

/**
 * The tokens, offsets and texts of a chunk's attributes as one JSON text, readable in the shell.
 */
function attributesText(attributes: readonly BatchAttributes[] | undefined): string | null {
  return attributes === undefined ? null : JSON.stringify(attributes.map(({ token, at, json }) => [token, at, json]));
}

function parseAttributes(text: string): BatchAttributes[] {
  const attributes = JSON.parse(text) as [token: Token, at: number, json: string][];
  return attributes.map(([token, at, json]) => ({ token, at, json }));
}

function findRecord(database: Database.Database, name: StreamName): StreamRecord | undefined {
  return database
    .prepare<[StreamName], StreamRecord>(
      'SELECT rows_table, latest, earliest, rows_up_to, base_era FROM streams WHERE name = ?',
    )
    .get(name);
}

function createRecord(database: Database.Database, name: StreamName): StreamRecord {
  const rowsTable = freeTableName(database, name);
  database.exec(`CREATE TABLE ${quoteName(rowsTable)} (
    up_to INTEGER PRIMARY KEY,
    after INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    rows_up_to INTEGER NOT NULL,
    era TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    log_ms INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    attributes TEXT,
    lines BLOB NOT NULL
  )`);
  database
    .prepare(
      `INSERT INTO streams (name, rows_table, latest, earliest, rows_up_to, base_era) VALUES (?, ?, 0, 1, 0, '${ORIGIN_ERA}')`,
    )
    .run(name, rowsTable);
  return { rows_table: rowsTable, latest: 0, earliest: 1, rows_up_to: 0, base_era: ORIGIN_ERA };
}

/**
 * `rows of events`. SQLite ignores case in table names, so a second stream `Events` gets `rows of
 * Events (2)`.
 */
function freeTableName(database: Database.Database, name: StreamName): string {
  const isTaken = database.prepare<[string], number>('SELECT 1 FROM streams WHERE rows_table = ?').pluck();
  const wanted = `rows of ${name}`;
  let table = wanted;
  for (let i = 2; isTaken.get(table) !== undefined; i++) table = `${wanted} (${i})`;
  return table;
}

function prepareStatements(database: Database.Database, table: string): Statements {
  const edge = `SELECT after, up_to AS upTo, rows, rows_up_to AS rowsUpTo, era, log_ms AS logMs FROM ${table}`;
  const whole = 'after, up_to, rows, rows_up_to, era, at_ms, log_ms, crc32, attributes, lines';
  return {
    insert: database.prepare(
      `INSERT INTO ${table} (up_to, after, rows, rows_up_to, era, at_ms, log_ms, crc32, attributes, lines)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    readAfter: database
      .prepare<[Token], ChunkRecord>(`SELECT ${whole} FROM ${table} WHERE up_to > ? ORDER BY up_to`)
      .raw(),
    firstAfter: database.prepare(`${edge} WHERE up_to > ? ORDER BY up_to LIMIT 1`),
    oldest: database.prepare(`${edge} ORDER BY up_to LIMIT 1`),
    newest: database.prepare(`${edge} ORDER BY up_to DESC LIMIT 1`),
    deleteUpTo: database.prepare(`DELETE FROM ${table} WHERE up_to <= ?`),
    saveExtent: database.prepare(
      'UPDATE streams SET latest = ?, earliest = ?, rows_up_to = ?, base_era = ? WHERE name = ?',
    ),
  };
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
