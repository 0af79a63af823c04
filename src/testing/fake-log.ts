/**
 * The log of one process over a disk that outlives it. Commits, hints and answers take time, hints
 * may come without rows, and the process can end at any instant. Each queued batch is then kept
 * wholly or not at all.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { checkBatch } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import { formatHistory, type History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter, rowsOfChunkAfter } from '../log/chunk.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import { madeRow, nextEra } from '../log/era.ts';
import { encodeChunks } from '../log/group-commit.ts';
import { judgePosition } from '../log/judge.ts';
import type { Log, LogHealth, LogOptions, ReadOptions, RowsEvent, SourceListener } from '../log/log.ts';
import { mayDropOldest } from '../log/retention.ts';
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
  readonly #streams = new Map<StreamName, Stream>();
  /** The disk as this process sees it. It stays as it was after the process ends. */
  #state: DiskState;
  #limits: LogOptions['limits'] | undefined;
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

  async open({ streams, limits, catalog }: LogOptions): Promise<void> {
    const { clock, random, committed } = this.#options;
    const { logId, era } = this.#state;
    this.#limits = limits;
    const begun = nextEra(era, clock.wallNow() * WALL_PACE, random);
    this.era = formatHistory({ logId, ...begun });
    const kept = new Map(this.#state.streams);
    const made: RowText[][] = [];
    for (const stream of streams) {
      this.#streams.set(stream.name, stream);
      if (kept.has(stream.name)) continue;
      kept.set(stream.name, emptyStream(logId, committed.root(stream.name)));
      made.push([madeRow(stream.name, clock.wallNow())]);
    }
    const listed = kept.get(catalog) ?? emptyStream(logId, committed.root(catalog));
    kept.set(catalog, withChunks(listed, this.#encode(catalog, listed, listed.latest, made)));
    // The era's record need not be synced: its random part tells it from another era of the same
    // number.
    this.#write({ logId, era: begun.number, streams: kept }, made.length > 0);
    for (const { chunks } of kept.values()) for (const chunk of chunks) this.#measure(chunk);
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Position> {
    if (this.#limits === undefined) return Promise.reject(new UsageError('CLOSED', `log ${this.name} is closed`));
    checkBatch(stream, rows, this.#limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitAndTell());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, resolve }));
  }

  judge(position: Position): Verdict {
    const kept = this.truth(position.stream);
    return judgePosition(position, { logId: this.id, bounds: kept, historyAt: (token) => historyAt(kept, token) });
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.truth(stream).chunks.reduce((rows, chunk) => rows + rowsOfChunkAfter(chunk, after), 0);
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
    const { earliest, latest, history, base } = this.truth(stream);
    return { earliest, latest, history, base };
  }

  watch(listener: SourceListener): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#writeStream(stream, withoutRowsUpTo(this.truth(stream), upTo), true);
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
      lines: Buffer.alloc(0),
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
    if (this.#limits !== undefined)
      this.#commit(this.#waiting.slice(0, randomInteger(this.#options.random, 0, this.#waiting.length)));
    this.#end();
  }

  get #now(): Millis {
    return this.#options.clock.now();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#limits = undefined;
    this.#waiting = [];
    this.#listeners = [];
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
      bytes += chunk.lines.length;
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
      this.#announce(isShown ? hints : hints.map(({ kind, stream, latest }) => ({ kind, stream, latest })));
      for (const [i, { resolve }] of waiting.entries()) resolve(positions[i]!);
    };
    if (maxHintMs === 0) tell();
    else this.#later(maxHintMs, tell);
  }

  /** @returns a hint for each stream, and the position of each batch */
  #commit(waiting: readonly Waiting[]): { hints: RowsEvent[]; positions: Position[] } {
    const hints: RowsEvent[] = [];
    const positions: Position[] = [];
    const isSynced = this.#options.random.next() * 100 < this.#options.syncedPercent;
    for (const stream of new Set(waiting.map((one) => one.stream))) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const batches = places.map((place) => waiting[place]!.rows);
      const chunks = this.#writeBatches(stream, batches, isSynced);
      const { latest } = this.truth(stream);
      for (const [i, place] of places.entries())
        positions[place] = { stream, token: latest - places.length + 1 + i, history: this.era };
      hints.push({ kind: 'rows', stream, latest, chunks });
    }
    return { hints, positions };
  }

  #writeBatches(stream: StreamName, batches: readonly (readonly RowText[])[], isSynced: boolean): Chunk[] {
    const { random, committed } = this.#options;
    const kept = this.truth(stream);
    const skipped = random.next() < 0.1 ? randomInteger(random, 1, 5) : 0;
    const latest = kept.latest + skipped;
    const chunks = this.#encode(stream, kept, latest, batches);
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
  ): Chunk[] {
    const now = this.#now;
    const waiting = { batches };
    const chunks = encodeChunks({ stream, waiting, latest, rowsUpTo, history: this.era, atMs: now, logMs: now });
    return chunks.map((chunk, i) => (i === 0 ? { ...chunk, after } : chunk));
  }

  #retained(stream: StreamName, kept: DiskStream): DiskStream {
    const retain = this.#streams.get(stream)?.retain ?? {};
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

  #measure({ lines }: Chunk): void {
    this.largestChunkBytes = Math.max(this.largestChunkBytes, lines.length);
  }

  #announce(hints: readonly RowsEvent[]): void {
    for (const hint of hints) for (const listener of this.#listeners) listener(hint);
  }

  #later(maxMs: Millis, then: () => void): void {
    this.#options.clock.wakeIn(randomInteger(this.#options.random, 0, maxMs), () => {
      if (!this.#hasEnded) then();
    });
  }
}

function firstBeyond(chunks: readonly Chunk[], after: Token): number {
  let at = chunks.length;
  while (at > 0 && chunks[at - 1]!.upTo > after) at--;
  return at;
}
