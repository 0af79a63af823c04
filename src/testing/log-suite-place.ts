/**
 * The place of one test of a log: a directory, a clock that only the test moves, and the log. Also
 * parses pages.
 */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Clock } from '../base/clock.ts';
import type { Log, ReadOptions, RowsEvent, Source } from '../log/log.ts';
import { type BatchLimits, defaultBatchLimits } from '../core/model/batch.ts';
import type { Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface CreateLogOptions {
  /** An empty directory, or one that held such a log before. */
  readonly directory: string;
  /** The clock by which the log must judge the age of rows. */
  readonly clock: Clock;
}

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
  async open(streams: readonly Stream[], limits: BatchLimits = defaultBatchLimits): Promise<Log> {
    await this.#log?.close();
    this.#log = this.create();
    await this.#log.open({ streams, limits, catalog: CATALOG });
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
    this.clock.step(this.clock.now() + ms);
  }

  async remove(): Promise<void> {
    await this.#log?.close();
    await rm(this.directory, { recursive: true });
  }
}

/** Watches for rows only. A source with one era emits nothing else. */
export function watchRows(source: Source, listener: (event: RowsEvent) => void): () => void {
  return source.watch((event) => {
    if (event.kind === 'rows') listener(event);
  });
}

/** `count` different rows. */
export function numberedRows(count: number, of = 'row'): RowText[] {
  return Array.from({ length: count }, (_, i) => JSON.stringify({ of, i }));
}

/**
 * Parses the lines of a page. Throws for a line inside an unfinished batch or of another stream.
 */
export function parseBatches({ stream, lines }: Pick<Page, 'stream' | 'lines'>): StoredBatch[] {
  const batches: StoredBatch[] = [];
  let rows: RowText[] = [];
  const texts = Buffer.from(lines).toString().split('\n');
  assert.equal(texts.pop(), '', 'the lines to end with LF');
  for (const text of texts) {
    const head = `RDATA ${stream} `;
    assert.ok(text.startsWith(head), `a line of stream ${stream}, not ${text.slice(0, 100)}`);
    const [tokenText = ''] = text.slice(head.length).split(' ', 1);
    rows.push(text.slice(head.length + tokenText.length + 1));
    if (tokenText === 'batch') continue;
    const token = Number(tokenText);
    assert.ok(
      Number.isSafeInteger(token) && token > (batches.at(-1)?.token ?? 0),
      `a token above ${batches.at(-1)?.token}, not ${tokenText}`,
    );
    batches.push({ token, rows });
    rows = [];
  }
  assert.deepEqual(rows, [], 'the lines to end with a whole batch');
  return batches;
}
