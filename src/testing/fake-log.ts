/**
 * The log of one process over a disk that outlives it. Commits, hints and answers take time, hints
 * may come without rows, and the process can end at any instant. Each queued batch is then kept
 * wholly or not at all.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import type { AttributesText } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { type Chunk, chunkAfter, chunkBytes, rowsOfChunkAfter } from '../core/model/chunk.ts';
import { UsageError } from '../core/model/errors.ts';
import { formatHistory, type History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import { DeletedNames } from '../log/deleted-names.ts';
import { deletedRow, madeRow, nextEra } from '../log/era.ts';
import { encodeChunks } from '../log/group-commit.ts';
import { judgePosition } from '../log/judge.ts';
import type {
  AppendOptions,
  Log,
  LogHealth,
  LogOptions,
  ReadOptions,
  SourceEvent,
  SourceListener,
} from '../log/log.ts';
import { mayDropOldest } from '../log/retention.ts';
import { noSuchStream } from '../log/usage-errors.ts';
import {
  type DiskState,
  type DiskStream,
  emptyStream,
  type FakeDisk,
  historyAt,
  withChunks,
  withoutRowsUpTo,
} from './fake-disk.ts';
import { nodeAfter } from './history-tree.ts';
import { LateAnswer } from './late-answer.ts';
import type { CommittedBatches, WorldRow } from './world-rows.ts';

export interface FakeLogTimes {
  readonly maxCommitMs: Millis;
  /** The longest time from a commit to its hint, and from a read to its answer. 0 means at once. */
  readonly maxHintMs: Millis;
  readonly maxReadMs: Millis;
  /** How many of a hundred hints carry their rows. */
  readonly chunksPercent: number;
  /** How many of a hundred commits are synced when they are acknowledged. */
  readonly syncedPercent: number;
}

export interface FakeLogOptions extends FakeLogTimes {
  readonly name: string;
  readonly disk: FakeDisk;
  readonly clock: Clock;
  readonly random: Random;
  readonly committed: CommittedBatches;
  /** Called when the code that awaits an answer throws and nothing would catch it. */
  readonly onThrown: (thrown: unknown) => void;
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly attributes: AttributesText | undefined;
  readonly resolve: (position: Position) => void;
}

/**
 * The wall clock runs a second in 5 ms, so at least a second passes between two opens. That holds
 * where people restore logs.
 */
const WALL_PACE = 200;

export class FakeLog implements Log {
  readonly name: string;
  readonly health: LogHealth = 'ok';
  era: History = '';
  readonly #options: FakeLogOptions;
  readonly #deleted = new DeletedNames();
  /** The disk as this process sees it. It stays as it was after the process ends. */
  #state: DiskState;
  #opened: LogOptions | undefined;
  #waiting: Waiting[] = [];
  #listeners: SourceListener[] = [];
  #hasEnded = false;
  largestChunkBytes = 0;

  constructor(options: FakeLogOptions) {
    this.#options = options;
    this.name = options.name;
    this.#state = options.disk.state;
  }

  get id(): string {
    return this.#state.logId;
  }

  /** The process's true state of the stream: one branch of history. */
  truth(stream: StreamName): DiskStream {
    return this.#state.streams.get(stream) ?? emptyStream(this.id, this.#options.committed.root(stream));
  }

  get catalog(): StreamName {
    return this.#requireOpen().catalog;
  }

  async open(options: LogOptions): Promise<void> {
    this.#opened = options;
    this.#beginEra(false);
    for (const { chunks } of this.#state.streams.values()) for (const chunk of chunks) this.#measure(chunk);
  }

  serves(stream: StreamName): boolean {
    const { declarations, catalog } = this.#requireOpen();
    return stream === catalog || declarations.has(stream);
  }

  streams(): Iterable<StreamName> {
    const { declarations } = this.#requireOpen();
    return [...this.#state.streams.keys()].filter((name) => declarations.has(name));
  }

  append(stream: StreamName, rows: readonly RowText[], { attributes }: AppendOptions = {}): Promise<Position> {
    if (this.#opened === undefined) return Promise.reject(this.#closedError());
    this.#requireDeclared(stream);
    checkBatch(stream, rows, this.#opened.limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitAndTell());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, attributes, resolve }));
  }

  judge(position: Position): Verdict {
    const kept = this.#served(position.stream);
    return judgePosition(position, { bounds: kept, historyAt: (token) => historyAt(kept, token) });
  }

  rowsAfter(stream: StreamName, after: Token): number {
    const { chunks, earliest } = this.#served(stream);
    const from = Math.max(after, earliest - 1);
    return chunks.reduce((rows, chunk) => rows + rowsOfChunkAfter(chunk, from), 0);
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    const { maxReadMs, random, onThrown } = this.#options;
    if (maxReadMs === 0 || random.next() < 0.5) return this.#readNow(stream, options);
    return new LateAnswer(onThrown, (resolve, reject) => {
      this.#later(maxReadMs, () => {
        try {
          resolve(this.#readNow(stream, options));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  bounds(stream: StreamName): Bounds {
    const { earliest, latest, history, base } = this.#served(stream);
    return { earliest, latest, history, base };
  }

  watch(listener: SourceListener): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    if (this.#isMade(stream)) this.#writeStream(stream, withoutRowsUpTo(this.truth(stream), upTo), true);
  }

  async delete(stream: StreamName): Promise<void> {
    this.#requireDeclared(stream);
    this.#commitAndTell();
    const { catalog } = this.#requireOpen();
    if (!this.#isMade(stream)) return;
    const streams = new Map(this.#state.streams);
    streams.delete(stream);
    this.#deleted.add(stream);
    const listed = this.truth(catalog);
    const chunks = this.#encode(catalog, listed, listed.latest, [[deletedRow(stream, this.#options.clock.wallNow())]]);
    streams.set(catalog, withChunks(listed, chunks));
    this.#write({ ...this.#state, streams }, true);
    this.#announce([
      { kind: 'rows', stream: catalog, latest: this.truth(catalog).latest, chunks },
      { kind: 'deleted', stream },
    ]);
  }

  /** Moves `latest` without rows, as when writers take numbers and then give up. */
  skip(stream: StreamName, tokens: number): void {
    const kept = this.truth(stream);
    const latest = kept.latest + tokens;
    const chunk: Chunk = {
      after: kept.latest,
      upTo: latest,
      rows: 0,
      rowsUpTo: kept.rowsUpTo,
      history: this.era,
      atMs: this.#now,
      logMs: this.#now,
      texts: Buffer.alloc(0),
      sizes: [],
    };
    this.#writeStream(stream, withChunks(kept, [chunk]), true);
    this.#announce([{ kind: 'rows', stream, latest }]);
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    this.#commitAndTell();
    this.#options.disk.sync();
    this.#end();
  }

  /** The process ends as it is. The first few queued batches may have reached the disk. */
  crash(): void {
    if (this.#hasEnded) return;
    if (this.#opened !== undefined)
      this.#commit(this.#waiting.slice(0, randomInteger(this.#options.random, 0, this.#waiting.length)));
    this.#end();
  }

  get #now(): Millis {
    return this.#options.clock.now();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#opened = undefined;
    this.#waiting = [];
    this.#listeners = [];
  }

  #readNow(stream: StreamName, { after, maxBytes }: ReadOptions): Page {
    const kept = this.#served(stream);
    const { chunks } = kept;
    refuseGap(this.name, stream, after, kept);
    const page: Chunk[] = [];
    let bytes = 0;
    for (let i = firstBeyond(chunks, after); i < chunks.length && bytes < maxBytes; i++) {
      const chunk = chunkAfter(chunks[i]!, after);
      if (chunk.history !== (page[0] ?? chunk).history) break;
      page.push(chunk);
      bytes += chunkBytes(chunk);
    }
    return pageOf(stream, page, kept);
  }

  #commitAndTell(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const { hints, positions } = this.#commit(waiting);
    const { chunksPercent, random, maxHintMs } = this.#options;
    const isShown = random.next() * 100 < chunksPercent;
    const tell = (): void => {
      this.#announce(isShown ? hints : hints.map(withoutRows));
      for (const [i, { resolve }] of waiting.entries()) resolve(positions[i]!);
    };
    if (maxHintMs === 0) tell();
    else this.#later(maxHintMs, tell);
  }

  /** @returns a hint for each stream, and the position of each batch */
  #commit(waiting: readonly Waiting[]): { hints: SourceEvent[]; positions: Position[] } {
    const positions: Position[] = [];
    const isSynced = this.#options.random.next() * 100 < this.#options.syncedPercent;
    const streams = new Set(waiting.map((one) => one.stream));
    const hints = this.#make([...streams].filter((stream) => !this.#isMade(stream)));
    for (const stream of streams) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const chunks = this.#writeBatches(
        stream,
        places.map((place) => waiting[place]!),
        isSynced,
      );
      const { latest } = this.truth(stream);
      for (const [i, place] of places.entries())
        positions[place] = { stream, token: latest - places.length + 1 + i, history: this.era };
      hints.push({ kind: 'rows', stream, latest, chunks });
    }
    return { hints, positions };
  }

  /** Lists new streams, and begins an era first if one of them needs it. */
  #make(made: readonly StreamName[]): SourceEvent[] {
    const hints: SourceEvent[] = [];
    if (this.#deleted.needEra(made)) {
      this.#beginEra(true);
      hints.push({ kind: 'era', era: this.era });
    }
    if (made.length === 0) return hints;
    const { catalog } = this.#requireOpen();
    const listed = this.truth(catalog);
    const batches = made.map((name) => [madeRow(name, this.#options.clock.wallNow())]);
    const chunks = this.#encode(catalog, listed, listed.latest, batches);
    // Never synced before the rows of the streams, which are written next.
    this.#writeStream(catalog, withChunks(listed, chunks), false);
    hints.push({ kind: 'rows', stream: catalog, latest: this.truth(catalog).latest, chunks });
    return hints;
  }

  #beginEra(isSynced: boolean): void {
    const { clock, random } = this.#options;
    const { logId, era, streams } = this.#state;
    const begun = nextEra(era, clock.wallNow() * WALL_PACE, random);
    this.era = formatHistory({ logId, ...begun });
    this.#deleted.clear();
    // The record of an open need not be synced: its random part tells the era from another one of
    // the same number.
    this.#write({ logId, era: begun.number, streams }, isSynced);
  }

  #isMade(stream: StreamName): boolean {
    return this.#state.streams.has(stream);
  }

  #writeBatches(stream: StreamName, written: readonly Waiting[], isSynced: boolean): Chunk[] {
    const { random, committed } = this.#options;
    const kept = this.truth(stream);
    const skipped = random.next() < 0.1 ? randomInteger(random, 1, 5) : 0;
    const latest = kept.latest + skipped;
    const batches = written.map(({ rows }) => rows);
    const attributes = new Map(
      written.flatMap((one, i) => (one.attributes === undefined ? [] : [[i, one.attributes]])),
    );
    const chunks = this.#encode(stream, kept, latest, batches, attributes);
    let { head } = kept;
    for (const [i, rows] of batches.entries()) {
      const { batch } = JSON.parse(rows[0]!) as WorldRow;
      head = nodeAfter(head, { token: latest + 1 + i, batch, rows: rows.length, committedAtMs: this.#now });
      committed.add(head);
    }
    for (const chunk of chunks) this.#measure(chunk);
    this.#writeStream(stream, this.#retained(stream, withChunks(kept, chunks, head)), isSynced);
    return chunks;
  }

  /** Skips the numbers between the stream's latest and this one: no batch has them. */
  #encode(
    stream: StreamName,
    { latest: after, rowsUpTo }: DiskStream,
    latest: Token,
    batches: readonly (readonly RowText[])[],
    attributes: Map<number, AttributesText> = new Map(),
  ): Chunk[] {
    const atMs = this.#now;
    const tokens = batches.map((_, i) => latest + 1 + i);
    const planned = { stream, after, batches: [...batches], tokens, attributes };
    return encodeChunks({ planned, rowsUpTo, history: this.era, atMs, logMs: atMs });
  }

  #retained(stream: StreamName, kept: DiskStream): DiskStream {
    const retain = this.#opened?.declarations.find(stream)?.retain ?? {};
    const { chunks } = kept;
    let rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    let dropped = 0;
    while (mayDropOldest(retain, { rows, oldest: chunks[dropped], now: this.#now })) rows -= chunks[dropped++]!.rows;
    return dropped === 0 ? kept : withoutRowsUpTo(kept, chunks[dropped - 1]!.upTo);
  }

  #writeStream(stream: StreamName, kept: DiskStream, isSynced: boolean): void {
    this.#write({ ...this.#state, streams: new Map(this.#state.streams).set(stream, kept) }, isSynced);
  }

  #write(state: DiskState, isSynced: boolean): void {
    this.#state = state;
    this.#options.disk.write(state, { isSynced });
  }

  #measure(chunk: Chunk): void {
    this.largestChunkBytes = Math.max(this.largestChunkBytes, chunkBytes(chunk) + chunk.rows * LINE_HEAD_BYTES);
  }

  /** The state of a stream that may be read. After the end of the process it is any stream's. */
  #served(stream: StreamName): DiskStream {
    if (this.#opened !== undefined && !this.serves(stream)) throw noSuchStream(this.name, stream);
    return this.truth(stream);
  }

  #requireDeclared(stream: StreamName): void {
    if (this.#opened?.declarations.has(stream) === false) throw noSuchStream(this.name, stream);
  }

  #requireOpen(): LogOptions {
    if (this.#opened === undefined) throw this.#closedError();
    return this.#opened;
  }

  #closedError(): UsageError {
    return new UsageError('CLOSED', `log ${this.name} is closed`);
  }

  #announce(hints: readonly SourceEvent[]): void {
    for (const hint of hints) for (const listener of this.#listeners) listener(hint);
  }

  #later(maxMs: Millis, then: () => void): void {
    this.#options.clock.wakeIn(randomInteger(this.#options.random, 0, maxMs), () => {
      if (!this.#hasEnded) then();
    });
  }
}

/** The longest head of a row's line. */
const LINE_HEAD_BYTES = 60;

function withoutRows(hint: SourceEvent): SourceEvent {
  return hint.kind === 'rows' ? { kind: hint.kind, stream: hint.stream, latest: hint.latest } : hint;
}

function firstBeyond(chunks: readonly Chunk[], after: Token): number {
  let at = chunks.length;
  while (at > 0 && chunks[at - 1]!.upTo > after) at--;
  return at;
}
