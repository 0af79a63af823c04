/** The table of the records of streams. Knows no transactions. */

import type Database from 'better-sqlite3';

import { ORIGIN_ERA } from '../core/model/history.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/**
 * The stream's record in the table `streams`. It is not written with each append, which would cost
 * a page each time. `latest` and `rows_up_to` are those of the last trim or close; the chunks after
 * it tell the rest.
 */
export interface StreamRecord {
  readonly latest: Token;
  readonly earliest: Token;
  readonly rows_up_to: number;
  readonly base_era: unknown;
}

export class RecordTable {
  readonly #all: Database.Statement<[], [id: number, name: StreamName]>;
  readonly #insert: Database.Statement<[StreamName, Token, Token, number, string]>;
  readonly #read: Database.Statement<[id: number], StreamRecord>;
  readonly #save: Database.Statement<[Token, Token, number, string, id: number]>;
  readonly #remove: Database.Statement<[id: number]>;
  readonly #addRemoval: Database.Statement<[id: number]>;

  constructor(database: Database.Database) {
    this.#all = database.prepare<[], [number, StreamName]>('SELECT id, name FROM streams ORDER BY id').raw();
    this.#insert = database.prepare(
      'INSERT INTO streams (name, latest, earliest, rows_up_to, base_era) VALUES (?, ?, ?, ?, ?)',
    );
    this.#read = database.prepare('SELECT latest, earliest, rows_up_to, base_era FROM streams WHERE id = ?');
    this.#save = database.prepare(
      'UPDATE streams SET latest = ?, earliest = ?, rows_up_to = ?, base_era = ? WHERE id = ?',
    );
    this.#remove = database.prepare('DELETE FROM streams WHERE id = ?');
    this.#addRemoval = database.prepare('INSERT OR IGNORE INTO removals (stream_id) VALUES (?)');
  }

  all(): IterableIterator<[id: number, name: StreamName]> {
    return this.#all.iterate();
  }

  /** @returns the id of the stream */
  make(name: StreamName): number {
    return Number(this.#insert.run(name, 0, 1, 0, ORIGIN_ERA).lastInsertRowid);
  }

  read(id: number): StreamRecord | undefined {
    return this.#read.get(id);
  }

  save(id: number, { latest, earliest, rows_up_to, base_era }: StreamRecord & { readonly base_era: string }): void {
    this.#save.run(latest, earliest, rows_up_to, base_era, id);
  }

  /** Its chunks and ids are removed later, in steps (sqlite-removal.ts). */
  remove(id: number): void {
    this.#remove.run(id);
    this.removeTrimmed(id);
  }

  /** The chunks below its `earliest` are removed later, in steps. */
  removeTrimmed(id: number): void {
    this.#addRemoval.run(id);
  }
}
