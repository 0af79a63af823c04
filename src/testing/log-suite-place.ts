/**
 * The place of one test of a log: a directory, a clock that only the test moves, and the log. Also
 * parses pages.
 */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Clock } from '../base/clock.ts';
import type { Log, LogOptions, ReadOptions, RowsEvent, Source } from '../log/log.ts';
import { type BatchLimits, defaultBatchLimits } from '../core/model/batch.ts';
import { type BatchAttributes, ROW_BORDER, tokenAt } from '../core/model/chunk.ts';
import { type Declaration, Declarations } from '../core/model/declarations.ts';
import type { Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Where the log of a test is, and its clock. */
export interface CreateLogOptions {
  /** An empty directory, or one that held such a log before. */
  readonly directory: string;
  /** The clock by which the log must judge the age of rows. */
  readonly clock: Clock;
}

/** Makes a log for one test. */
export type CreateLog = (options: CreateLogOptions) => Log;

/** Registers a test that gets a place. The place is removed afterwards. */
export type TestAt = (title: string, run: (place: LogPlace) => Promise<void>) => void;

export interface StoredBatch {
  readonly token: Token;
  readonly rows: readonly RowText[];
}

export const smallLimits: BatchLimits = { maxLineBytes: 1_000, maxBatchBytes: 5_000 };

export const CATALOG: StreamName = '$streams';

const READ_WHOLE: ReadOptions = { after: 0, maxBytes: 256 * 1024 };

export class LogPlace {
  readonly directory: string;
  readonly clock: VirtualClock = new VirtualClock();
  readonly #create: CreateLog;
  #log: Log | undefined;

  static async make(create: CreateLog): Promise<LogPlace> {
    return new LogPlace(create, await mkdtemp(join(tmpdir(), 'rowcast-log-')));
  }

  private constructor(create: CreateLog, directory: string) {
    this.#create = create;
    this.directory = directory;
  }

  get log(): Log {
    assert.ok(this.#log, 'the test opens the log first');
    return this.#log;
  }

  create(): Log {
    return this.#create({ directory: this.directory, clock: this.clock });
  }

  /** Closes the open log, and opens one in the same directory. */
  async open(declared: readonly Declaration[], limits: BatchLimits = defaultBatchLimits): Promise<Log> {
    await this.#log?.close();
    this.#log = this.create();
    await this.#log.open(openOptions(declared, limits));
    return this.#log;
  }

  /** @returns the token of the batch */
  async append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    return (await this.log.append(stream, rows)).token;
  }

  /** The tokens between which rows are kept. */
  extent(stream: StreamName): { earliest: Token; latest: Token } {
    const { earliest, latest } = this.log.bounds(stream);
    return { earliest, latest };
  }

  /**
   * Reads everything after `after`, page by page. Checks that every page continues where the last
   * one ended.
   */
  async readAll(stream: StreamName, { after, maxBytes }: ReadOptions = READ_WHOLE): Promise<StoredBatch[]> {
    const batches: StoredBatch[] = [];
    let position = after;
    for (;;) {
      const page = await this.log.read(stream, { after: position, maxBytes });
      const ofPage = parseBatches(page);
      assert.equal(
        page.rows,
        ofPage.reduce((rows, batch) => rows + batch.rows.length, 0),
        'the rows that the page counts',
      );
      batches.push(...ofPage);
      if (!page.hasMore) return batches;
      assert.ok(page.upTo > position, 'a page that is not the last to reach further');
      position = page.upTo;
    }
  }

  /** Moves the clock by which rows age. */
  passTime(ms: number): void {
    const until = this.clock.now() + ms;
    while (this.clock.step(until));
  }

  async remove(): Promise<void> {
    await this.#log?.close();
    await rm(this.directory, { recursive: true });
  }
}

export function openOptions(declared: readonly Declaration[], limits: BatchLimits = defaultBatchLimits): LogOptions {
  return { declarations: new Declarations(declared), limits, catalog: CATALOG };
}

/** Watches for rows of streams, not of the catalog. */
export function watchRows(source: Source, listener: (event: RowsEvent) => void): () => void {
  return source.watch((event) => {
    if (event.kind === 'rows' && event.stream !== source.catalog) listener(event);
  });
}

/** `count` different rows. */
export function numberedRows(count: number, of = 'row'): RowText[] {
  return Array.from({ length: count }, (_, i) => JSON.stringify({ of, i }));
}

/** The batches of a page. Checks that its chunks are whole, of one history, and join on. */
export function parseBatches({ chunks, history }: Page): StoredBatch[] {
  const batches: StoredBatch[] = [];
  for (const [i, chunk] of chunks.entries()) {
    if (i > 0) assert.equal(chunk.after, chunks[i - 1]!.upTo, 'a chunk to join on to the one before it');
    if (chunk.rows > 0) assert.equal(chunk.history, history, 'the history of a chunk to be that of its page');
    const texts = chunk.rows === 0 ? [] : Buffer.from(chunk.texts).toString().split(ROW_BORDER);
    assert.equal(texts.length, chunk.rows, 'the rows that the chunk counts');
    for (const [place, size] of chunk.sizes.entries()) {
      const token = tokenAt(chunk, place);
      assert.ok(token > (batches.at(-1)?.token ?? chunk.after) && token <= chunk.upTo, `token ${token} to rise`);
      batches.push({ token, rows: texts.splice(0, size) });
    }
    assert.deepEqual(texts, [], 'the sizes to cover all rows');
  }
  return batches;
}

/** The attributes of a page's batches. */
export function attributesOf({ chunks }: Page): BatchAttributes[] {
  return chunks.flatMap(({ attributes }) => attributes ?? []);
}

export interface CatalogRow {
  readonly stream: StreamName;
  readonly made?: number;
  readonly deleted?: number;
}

/** The rows of the catalog. Checks that each has a token of its own. */
export async function catalogRows(place: LogPlace): Promise<CatalogRow[]> {
  const batches = await place.readAll(CATALOG);
  for (const { rows } of batches) assert.equal(rows.length, 1, 'a row of the catalog to have a token of its own');
  return batches.map(({ rows }) => JSON.parse(rows[0]!) as CatalogRow);
}
