/**
 * The primary's streams in its two logs, durable and volatile, each log behind its tail. Knows no
 * session and no connection. Listeners of `watch` are told of every append.
 */

import type { AppendOptions, Log, ReadOptions, SourceEvent } from '../log/log.ts';
import { Tail } from '../log/tail.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import { encodeRows, validateRows } from '../core/model/row.ts';
import { DURABLE_CATALOG, type Stream, type StreamName, VOLATILE_CATALOG } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { StreamState, StreamTable } from '../core/sessions/stream-table.ts';
import type { PrimaryEras } from '../core/wire/greeting.ts';

export interface StreamCatalogOptions {
  readonly streams: readonly Stream[];
  /** Holds the durable streams. */
  readonly log: Log;
  /** Holds the streams that are worth nothing after a restart. */
  readonly volatileLog: Log;
  readonly limits: BatchLimits;
  /** The most bytes of rows that each tail keeps in memory. */
  readonly tailBytes: number;
}

export interface CatalogListener {
  /** A stream's `latest` moved, and its rows can be read. */
  handleRows(stream: StreamName): void;
  /** A log has begun another era. */
  handleEra(era: History): void;
}

/** One stream: its declaration, its log, how far it is. */
class ServedStream implements StreamState {
  readonly definition: Stream;
  readonly log: Log;
  readonly tail: Tail;
  /** The highest token that a hint has told. */
  announced: Token;
  appendedRows = 0;

  constructor(definition: Stream, log: Log, tail: Tail) {
    this.definition = definition;
    this.log = log;
    this.tail = tail;
    this.announced = this.bounds.latest;
  }

  /**
   * The log's own bounds, not those of the last hint: rows may be read before their hint has come,
   * and a session that has read them is not ahead of the stream.
   */
  get bounds(): Bounds {
    return this.log.bounds(this.definition.name);
  }

  rowsAfter(after: Token): number {
    return this.log.rowsAfter(this.definition.name, after);
  }
}

export class StreamCatalog implements StreamTable {
  readonly #options: StreamCatalogOptions;
  readonly #served = new Map<StreamName, ServedStream>();
  /** `$streams` of each log. Sessions may ask for them, the application may not. */
  readonly #catalogs = new Map<StreamName, ServedStream>();
  readonly #listeners: CatalogListener[] = [];

  /** @throws UsageError DUPLICATE_STREAM */
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
    const { log, volatileLog } = this.#options;
    await this.#openLog(log, DURABLE_CATALOG, true);
    try {
      await this.#openLog(volatileLog, VOLATILE_CATALOG, false);
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  get eras(): PrimaryEras {
    return { durable: this.#options.log.era, volatile: this.#options.volatileLog.era, others: [] };
  }

  names(): Iterable<StreamName> {
    return this.#served.keys();
  }

  /** The declaration of a stream. Undefined when it was not declared. */
  declared(stream: StreamName): Stream | undefined {
    return this.#served.get(stream)?.definition;
  }

  get(stream: StreamName): ServedStream | undefined {
    return this.#served.get(stream) ?? this.#catalogs.get(stream);
  }

  /** @throws UsageError NO_SUCH_STREAM */
  find(stream: StreamName): ServedStream {
    const served = this.#served.get(stream);
    if (served !== undefined) return served;
    throw new UsageError(
      'NO_SUCH_STREAM',
      `there is no stream ${stream}: it was not declared when the primary was made`,
      {
        facts: { stream },
      },
    );
  }

  /**
   * Appends a batch. Resolves to its position when it is durable. Batches of one stream keep the
   * order of the calls, unless the stream's validator is asynchronous.
   * @throws UsageError NO_SUCH_STREAM, INVALID_ROW, INVALID_ATTRIBUTES, ROW_TOO_LARGE,
   *   BATCH_TOO_LARGE, CLOSED; LogError
   */
  append(stream: StreamName, rows: readonly unknown[], options?: AppendOptions): Promise<Position> {
    try {
      const { definition, log } = this.find(stream);
      // Encoded before anything is awaited, so that later changes to the rows do not reach the
      // batch.
      const texts = encodeRows(stream, rows);
      const verdict = definition.row === undefined ? undefined : validateRows(stream, definition.row, rows);
      // Awaited only when it must be: later calls overtake this one meanwhile.
      if (verdict instanceof Promise) return verdict.then(() => log.append(stream, texts, options));
      // Returned as it is: a promise around it would cost as much as the append itself.
      return log.append(stream, texts, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  judge(position: Position): Verdict | Promise<Verdict> {
    return this.get(position.stream)!.log.judge(position);
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    return this.get(stream)!.tail.read(stream, options);
  }

  /** @throws UsageError NO_SUCH_STREAM; LogError */
  async trim(stream: StreamName, upTo: Token): Promise<void> {
    await this.find(stream).log.trim(stream, upTo);
  }

  watch(listener: CatalogListener): void {
    this.#listeners.push(listener);
  }

  /** Finishes pending appends and closes both logs. */
  async close(): Promise<void> {
    await Promise.all([this.#options.log.close(), this.#options.volatileLog.close()]);
  }

  async #openLog(log: Log, catalog: StreamName, durable: boolean): Promise<void> {
    const streams = this.#options.streams.filter((stream) => stream.durable === durable);
    await log.open({ streams, limits: this.#options.limits, catalog });
    // The tail watches first, so it has the rows when a hint reaches a session.
    const tail = new Tail(log, { maxBytes: this.#options.tailBytes });
    for (const stream of streams) this.#served.set(stream.name, new ServedStream(stream, log, tail));
    const definition: Stream = { name: catalog, durable, retain: {} };
    this.#catalogs.set(catalog, new ServedStream(definition, log, tail));
    log.watch(this.#handleEvent);
  }

  readonly #handleEvent = (event: SourceEvent): void => {
    if (event.kind === 'era') {
      for (const listener of this.#listeners) listener.handleEra(event.era);
      return;
    }
    const { stream, latest, chunks } = event;
    const served = this.get(stream);
    if (served === undefined || latest <= served.announced) return;
    let rows = 0;
    if (chunks === undefined) rows = latest - served.announced;
    else for (const chunk of chunks) rows += chunk.rows;
    served.appendedRows += rows;
    served.announced = latest;
    for (const listener of this.#listeners) listener.handleRows(stream);
  };
}
