/**
 * The primary's streams in its two logs, durable and volatile, and in further sources, each behind
 * its tail. Knows no session and no connection. Listeners of `watch` are told what happens.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type {
  AppendOptions,
  CuttingEvent,
  Log,
  LogHolders,
  ReadOptions,
  RowsEvent,
  Source,
  SourceEvent,
} from '../log/log.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import { rowsOfChunkAfter } from '../core/model/chunk.ts';
import { type Declaration, Declarations } from '../core/model/declarations.ts';
import { UsageError } from '../core/model/errors.ts';
import { type History, logIdOf } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { Position } from '../core/model/position.ts';
import { parseTexts, type RowText, validateRows } from '../core/model/row.ts';
import {
  DURABLE_CATALOG,
  type Stream,
  type StreamName,
  VOLATILE_CATALOG,
  type WorkerName,
} from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { StreamTable } from '../core/sessions/stream-table.ts';
import { MAX_SOURCES, type PrimaryEras } from '../core/wire/greeting.ts';
import { TailRoom } from '../log/tail-room.ts';
import { FollowedStream, ServedSource } from './served-source.ts';

export interface StreamCatalogOptions {
  readonly streams: readonly (Declaration | StreamName)[];
  /** Holds the durable streams. */
  readonly log: Log;
  /** Holds the streams that are worth nothing after a restart. */
  readonly volatileLog: Log;
  /** Further sources, which are open. Their streams are served and not appended to. */
  readonly sources?: readonly Source[];
  readonly limits: BatchLimits;
  /** The most bytes of rows that all tails together keep in memory. */
  readonly tailBytes: number;
  /** How long an answer of a source is waited for. */
  readonly sourceTimeoutMs: Millis;
  readonly clock: Clock;
  /** Undefined: the default of the logs. */
  readonly idRetentionMs?: Millis | undefined;
}

export interface CatalogListener {
  /** The `latest` of a stream that someone follows moved, and its rows can be read. */
  handleRows(stream: StreamName): void;
  /** A stream was made. Told before its first rows, unless the source told neither with its rows. */
  handleMade(stream: StreamName): void;
  handleDeleted(stream: StreamName): void;
  /** Rows of a stream were taken back. */
  handleRebased(stream: StreamName): void;
  /** A log has begun another era. */
  handleEra(era: History): void;
  /** Rows that a worker needs are about to be dropped. */
  handleCutting(event: CuttingEvent): void;
}

/** A stream that was found: where it is, and how far. */
export interface FoundStream {
  readonly source: Source;
  /** Undefined for a stream of a further source. */
  readonly declaration: Declaration | undefined;
  readonly bounds: Bounds;
}

interface BatchToAppend {
  /** The values of the texts, for the stream's validator. Undefined: it gets them parsed. */
  readonly values?: readonly unknown[] | undefined;
  readonly options?: AppendOptions | undefined;
}

export class StreamCatalog implements StreamTable {
  readonly #options: StreamCatalogOptions;
  readonly #declarations: Declarations;
  /** Some declaration has `retain.untilSavedBy`. */
  readonly #hasHolders: boolean;
  /** Once it is open: the durable log, the volatile one, and the others. */
  readonly #sources: ServedSource[] = [];
  /** Streams that sessions replicate. What nobody follows costs nothing here. */
  readonly #followed = new Map<StreamName, FollowedStream>();
  readonly #listeners: CatalogListener[] = [];
  readonly #endWatches: (() => void)[] = [];

  /** @throws UsageError DUPLICATE_STREAM, INVALID_OPTION */
  constructor(options: StreamCatalogOptions) {
    this.#options = options;
    this.#declarations = new Declarations(options.streams);
    const { streams, patterns } = this.#declarations;
    this.#hasHolders = [...streams, ...patterns].some(({ retain }) => retain.untilSavedBy !== undefined);
    checkSources(options.sources ?? []);
  }

  /** @throws LogError */
  async open(): Promise<void> {
    const { log, volatileLog, sources = [], limits, idRetentionMs } = this.#options;
    checkHolders(this.#declarations, log);
    const shared = idRetentionMs === undefined ? { limits } : { limits, idRetentionMs };
    const ofLog = (durable: boolean): Declarations => this.#declarations.filter((one) => one.durable === durable);
    await log.open({ declarations: ofLog(true), ...shared, catalog: DURABLE_CATALOG });
    try {
      await volatileLog.open({ declarations: ofLog(false), ...shared, catalog: VOLATILE_CATALOG });
      checkLogIds([log, volatileLog, ...sources]);
      const { tailBytes, sourceTimeoutMs, clock } = this.#options;
      const tailRoom = new TailRoom(tailBytes);
      for (const source of [log, volatileLog, ...sources]) {
        // The tail watches first, so it has the rows when a hint reaches a session.
        const served = new ServedSource(source, { tailRoom, sourceTimeoutMs, clock });
        this.#sources.push(served);
        this.#endWatches.push(source.watch((event) => this.#handleEvent(served, event)));
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  get eras(): PrimaryEras {
    const { log, volatileLog, sources = [] } = this.#options;
    return { durable: log.era, volatile: volatileLog.era, others: sources.map(({ era }) => era) };
  }

  *names(): IterableIterator<StreamName> {
    const { streams } = this.#declarations;
    const byName = new Set<StreamName>();
    for (const { name } of streams) byName.add(name);
    yield* byName;
    for (const served of this.#sources) {
      for (const name of served.source.streams()) {
        if (!byName.has(name) && this.#sourceOf(name) === served) yield name;
      }
    }
  }

  /** The streams that a status lists, some of them twice: also those that are followed and not made. */
  *listed(): IterableIterator<StreamName> {
    yield* this.names();
    for (const name of this.#followed.keys()) if (!name.startsWith('$')) yield name;
  }

  /** The logs' own streams. */
  get catalogs(): readonly StreamName[] {
    return this.#sources.map(({ source }) => source.catalog);
  }

  get patterns(): readonly NamePattern[] {
    return this.#declarations.patterns.map(({ pattern }) => pattern);
  }

  /** The definition of a stream. Undefined when it was not declared. */
  declared(stream: StreamName): Stream | undefined {
    return this.#declarations.find(stream);
  }

  follow(stream: StreamName): FollowedStream | undefined {
    let followed = this.#followed.get(stream);
    if (followed === undefined) {
      const served = this.#sourceOf(stream);
      if (served === undefined) return undefined;
      followed = new FollowedStream(stream, served);
      this.#followed.set(stream, followed);
    }
    followed.followers++;
    return followed;
  }

  leave(followed: FollowedStream): void {
    if (--followed.followers === 0) this.#followed.delete(followed.stream);
  }

  /** @throws UsageError NO_SUCH_STREAM */
  find(stream: StreamName): FoundStream {
    const served = stream.startsWith('$') ? undefined : this.#sourceOf(stream);
    if (served === undefined) throw noSuchStream(stream);
    const { source } = served;
    return { source, declaration: this.#declarations.declarationOf(stream), bounds: source.bounds(stream) };
  }

  /**
   * Appends a batch of row texts. Resolves to its position when it is durable. Batches of one stream
   * keep the order of the calls, unless the stream's validator is asynchronous.
   * @throws UsageError NO_SUCH_STREAM, READ_ONLY_STREAM, INVALID_ROW, INVALID_ATTRIBUTES,
   *   ROW_TOO_LARGE, BATCH_TOO_LARGE, CLOSED; LogError
   */
  append(stream: StreamName, texts: readonly RowText[], { values, options }: BatchToAppend = {}): Promise<Position> {
    try {
      const { durable, row } = this.#declarationOf(stream);
      const log = this.#logOf(durable);
      const verdict = row === undefined ? undefined : validateRows(stream, row, values ?? parseTexts(texts));
      // Awaited only when it must be: later calls overtake this one meanwhile.
      if (verdict instanceof Promise) return verdict.then(() => log.append(stream, texts, options));
      // Returned as it is: a promise around it would cost as much as the append itself.
      return log.append(stream, texts, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Keeps who holds rows of the stream back. Undefined when nobody may. */
  holdersOf(stream: StreamName): LogHolders | undefined {
    if (!this.#hasHolders) return undefined;
    const declaration = this.#declarations.declarationOf(stream);
    if (declaration?.retain.untilSavedBy === undefined) return undefined;
    return this.#logOf(declaration.durable).holders;
  }

  /** Lets go of what a worker holds. Resolves to the streams that it held. */
  async forgetWorker(worker: WorkerName): Promise<StreamName[]> {
    const { log, volatileLog } = this.#options;
    const forgotten = await Promise.all([log.holders?.forget(worker) ?? [], volatileLog.holders?.forget(worker) ?? []]);
    return forgotten.flat();
  }

  judge(position: Position): Verdict | Promise<Verdict> {
    return this.#servedOf(position.stream).source.judge(position);
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    return this.#servedOf(stream).tail.read(stream, options);
  }

  /** @throws UsageError NO_SUCH_STREAM, READ_ONLY_STREAM; LogError */
  async trim(stream: StreamName, upTo: Token): Promise<void> {
    await this.#logOf(this.#declarationOf(stream).durable).trim(stream, upTo);
  }

  /** @throws UsageError NO_SUCH_STREAM, READ_ONLY_STREAM; LogError */
  async delete(stream: StreamName): Promise<void> {
    await this.#logOf(this.#declarationOf(stream).durable).delete(stream);
  }

  watch(listener: CatalogListener): void {
    this.#listeners.push(listener);
  }

  /** Finishes pending appends and closes both logs. Further sources belong to who opened them. */
  async close(): Promise<void> {
    for (const { tail } of this.#sources) tail.close();
    for (const endWatch of this.#endWatches.splice(0)) endWatch();
    await Promise.all([this.#options.log.close(), this.#options.volatileLog.close()]);
  }

  #logOf(durable: boolean): Log {
    return durable ? this.#options.log : this.#options.volatileLog;
  }

  /**
   * The source that has a stream, made or not: one of the two logs where it is declared, otherwise
   * the first that serves it.
   */
  #sourceOf(stream: StreamName): ServedSource | undefined {
    if (stream.startsWith('$')) return this.#sources.find(({ source }) => source.catalog === stream);
    const declaration = this.#declarations.declarationOf(stream);
    if (declaration !== undefined) return this.#sources[declaration.durable ? 0 : 1];
    return this.#sources.find(({ source }, i) => i > 1 && source.serves(stream));
  }

  #servedOf(stream: StreamName): ServedSource {
    const served = this.#followed.get(stream)?.served ?? this.#sourceOf(stream);
    if (served === undefined) throw noSuchStream(stream);
    return served;
  }

  #declarationOf(stream: StreamName): Declaration {
    const declaration = this.#declarations.declarationOf(stream);
    if (declaration !== undefined) return declaration;
    const elsewhere = stream.startsWith('$') ? undefined : this.#sourceOf(stream);
    if (elsewhere === undefined) throw noSuchStream(stream);
    const { name } = elsewhere.source;
    throw new UsageError(
      'READ_ONLY_STREAM',
      `stream ${stream} is of the source ${name}, which this primary only serves: append to it there`,
      { facts: { stream, source: name } },
    );
  }

  #handleEvent(served: ServedSource, event: SourceEvent): void {
    if (event.kind === 'era') {
      for (const listener of this.#listeners) listener.handleEra(event.era);
      return;
    }
    if (event.kind === 'rows') return this.#handleRows(served, event);
    if (event.kind === 'cutting') {
      for (const listener of this.#listeners) listener.handleCutting(event);
      return;
    }
    const { kind, stream } = event;
    if (stream === served.source.catalog) served.handleCatalogRebased();
    const followed = this.#followed.get(stream);
    if (followed?.served !== served) return;
    followed.announced = followed.bounds.latest;
    for (const listener of this.#listeners) {
      if (kind === 'deleted') listener.handleDeleted(stream);
      else listener.handleRebased(stream);
    }
  }

  #handleRows(served: ServedSource, { stream, latest, chunks }: RowsEvent): void {
    if (stream === served.source.catalog) {
      served.handleCatalog(latest, chunks, (made) => {
        if (this.#sourceOf(made) !== served) return;
        for (const listener of this.#listeners) listener.handleMade(made);
      });
    }
    const followed = this.#followed.get(stream);
    if (followed?.served !== served || latest <= followed.announced) return;
    let rows = 0;
    if (chunks === undefined) rows = latest - followed.announced;
    else for (const chunk of chunks) rows += rowsOfChunkAfter(chunk, followed.announced);
    followed.appendedRows += rows;
    followed.announced = latest;
    for (const listener of this.#listeners) listener.handleRows(stream);
  }
}

/** @throws UsageError NOT_SUPPORTED */
function checkHolders(declarations: Declarations, log: Log): void {
  if (log.holders !== undefined) return;
  for (const declaration of [...declarations.streams, ...declarations.patterns]) {
    if (!declaration.durable || declaration.retain.untilSavedBy === undefined) continue;
    const stream = 'pattern' in declaration ? declaration.pattern : declaration.name;
    const text = `stream ${stream} has retain.untilSavedBy, and log ${log.name} keeps no acknowledgements: leave it out`;
    throw new UsageError('NOT_SUPPORTED', text, { facts: { stream } });
  }
}

/** @throws UsageError INVALID_OPTION */
function checkSources(sources: readonly Source[]): void {
  if (sources.length + 2 > MAX_SOURCES) {
    throw new UsageError('INVALID_OPTION', `a primary has at most ${MAX_SOURCES - 2} sources beside its two logs`);
  }
  for (const { name, catalog, era } of sources) {
    // Workers know the catalog of a source by its log id, which the greeting names.
    const expected = `${DURABLE_CATALOG}.${logIdOf(era)}`;
    if (catalog !== expected) {
      throw new UsageError('INVALID_OPTION', `the catalog of source ${name} is ${expected}, not ${catalog}`);
    }
  }
}

/** @throws UsageError INVALID_OPTION */
function checkLogIds(sources: readonly Source[]): void {
  const ids = new Map<string, Source>();
  for (const source of sources) {
    const id = logIdOf(source.era);
    const other = ids.get(id);
    if (other !== undefined) {
      const text = `source ${source.name} is of log ${id}, and so is ${other.name}: serve one of them`;
      throw new UsageError('INVALID_OPTION', text, { facts: { logId: id } });
    }
    ids.set(id, source);
  }
}

function noSuchStream(stream: StreamName): UsageError {
  const text = `there is no stream ${stream}: neither it nor a pattern that matches it was declared`;
  return new UsageError('NO_SUCH_STREAM', text, { facts: { stream } });
}
