/**
 * One process's log over a disk that outlives it: commits, hints and answers take their time, hints may come without rows,
 * and the process can end at any instant. What waits then is kept wholly or not at all.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomInteger } from '../base/random.ts';
import { checkBatch } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter } from '../log/chunk.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import { encodeChunks } from '../log/group-commit.ts';
import type { Hint, HintListener, Log, LogOptions, ReadOptions } from '../log/log.ts';
import { mayDropOldest } from '../log/retention.ts';
import type { DiskState, DiskStream, FakeDisk } from './fake-disk.ts';
import { nodeAfter, rootNode } from './history-tree.ts';
import { LateAnswer } from './late-answer.ts';
import type { CommittedBatches, WorldRow } from './world-rows.ts';

export interface FakeLogTimes {
  readonly maxCommitMs: Millis;
  /** From a commit to its hint, and from a read to its answer; 0: at once. */
  readonly maxHintMs: Millis;
  readonly maxReadMs: Millis;
  /** Of a hundred hints, how many bring their rows. */
  readonly chunksPercent: number;
  /** Of a hundred commits, how many are on the disk for good when they are acknowledged. */
  readonly syncedPercent: number;
}

export interface FakeLogOptions extends FakeLogTimes {
  readonly name: string;
  readonly disk: FakeDisk;
  readonly clock: Clock;
  readonly random: Random;
  readonly committed: CommittedBatches;
  /** The code that waited for an answer threw, and nobody would catch it. */
  readonly onThrown: (thrown: unknown) => void;
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly resolve: (token: Token) => void;
}

export class FakeLog implements Log {
  readonly name: string;
  readonly #options: FakeLogOptions;
  readonly #streams = new Map<StreamName, Stream>();
  /** As this process sees the disk; it stays after the end as it was. */
  #state: DiskState;
  #limits: LogOptions['limits'] | undefined;
  #waiting: Waiting[] = [];
  #listeners: HintListener[] = [];
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

  /** What this process has of the stream: the truth of one branch of history. */
  truth(stream: StreamName): DiskStream {
    return this.#state.streams.get(stream)!;
  }

  async open({ streams, limits }: LogOptions): Promise<void> {
    this.#limits = limits;
    const kept = new Map(this.#state.streams);
    for (const stream of streams) {
      this.#streams.set(stream.name, stream);
      if (!kept.has(stream.name))
        kept.set(stream.name, { chunks: [], earliest: 1, latest: 0, head: rootNode(stream.name) });
    }
    this.#write({ ...this.#state, streams: kept }, true);
    for (const { chunks } of kept.values()) for (const chunk of chunks) this.#measure(chunk);
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    if (this.#limits === undefined) return Promise.reject(new UsageError('CLOSED', `log ${this.name} is closed`));
    checkBatch(stream, rows, this.#limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitAndTell());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, resolve }));
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
    const { earliest, latest } = this.truth(stream);
    return { earliest, latest };
  }

  watch(listener: HintListener): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#writeStream(stream, trimmed(this.truth(stream), upTo), true);
  }

  /** `latest` moves without rows, as where numbers are given out to writers that then give up. */
  skip(stream: StreamName, tokens: number): void {
    const kept = this.truth(stream);
    const latest = kept.latest + tokens;
    const chunk: Chunk = { after: kept.latest, upTo: latest, rows: 0, atMs: this.#now, lines: Buffer.alloc(0) };
    this.#writeStream(stream, { ...kept, latest, chunks: [...kept.chunks, chunk] }, true);
    this.#announce([{ stream, latest }]);
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    this.#commitAndTell();
    this.#options.disk.sync();
    this.#end();
  }

  /** The process ends as it stands: of what waits, the first few batches may have reached the disk. */
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
    const { chunks, latest } = this.truth(stream);
    refuseGap(this.name, stream, after, this.bounds(stream));
    const page: Chunk[] = [];
    let bytes = 0;
    for (let i = firstBeyond(chunks, after); i < chunks.length && bytes < maxBytes; i++) {
      const chunk = chunkAfter(chunks[i]!, after);
      page.push(chunk);
      bytes += chunk.lines.length;
    }
    return pageOf(stream, page, latest);
  }

  #commitAndTell(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const { hints, tokens } = this.#commit(waiting);
    const { chunksPercent, random, maxHintMs } = this.#options;
    const isShown = random.next() * 100 < chunksPercent;
    const tell = (): void => {
      this.#announce(isShown ? hints : hints.map(({ stream, latest }) => ({ stream, latest })));
      for (const [i, { resolve }] of waiting.entries()) resolve(tokens[i]!);
    };
    if (maxHintMs === 0) tell();
    else this.#later(maxHintMs, tell);
  }

  /** @returns a hint for each stream, and the token of each batch */
  #commit(waiting: readonly Waiting[]): { hints: Hint[]; tokens: Token[] } {
    const hints: Hint[] = [];
    const tokens = waiting.map(() => 0);
    const isSynced = this.#options.random.next() * 100 < this.#options.syncedPercent;
    for (const stream of new Set(waiting.map((one) => one.stream))) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const batches = places.map((place) => waiting[place]!.rows);
      const chunks = this.#writeBatches(stream, batches, isSynced);
      const { latest } = this.truth(stream);
      for (const [i, place] of places.entries()) tokens[place] = latest - places.length + 1 + i;
      hints.push({ stream, latest, chunks });
    }
    return { hints, tokens };
  }

  #writeBatches(stream: StreamName, batches: readonly (readonly RowText[])[], isSynced: boolean): Chunk[] {
    const { random, committed } = this.#options;
    const kept = this.truth(stream);
    const skipped = random.next() < 0.1 ? randomInteger(random, 1, 5) : 0;
    const latest = kept.latest + skipped;
    // Numbers that were skipped have no batch of their own: chunks stay neighbours.
    const chunks = encodeChunks({ stream, latest, batches, now: this.#now }).map((chunk, i) =>
      i === 0 ? { ...chunk, after: kept.latest } : chunk,
    );
    let { head } = kept;
    for (const [i, rows] of batches.entries()) {
      const { batch } = JSON.parse(rows[0]!) as WorldRow;
      head = nodeAfter(head, { token: latest + 1 + i, batch, rows: rows.length, committedAtMs: this.#now });
      committed.add(head);
    }
    for (const chunk of chunks) this.#measure(chunk);
    const grown = { ...kept, head, latest: head.token, chunks: [...kept.chunks, ...chunks] };
    this.#writeStream(stream, this.#retained(stream, grown), isSynced);
    return chunks;
  }

  #retained(stream: StreamName, kept: DiskStream): DiskStream {
    const retain = this.#streams.get(stream)?.retain ?? {};
    const { chunks } = kept;
    let rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    let dropped = 0;
    while (mayDropOldest(retain, { rows, oldest: chunks[dropped], now: this.#now })) rows -= chunks[dropped++]!.rows;
    return dropped === 0 ? kept : trimmed(kept, chunks[dropped - 1]!.upTo);
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

  #announce(hints: readonly Hint[]): void {
    for (const hint of hints) for (const listener of this.#listeners) listener(hint);
  }

  #later(maxMs: Millis, then: () => void): void {
    this.#options.clock.wakeIn(randomInteger(this.#options.random, 0, maxMs), () => {
      if (!this.#hasEnded) then();
    });
  }
}

/** What is left when the batches up to the token are dropped; a chunk goes when all of it is. */
function trimmed(kept: DiskStream, upTo: Token): DiskStream {
  const earliest = Math.max(kept.earliest, Math.min(upTo, kept.latest) + 1);
  return { ...kept, earliest, chunks: kept.chunks.filter((chunk) => chunk.upTo >= earliest) };
}

function firstBeyond(chunks: readonly Chunk[], after: Token): number {
  let at = chunks.length;
  while (at > 0 && chunks[at - 1]!.upTo > after) at--;
  return at;
}
