/** One stream in an sqlite log: its table of chunks and how far it reaches. Knows no transaction: its caller wraps what belongs together. */

import { crc32 } from 'node:zlib';

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import type { LogError } from '../core/model/errors.ts';
import type { Retention, Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter } from './chunk.ts';
import type { ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';

/** A stream that got its retention late sheds its surplus over several commits, so that none of them takes long. */
const MAX_DROPS_PER_COMMIT = 1_000;

/** How far a stream reaches, in memory. */
export interface Extent {
  readonly latest: Token;
  readonly earliest: Token;
  /** Of all chunks kept, also those that a trim took from the oldest one; counted only for a stream that retains a number of rows. */
  readonly rows: number;
}

/**
 * What the table `streams` says of one. Not written with each append, which would cost a page each time: `latest` is that of the last trim
 * or close, and the chunks behind it say the rest.
 */
interface StreamRecord {
  readonly rows_table: string;
  readonly latest: Token;
  readonly earliest: Token;
}

type ChunkRecord = [after: unknown, upTo: unknown, rows: unknown, atMs: unknown, crc: unknown, lines: unknown];

interface Edge {
  readonly after: Token;
  readonly upTo: Token;
  readonly rows: number;
  readonly atMs: Millis;
}

interface Statements {
  readonly insert: Database.Statement<[Token, Token, number, Millis, number, Uint8Array]>;
  readonly readAfter: Database.Statement<[Token], ChunkRecord>;
  readonly oldest: Database.Statement<[], Edge>;
  readonly newest: Database.Statement<[], Edge>;
  readonly rowsUpTo: Database.Statement<[Token], number>;
  readonly deleteUpTo: Database.Statement<[Token]>;
  readonly saveExtent: Database.Statement<[Token, Token, StreamName]>;
}

export class SqliteStream {
  readonly #name: StreamName;
  readonly #retain: Retention;
  readonly #statements: Statements;
  readonly #damaged: (what: string) => LogError;
  /** As last committed: set by the caller, once what `append` or `trim` returned is durable. */
  extent: Extent;
  #saved: Pick<Extent, 'latest' | 'earliest'>;

  /** Makes the stream's table when it has none. Call it within a transaction. */
  constructor(database: Database.Database, { name, retain }: Stream, damaged: (what: string) => LogError) {
    this.#name = name;
    this.#retain = retain;
    this.#damaged = (what) => damaged(`stream ${name}: ${what}`);
    const record = findRecord(database, name) ?? createRecord(database, name);
    this.#saved = record;
    this.#statements = prepareStatements(database, quoteName(record.rows_table));
    this.extent = this.#readExtent(record);
  }

  append(chunks: readonly Chunk[], now: Millis): Extent {
    let { latest, earliest, rows } = this.extent;
    for (const chunk of chunks) {
      this.#statements.insert.run(chunk.upTo, chunk.after, chunk.rows, chunk.atMs, crc32(chunk.lines), chunk.lines);
      latest = chunk.upTo;
      rows += chunk.rows;
    }
    let drops = 0;
    for (; drops < MAX_DROPS_PER_COMMIT; drops++) {
      const oldest = this.#oldestUnderRetention();
      if (oldest === undefined || !mayDropOldest(this.#retain, { rows, oldest, now })) break;
      this.#statements.deleteUpTo.run(oldest.upTo);
      rows -= oldest.rows;
      earliest = Math.max(earliest, oldest.upTo + 1);
    }
    const extent = { latest, earliest, rows };
    return drops === 0 ? extent : this.#save(extent);
  }

  /** Something was appended since the extent was saved. */
  get isUnsaved(): boolean {
    return this.extent.latest !== this.#saved.latest || this.extent.earliest !== this.#saved.earliest;
  }

  /** For the last time: what is missing when the file is opened again shows then. */
  saveExtent(): void {
    this.#save(this.extent);
  }

  trim(upTo: Token): Extent {
    const { latest, earliest, rows } = this.extent;
    const last = Math.min(upTo, latest);
    if (last < earliest) return this.extent;
    const goneRows = this.#statements.rowsUpTo.get(last)!;
    this.#statements.deleteUpTo.run(last);
    return this.#save({ latest, earliest: last + 1, rows: rows - goneRows });
  }

  /** The chunks that follow `after`, the first one cut there, up to the one that reaches `maxBytes`. */
  read({ after, maxBytes }: ReadOptions): Chunk[] {
    const chunks: Chunk[] = [];
    if (after >= this.extent.latest) return chunks;
    let reached = after;
    let bytes = 0;
    for (const record of this.#statements.readAfter.iterate(after)) {
      const chunk = chunkAfter(this.#checkChunk(record), after);
      if (chunk.after !== reached) throw this.#damaged(`the rows from ${reached + 1} to ${chunk.after} are gone`);
      chunks.push(chunk);
      reached = chunk.upTo;
      bytes += chunk.lines.length;
      if (bytes >= maxBytes) return chunks;
    }
    if (reached !== this.extent.latest)
      throw this.#damaged(`the rows from ${reached + 1} to ${this.extent.latest} are gone`);
    return chunks;
  }

  #oldestUnderRetention(): Edge | undefined {
    const { rows, ageMs } = this.#retain;
    return rows === undefined && ageMs === undefined ? undefined : this.#statements.oldest.get();
  }

  #save(extent: Extent): Extent {
    this.#statements.saveExtent.run(extent.latest, extent.earliest, this.#name);
    this.#saved = extent;
    return extent;
  }

  /** SQLite has no checksums: a flipped bit inside the lines would go out to every worker. */
  #checkChunk([after, upTo, rows, atMs, crc, lines]: ChunkRecord): Chunk {
    const isChunk =
      typeof after === 'number' && typeof upTo === 'number' && typeof rows === 'number' && typeof atMs === 'number';
    if (!isChunk || !(lines instanceof Uint8Array) || crc32(lines) !== crc)
      throw this.#damaged(`the chunk up to ${String(upTo)} is not what was written`);
    return { after, upTo, rows, atMs, lines };
  }

  /** What is missing at the edges shows at once; what is damaged between them shows when it is read. */
  #readExtent({ latest, earliest }: StreamRecord): Extent {
    const oldest = this.#statements.oldest.get();
    const newest = this.#statements.newest.get();
    const isWhole =
      oldest === undefined || newest === undefined
        ? earliest === latest + 1
        : oldest.after < earliest && earliest <= oldest.upTo && newest.upTo >= latest;
    if (!isWhole) throw this.#damaged(`the rows from ${earliest} to ${latest} are not all there`);
    const reached = newest?.upTo ?? latest;
    return {
      latest: reached,
      earliest,
      rows: this.#retain.rows === undefined ? 0 : this.#statements.rowsUpTo.get(reached)!,
    };
  }
}

function findRecord(database: Database.Database, name: StreamName): StreamRecord | undefined {
  return database
    .prepare<[StreamName], StreamRecord>('SELECT rows_table, latest, earliest FROM streams WHERE name = ?')
    .get(name);
}

function createRecord(database: Database.Database, name: StreamName): StreamRecord {
  const record: StreamRecord = { rows_table: freeTableName(database, name), latest: 0, earliest: 1 };
  database.exec(`CREATE TABLE ${quoteName(record.rows_table)} (
    up_to INTEGER PRIMARY KEY,
    after INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    lines BLOB NOT NULL
  )`);
  database
    .prepare('INSERT INTO streams (name, rows_table, latest, earliest) VALUES (?, ?, ?, ?)')
    .run(name, record.rows_table, record.latest, record.earliest);
  return record;
}

/** `rows of events`. SQLite does not tell `Events` from `events` in the name of a table, so the second gets `rows of Events (2)`. */
function freeTableName(database: Database.Database, name: StreamName): string {
  const isTaken = database.prepare<[string], number>('SELECT 1 FROM streams WHERE rows_table = ?').pluck();
  const wanted = `rows of ${name}`;
  let table = wanted;
  for (let i = 2; isTaken.get(table) !== undefined; i++) table = `${wanted} (${i})`;
  return table;
}

function prepareStatements(database: Database.Database, table: string): Statements {
  const edge = `SELECT after, up_to AS upTo, rows, at_ms AS atMs FROM ${table} ORDER BY up_to`;
  return {
    insert: database.prepare(
      `INSERT INTO ${table} (up_to, after, rows, at_ms, crc32, lines) VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    readAfter: database
      .prepare<[Token], ChunkRecord>(
        `SELECT after, up_to, rows, at_ms, crc32, lines FROM ${table} WHERE up_to > ? ORDER BY up_to`,
      )
      .raw(),
    oldest: database.prepare(`${edge} LIMIT 1`),
    newest: database.prepare(`${edge} DESC LIMIT 1`),
    rowsUpTo: database.prepare<[Token], number>(`SELECT coalesce(sum(rows), 0) FROM ${table} WHERE up_to <= ?`).pluck(),
    deleteUpTo: database.prepare(`DELETE FROM ${table} WHERE up_to <= ?`),
    saveExtent: database.prepare('UPDATE streams SET latest = ?, earliest = ? WHERE name = ?'),
  };
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
