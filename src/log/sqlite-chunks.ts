/**
 * The table of the chunks of all streams. Few statements serve all streams. Knows no transactions:
 * the caller begins and ends them.
 */

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Token } from '../core/model/token.ts';
import {
  CHUNK_COLUMNS,
  type ChunkRecord,
  chunkOf,
  type EraTexts,
  recordOf,
  type UncheckedRecord,
} from './sqlite-chunk-record.ts';

/**
 * A chunk without its texts. They are the last column of a record, so this does not read them.
 */
export interface Edge {
  readonly id: number;
  readonly after: Token;
  readonly upTo: Token;
  readonly rows: number;
  readonly rowsUpTo: number;
  readonly era: unknown;
  readonly logMs: Millis;
  /** Of its texts. */
  readonly bytes: number;
}

export class ChunkTable {
  readonly eras: EraTexts;
  readonly #insert: Database.Statement<[id: number | null, streamId: number, ...ChunkRecord]>;
  readonly #readAfter: Database.Statement<[streamId: number, Token], UncheckedRecord>;
  readonly #firstAfter: Database.Statement<[streamId: number, Token], Edge>;
  readonly #newest: Database.Statement<[streamId: number], Edge>;
  readonly #drop: Database.Statement<[id: number]>;
  readonly #dropAfter: Database.Statement<[streamId: number, Token]>;
  readonly #newestLogMs: Database.Statement<[], unknown>;

  constructor(database: Database.Database, eras: EraTexts) {
    this.eras = eras;
    const edge =
      'SELECT id, after, up_to AS upTo, rows, rows_up_to AS rowsUpTo, era, log_ms AS logMs, length(texts) AS bytes FROM chunks';
    const places = CHUNK_COLUMNS.replace(/\w+/g, '?');
    this.#insert = database.prepare(`INSERT INTO chunks (id, stream_id, ${CHUNK_COLUMNS}) VALUES (?, ?, ${places})`);
    this.#readAfter = database
      .prepare<[number, Token], UncheckedRecord>(
        `SELECT ${CHUNK_COLUMNS} FROM chunks WHERE stream_id = ? AND up_to > ? ORDER BY up_to`,
      )
      .raw();
    this.#firstAfter = database.prepare(`${edge} WHERE stream_id = ? AND up_to > ? ORDER BY up_to LIMIT 1`);
    this.#newest = database.prepare(`${edge} WHERE stream_id = ? ORDER BY up_to DESC LIMIT 1`);
    this.#drop = database.prepare('DELETE FROM chunks WHERE id = ?');
    this.#dropAfter = database.prepare('DELETE FROM chunks WHERE stream_id = ? AND up_to > ?');
    this.#newestLogMs = database.prepare<[], unknown>('SELECT log_ms FROM chunks ORDER BY id DESC LIMIT 1').pluck();
  }

  /** Adds a chunk after those of all streams, or in the place of one that is dropped. */
  insert(streamId: number, chunk: Chunk, id: number | null = null): void {
    this.#insert.run(id, streamId, ...recordOf(streamId, chunk, this.eras));
  }

  /** The records after the token, in order. */
  readAfter(streamId: number, after: Token): IterableIterator<UncheckedRecord> {
    return this.#readAfter.iterate(streamId, after);
  }

  /** Undefined when the record is not what was written. */
  chunkOf(streamId: number, record: UncheckedRecord): Chunk | undefined {
    return chunkOf(streamId, record, this.eras);
  }

  /** The oldest chunk that reaches beyond the token. */
  firstAfter(streamId: number, after: Token): Edge | undefined {
    return this.#firstAfter.get(streamId, after);
  }

  newest(streamId: number): Edge | undefined {
    return this.#newest.get(streamId);
  }

  drop({ id }: Edge): void {
    this.#drop.run(id);
  }

  /** Drops the chunks that end above the token. */
  dropAfter(streamId: number, after: Token): void {
    this.#dropAfter.run(streamId, after);
  }

  /** The log's time of the newest chunk of all streams: chunks lie in commit order. */
  newestLogMs(): Millis {
    const found = this.#newestLogMs.get();
    return typeof found === 'number' ? found : 0;
  }
}
