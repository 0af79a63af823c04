/**
 * The log of one process over a disk that outlives it. Commits, hints and answers take time, hints
 * may come without rows, answers may fail, and the process can end at any instant. Each queued
 * batch is then kept wholly or not at all.
 */

import { assert } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { type AttributesText, checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { type Chunk, chunkAfter, chunkBytes, rowsOfChunkAfter } from '../core/model/chunk.ts';
import { formatHistory, type History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import { DeletedNames } from '../log/deleted-names.ts';
import { deletedRow, madeRow, nextEra } from '../log/era.ts';
import { encodeChunks } from '../log/encode-chunks.ts';
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
import { AgeSweep } from '../log/age-sweep.ts';
import { mayDropOldest } from '../log/retention.ts';
import { logIsOpen, noSuchStream, notOpen } from '../log/usage-errors.ts';
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
import { type AnswerTimes, SlowAnswers } from './slow-answers.ts';
import type { CommittedBatches, WorldRow } from './world-rows.ts';

export interface FakeLogTimes extends AnswerTimes {
  readonly maxCommitMs: Millis;
  /** The longest time from a commit to its hint. 0 means at once. */
  readonly maxHintMs: Millis;
  /** How many of a hundred hints carry their rows. */
  readonly chunksPercent: number;
  /** How many of a hundred commits are synced when they are acknowledged. */
  readonly syncedPercent: number;
  /** How many of a hundred commits to a stream skip numbers before it. */
  readonly skipsPercent: number;
}

export interface FakeLogOptions extends FakeLogTimes {
  readonly name: string;
  readonly disk: FakeDisk;
  readonly clock: Clock;
  readonly random: Random;
  readonly committed: CommittedBatches;
  /** How much faster the wall clock runs, by which eras are numbered. */
  readonly wallPace: number;
  /** Called when the code that awaits an answer throws and nothing would catch it. */
  readonly onThrown: (thrown: unknown) => void;
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly attributes: AttributesText | undefined;
  readonly resolve: (position: Position) => void;
}

/** What is committed, and not told yet. */
interface Untold {
  readonly hints: readonly SourceEvent[];
  readonly waiting: readonly Waiting[];
  readonly positions: readonly Position[];
}

export class FakeLog implements Log {
  readonly name: string;
  readonly health: LogHealth = 'ok';
  era: History = '';
  readonly #options: FakeLogOptions;
  readonly #deleted = new DeletedNames();
  /** What this process deleted, oldest first. */
  readonly #former = new Map<StreamName, DiskStream[]>();
  readonly #answers: SlowAnswers;
  /** The disk as this process sees it. It stays as it was after the process ends. */
  #state: DiskState;
  #opened: LogOptions | undefined;
  #waiting: Waiting[] = [];
  readonly #ages: AgeSweep;
  #untold: Untold[] = [];
  readonly #listeners = new Set<readonly [SourceListener]>();
  #isClosing = false;
  #hasEnded = false;
  largestChunkBytes = 0;

  constructor(options: FakeLogOptions) {
    this.#options = options;
    this.#ages = new AgeSweep(options.clock, () => this.#dropAged());
    this.name = options.name;
    this.#state = options.disk.state;
    this.#answers = new SlowAnswers(options);
  }

  get id(): string {
    if (this.#opened === undefined && !this.#hasEnded) throw notOpen(this.name);
    return this.#state.logId;
  }

  /** From now on every question is answered. */
  endFaults(): void {
    this.#answers.mayFail = false;
  }

  /** The process's true state of the stream: one branch of history. */
  truth(stream: StreamName): DiskStream {
    return this.#state.streams.get(stream) ?? emptyStream(this.#state.logId, this.#options.committed.root(stream));
  }

  /** The streams of this name that the process deleted, as they were then. */
  former(stream: StreamName): readonly DiskStream[] {
    return this.#former.get(stream) ?? [];
  }

  get catalog(): StreamName {
    return this.#requireOpen().catalog;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    this.#opened = options;
    this.#beginEra();
    // It need not be synced: its random part tells the era from another one of the same number.
    this.#write(false);
    for (const { chunks } of this.#state.streams.values()) for (const chunk of chunks) this.#measure(chunk);
    this.#ages.start(options.declarations);
  }

  serves(stream: StreamName): boolean {
    const { declarations, catalog } = this.#requireOpen();
    return stream === catalog || declarations.has(stream);
  }

  streams(): Iterable<StreamName> {
    const { declarations } = this.#requireOpen();
    return [...this.#state.streams.keys()].filter((name) => declarations.has(name));
  }

  async append(stream: StreamName, rows: readonly RowText[], { attributes }: AppendOptions = {}): Promise<Position> {
    if (this.#isClosing) throw notOpen(this.name);
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (attributes !== undefined) checkAttributes(stream, attributes, limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitWaiting());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, attributes, resolve }));
  }

  judge(position: Position): Verdict | Promise<Verdict> {
    this.#requireServed(position.stream);
    return this.#answers.ask(() => this.#judgeNow(position));
  }

  rowsAfter(stream: StreamName, after: Token): number {
    this.#requireServed(stream);
    const { chunks, earliest } = this.truth(stream);
    const from = Math.max(after, earliest - 1);
    return chunks.reduce((rows, chunk) => rows + rowsOfChunkAfter(chunk, from), 0);
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    this.#requireServed(stream);
    return this.#answers.ask(() => this.#readNow(stream, options));
  }

  bounds(stream: StreamName): Bounds {
    this.#requireServed(stream);
    const { earliest, latest, history, base } = this.truth(stream);
    return { earliest, latest, history, base };
  }

  watch(listener: SourceListener): () => void {
    // One listener may watch twice.
    const watch = [listener] as const;
    this.#listeners.add(watch);
    return () => void this.#listeners.delete(watch);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    this.#commitWaiting();
    if (!this.#isMade(stream)) return;
    this.#set(stream, withoutRowsUpTo(this.truth(stream), upTo));
    this.#write(true);
  }

  /** Takes effect at once and is told at once, as what was appended before it. */
  async delete(stream: StreamName): Promise<void> {
    this.#requireDeclared(stream);
    this.#commitWaiting();
    this.#tellAll();
    const { catalog } = this.#requireOpen();
    if (!this.#isMade(stream)) return;
    this.#former.set(stream, [...this.former(stream), this.truth(stream)]);
    const streams = new Map(this.#state.streams);
    streams.delete(stream);
    this.#deleted.add(stream);
    const listed = this.truth(catalog);
    const row = deletedRow(stream, this.#options.clock.wallNow());
    const chunks = this.#encode({ stream: catalog, kept: listed, latest: listed.latest, batches: [[row]] });
    streams.set(catalog, withChunks(listed, chunks));
    this.#state = { ...this.#state, streams };
    this.#write(true);
    this.#announce([
      { kind: 'rows', stream: catalog, latest: this.truth(catalog).latest, chunks },
      { kind: 'deleted', stream },
    ]);
    const { maxCommitMs } = this.#options;
    if (maxCommitMs > 0) await new Promise<void>((resolve) => this.#later(maxCommitMs, resolve));
  }

  /** Moves `latest` of a stream without rows, as when writers take numbers and then give up. */
  skip(stream: StreamName, tokens: number): void {
    assert(this.#isMade(stream), 'numbers to be of a stream that was made');
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
    this.#set(stream, withChunks(kept, [chunk]));
    this.#write(true);
    this.#announce([{ kind: 'rows', stream, latest }]);
  }

  async close(): Promise<void> {
    if (this.#hasEnded || this.#opened === undefined) return;
    this.#isClosing = true;
    this.#commitWaiting();
    this.#tellAll();
    this.#options.disk.sync();
    this.#end();
  }

  /** The process ends as it is. The first few queued batches may have reached the disk. */
  crash(): void {
    if (this.#hasEnded) return;
    if (this.#opened !== undefined)
      this.#commit(this.#waiting.slice(0, randomInteger(this.#options.random, 0, this.#waiting.length)));
    this.#untold = [];
    this.#end();
  }

  get #now(): Millis {
    return this.#options.clock.now();
  }

  #dropAged(): void {
    for (const [stream, kept] of this.#state.streams) this.#set(stream, this.#retained(stream, kept));
    this.#write(false);
  }

  #end(): void {
    this.#hasEnded = true;
    this.#ages.stop();
    this.#opened = undefined;
    this.#answers.end();
    this.#waiting = [];
    this.#listeners.clear();
  }

  #judgeNow(position: Position): Verdict {
    const kept = this.truth(position.stream);
    return judgePosition(position, { bounds: kept, historyAt: (token) => historyAt(kept, token) });
  }

  #readNow(stream: StreamName, { after, maxBytes }: ReadOptions): Page {
    const kept = this.truth(stream);
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

  #commitWaiting(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const untold = { waiting, ...this.#commit(waiting) };
    this.#untold.push(untold);
    const { maxHintMs } = this.#options;
    if (maxHintMs === 0) this.#tellAll(untold);
    else this.#later(maxHintMs, () => this.#tellAll(untold));
  }

  /** Tells what was committed, in order, up to this. */
  #tellAll(last?: Untold): void {
    if (last !== undefined && !this.#untold.includes(last)) return;
    for (let untold = this.#untold.shift(); untold !== undefined; untold = this.#untold.shift()) {
      const { hints, waiting, positions } = untold;
      const isShown = this.#options.random.next() * 100 < this.#options.chunksPercent;
      this.#announce(isShown ? hints : hints.map(withoutRows));
      for (const [i, { resolve }] of waiting.entries()) resolve(positions[i]!);
      if (untold === last) return;
    }
  }

  /** @returns a hint for each stream, and the position of each batch */
  #commit(waiting: readonly Waiting[]): { hints: SourceEvent[]; positions: Position[] } {
    const positions: Position[] = [];
    const isSynced = this.#options.random.next() * 100 < this.#options.syncedPercent;
    const streams = new Set(waiting.map((one) => one.stream));
    const hints = this.#make([...streams].filter((stream) => !this.#isMade(stream)));
    for (const stream of streams) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const ofStream = places.map((place) => waiting[place]!);
      const chunks = this.#add(stream, ofStream);
      const { latest } = this.truth(stream);
      for (const [i, place] of places.entries())
        positions[place] = { stream, token: latest - places.length + 1 + i, history: this.era };
      hints.push({ kind: 'rows', stream, latest, chunks });
    }
    this.#write(isSynced);
    return { hints, positions };
  }

  /** Lists new streams, and begins an era first if one of them needs it. */
  #make(made: readonly StreamName[]): SourceEvent[] {
    const hints: SourceEvent[] = [];
    if (this.#deleted.needEra(made)) {
      this.#beginEra();
      hints.push({ kind: 'era', era: this.era });
    }
    if (made.length === 0) return hints;
    const { catalog } = this.#requireOpen();
    const listed = this.truth(catalog);
    const batches = made.map((name) => [madeRow(name, this.#options.clock.wallNow())]);
    const chunks = this.#encode({ stream: catalog, kept: listed, latest: listed.latest, batches });
    this.#set(catalog, withChunks(listed, chunks));
    hints.push({ kind: 'rows', stream: catalog, latest: this.truth(catalog).latest, chunks });
    return hints;
  }

  #beginEra(): void {
    const { clock, random, wallPace } = this.#options;
    const { logId, era, streams } = this.#state;
    const begun = nextEra(era, clock.wallNow() * wallPace, random);
    this.era = formatHistory({ logId, ...begun });
    this.#deleted.clear();
    this.#state = { logId, era: begun.number, streams };
  }

  #isMade(stream: StreamName): boolean {
    return this.#state.streams.has(stream);
  }

  #add(stream: StreamName, waiting: readonly Waiting[]): Chunk[] {
    const { random, committed, skipsPercent } = this.#options;
    const kept = this.truth(stream);
    const skipped = random.next() * 100 < skipsPercent ? randomInteger(random, 1, 5) : 0;
    const latest = kept.latest + skipped;
    const batches = waiting.map(({ rows }) => rows);
    const attributes = new Map<number, AttributesText>();
    for (const [i, one] of waiting.entries()) if (one.attributes !== undefined) attributes.set(i, one.attributes);
    const chunks = this.#encode({ stream, kept, latest, batches, attributes });
    let { head } = kept;
    for (const [i, rows] of batches.entries()) {
      const { batch } = JSON.parse(rows[0]!) as WorldRow;
      head = nodeAfter(head, { token: latest + 1 + i, batch, rows: rows.length, committedAtMs: this.#now });
      committed.add(head);
    }
    for (const chunk of chunks) this.#measure(chunk);
    this.#set(stream, this.#retained(stream, withChunks(kept, chunks, head)));
    return chunks;
  }

  /** Skips the numbers between the stream's latest and this one: no batch has them. */
  #encode({ stream, kept, latest, batches, attributes = new Map() }: ToEncode): Chunk[] {
    const atMs = this.#now;
    const tokens = batches.map((_, i) => latest + 1 + i);
    const planned = { stream, after: kept.latest, batches: [...batches], tokens, attributes };
    return encodeChunks({ planned, rowsUpTo: kept.rowsUpTo, history: this.era, atMs, logMs: atMs });
  }

  #retained(stream: StreamName, kept: DiskStream): DiskStream {
    const retain = this.#opened?.declarations.find(stream)?.retain ?? {};
    const { chunks } = kept;
    let rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    let dropped = 0;
    while (mayDropOldest(retain, { rows, oldest: chunks[dropped], now: this.#now })) rows -= chunks[dropped++]!.rows;
    return dropped === 0 ? kept : withoutRowsUpTo(kept, chunks[dropped - 1]!.upTo);
  }

  #set(stream: StreamName, kept: DiskStream): void {
    this.#state = { ...this.#state, streams: new Map(this.#state.streams).set(stream, kept) };
  }

  /** Everything since the last write is on the disk, or nothing of it. */
  #write(isSynced: boolean): void {
    this.#options.disk.write(this.#state, { isSynced });
  }

  #measure(chunk: Chunk): void {
    this.largestChunkBytes = Math.max(this.largestChunkBytes, chunkBytes(chunk) + chunk.rows * LINE_HEAD_BYTES);
  }

  #requireOpen(): LogOptions {
    if (this.#opened === undefined) throw notOpen(this.name);
    return this.#opened;
  }

  #requireDeclared(stream: StreamName): void {
    if (!this.#requireOpen().declarations.has(stream)) throw noSuchStream(this.name, stream);
  }

  #requireServed(stream: StreamName): void {
    if (!this.serves(stream)) throw noSuchStream(this.name, stream);
  }

  #announce(hints: readonly SourceEvent[]): void {
    for (const hint of hints) for (const [listener] of this.#listeners) listener(hint);
  }

  #later(maxMs: Millis, then: () => void): void {
    this.#options.clock.wakeIn(randomInteger(this.#options.random, 0, maxMs), () => {
      if (!this.#hasEnded) then();
    });
  }
}

interface ToEncode {
  readonly stream: StreamName;
  readonly kept: DiskStream;
  readonly latest: Token;
  readonly batches: readonly (readonly RowText[])[];
  readonly attributes?: Map<number, AttributesText>;
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
