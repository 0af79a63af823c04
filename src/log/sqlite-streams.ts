/**
 * The streams of an sqlite log that are made: their records, and a small object for each one.
 * Changes of records happen in the caller's transaction; `add` and `forget` follow its commit.
 */

import type { Declarations } from '../core/model/declarations.ts';
import type { LogError } from '../core/model/errors.ts';
import { emptyBounds } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import { ChunkTable } from './sqlite-chunks.ts';
import type { LogFile } from './sqlite-file.ts';
import { HolderTable } from './sqlite-holders.ts';
import { EraTexts } from './sqlite-chunk-record.ts';
import { SqliteStream, type StreamHome } from './sqlite-stream.ts';
import { RecordTable } from './sqlite-stream-records.ts';

/** The name of the catalog in the file, whatever the log is asked to call it. */
const CATALOG_NAME = '$streams';

export interface StreamTableOptions {
  readonly file: LogFile;
  readonly declarations: Declarations;
  /** The name of the catalog. */
  readonly catalog: StreamName;
  readonly damaged: (what: string) => LogError;
}

export class StreamTable {
  readonly catalog: SqliteStream;
  readonly chunks: ChunkTable;
  readonly holders: HolderTable;
  readonly #file: LogFile;
  readonly #home: StreamHome;
  /** The declared ones, in the order in which they were made. */
  readonly #streams = new Map<StreamName, SqliteStream>();

  /** Reads the names alone. Makes the catalog when the file is new. Call it within a transaction. */
  constructor({ file, declarations, catalog, damaged }: StreamTableOptions) {
    this.#file = file;
    const records = new RecordTable(file.database);
    this.chunks = new ChunkTable(file.database, new EraTexts(file.id));
    const retentionOf: StreamHome['retentionOf'] = (stream) => declarations.find(stream)?.retain ?? {};
    this.holders = new HolderTable(file.database, this.chunks.eras);
    this.#home = { chunks: this.chunks, holders: this.holders, records, retentionOf, damaged };
    let catalogId: number | undefined;
    // Of streams that are not declared, too.
    let count = 0;
    for (const [id, name] of records.all()) {
      count++;
      if (name === CATALOG_NAME) catalogId = id;
      else if (declarations.has(name)) this.#streams.set(name, new SqliteStream(name, id, this.#home));
    }
    if (count !== file.readStreamCount()) throw damaged('records of streams are gone');
    this.catalog =
      catalogId === undefined ? this.#make(CATALOG_NAME, catalog) : new SqliteStream(catalog, catalogId, this.#home);
  }

  values(): IterableIterator<SqliteStream> {
    return this.#streams.values();
  }

  names(): IterableIterator<StreamName> {
    return this.#streams.keys();
  }

  find(name: StreamName): SqliteStream | undefined {
    return this.#streams.get(name);
  }

  /** Writes the record of a new stream. */
  make(name: StreamName): SqliteStream {
    return this.#make(name, name);
  }

  /** Removes the record of a stream, and its holders. */
  remove({ id }: SqliteStream): void {
    this.#home.records.remove(id);
    this.holders.removeAll(id);
    this.#file.addToStreamCount(-1);
  }

  /** A made stream is there from now on. */
  add(stream: SqliteStream): void {
    this.#streams.set(stream.name, stream);
  }

  /** A removed stream is gone from now on. */
  forget({ name }: SqliteStream): void {
    this.#streams.delete(name);
  }

  /** Saves the extents that moved since they were saved. */
  saveExtents(): void {
    if (this.catalog.isUnsaved) this.catalog.saveExtent();
    for (const stream of this.#streams.values()) if (stream.isUnsaved) stream.saveExtent();
  }

  #make(nameInFile: StreamName, name: StreamName): SqliteStream {
    const stream = new SqliteStream(name, this.#home.records.make(nameInFile), this.#home);
    this.#file.addToStreamCount(1);
    stream.extent = { bounds: emptyBounds(this.#file.id), rowsUpTo: 0 };
    return stream;
  }
}
