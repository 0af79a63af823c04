/**
 * Append, then announce: the primary's streams over the two logs that hold them, durable and volatile, each behind its
 * tail. Knows no session and no connection; whoever listens to `watch` is told of every append.
 */

import type { Log, ReadOptions, SourceListener } from '../log/log.ts';
import { Tail } from '../log/tail.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Page } from '../core/model/page.ts';
import { encodeRows, validateRows } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Histories } from '../core/wire/greeting.ts';
import type { StreamState, StreamTable } from '../core/sessions/stream-table.ts';

export interface StreamCatalogOptions {
  readonly streams: readonly Stream[];
  /** Holds the streams that are durable. */
  readonly log: Log;
  /** Holds those that are worth nothing after a restart. */
  readonly volatileLog: Log;
  readonly limits: BatchLimits;
  /** The most bytes of rows that each tail keeps in memory. */
  readonly tailBytes: number;
}

/** One stream: what it is, where it lives, how far it is. */
class PublishedStream implements StreamState {
  readonly definition: Stream;
  readonly log: Log;
  readonly tail: Tail;
  /** The highest token that a hint told of. */
  announced: Token;
  appendedRows = 0;

  constructor(definition: Stream, log: Log, tail: Tail) {
    this.definition = definition;
    this.log = log;
    this.tail = tail;
    this.announced = this.latest;
  }

  /** The log's own: rows may be read before their hint has come, and whoever has read them is not ahead of the stream. */
  get latest(): Token {
    return this.log.bounds(this.definition.name).latest;
  }

  get earliest(): Token {
    return this.log.bounds(this.definition.name).earliest;
  }
}

export class StreamCatalog implements StreamTable {
  readonly #options: StreamCatalogOptions;
  readonly #published = new Map<StreamName, PublishedStream>();
  readonly #listeners: ((stream: StreamName) => void)[] = [];

  constructor(options: StreamCatalogOptions) {
    this.#options = options;
    const names = new Set<StreamName>();
    for (const { name } of options.streams) {
      if (names.has(name)) throw new UsageError('DUPLICATE_STREAM', `stream ${name} is declared twice`);
      names.add(name);
    }
  }

  /** @throws LogError */
  async open(): Promise<void> {
    await this.#openLog(this.#options.log, true);
    await this.#openLog(this.#options.volatileLog, false);
  }

  get histories(): Histories {
    const historyOf = (log: Log): { logId: string; streams: StreamName[] } => ({
      logId: log.id,
      streams: [...this.#streamsIn(log)],
    });
    const durable = historyOf(this.#options.log);
    const volatile = historyOf(this.#options.volatileLog);
    return volatile.streams.length > 0 ? { durable, volatile } : { durable };
  }

  names(): Iterable<StreamName> {
    return this.#published.keys();
  }

  get(stream: StreamName): PublishedStream | undefined {
    return this.#published.get(stream);
  }

  /**
   * Resolves to the batch's token when it is durable. Batches of one stream keep the order of the calls, unless the
   * stream's validator is asynchronous.
   * @throws UsageError NO_SUCH_STREAM, INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE, CLOSED; LogError
   */
  append(stream: StreamName, rows: readonly unknown[]): Promise<Token> {
    try {
      const { definition, log } = this.find(stream);
      // Before anything is awaited: what the caller does to the rows afterwards is none of the batch's.
      const texts = encodeRows(stream, rows);
      const verdict = definition.row === undefined ? undefined : validateRows(stream, definition.row, rows);
      // Waited for only where it must be: later calls overtake this one meanwhile.
      if (verdict instanceof Promise) return verdict.then(async () => (await log.append(stream, texts)).token);
      return log.append(stream, texts).then(({ token }) => token);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    return this.find(stream).tail.read(stream, options);
  }

  /** @throws UsageError NO_SUCH_STREAM; LogError */
  async trim(stream: StreamName, upTo: Token): Promise<void> {
    await this.find(stream).log.trim(stream, upTo);
  }

  /** Calls the listener when a stream's latest moved; its rows can be read by then. */
  watch(listener: (stream: StreamName) => void): void {
    this.#listeners.push(listener);
  }

  /** Finishes what was appended. */
  async close(): Promise<void> {
    await Promise.all([this.#options.log.close(), this.#options.volatileLog.close()]);
  }

  async #openLog(log: Log, durable: boolean): Promise<void> {
    const streams = this.#options.streams.filter((stream) => stream.durable === durable);
    const catalog = durable ? '$streams' : '$streams.volatile';
    await log.open({ streams, limits: this.#options.limits, catalog });
    // The tail watches before we do: when a hint reaches a session, the tail has the rows.
    const tail = new Tail(log, { maxBytes: this.#options.tailBytes });
    for (const stream of streams) this.#published.set(stream.name, new PublishedStream(stream, log, tail));
    log.watch(this.#handleHint);
  }

  readonly #handleHint: SourceListener = (event) => {
    if (event.kind !== 'rows') return;
    const { stream, latest, chunks } = event;
    const published = this.#published.get(stream);
    if (published === undefined || latest <= published.announced) return;
    published.appendedRows += chunks?.reduce((rows, chunk) => rows + chunk.rows, 0) ?? latest - published.announced;
    published.announced = latest;
    for (const listener of this.#listeners) listener(stream);
  };

  /** @throws UsageError NO_SUCH_STREAM */
  find(stream: StreamName): PublishedStream {
    const published = this.#published.get(stream);
    if (published === undefined)
      throw new UsageError(
        'NO_SUCH_STREAM',
        `there is no stream ${stream}: it was not declared when the primary was made`,
      );
    return published;
  }

  *#streamsIn(log: Log): Iterable<StreamName> {
    for (const [name, published] of this.#published) if (published.log === log) yield name;
  }
}
