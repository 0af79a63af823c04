/**
 * A log whose commits, hints and answers take their time, and that can lose its process at any instant: what was
 * acknowledged is kept, what was not is kept wholly or not at all. A volatile one begins another history at every start.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomHex, randomInteger } from '../base/random.ts';
import { encodeChunks } from '../log/group-commit.ts';
import type { Chunk } from '../log/chunk.ts';
import { ChunkList } from '../log/chunk-list.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import type { Hint, HintListener, Log, LogOptions, ReadOptions } from '../log/log.ts';
import { checkBatch } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

export interface CrashableLogOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly isDurable: boolean;
  readonly maxCommitMs: Millis;
  /** From a commit to its hint, and from a read to its answer; 0: at once. */
  readonly maxHintMs: Millis;
  readonly maxReadMs: Millis;
  /** Of a hundred hints, how many bring their rows. */
  readonly chunksPercent: number;
  /** Told of every commit, also of one whose process died before it could say so. */
  readonly onCommitted: (stream: StreamName, chunks: readonly Chunk[]) => void;
  /** Promises were resolved: whoever waits for them runs soon. */
  readonly onResolved: () => void;
  /** Whoever waited for an answer threw, where nobody would catch it. */
  readonly onThrown: (thrown: unknown) => void;
}

interface KeptStream {
  readonly chunks: ChunkList;
  gone: Token;
  latest: Token;
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly resolve: (token: Token) => void;
}

export class CrashableLog implements Log {
  readonly name: string;
  id = '';
  readonly #options: CrashableLogOptions;
  #kept = new Map<StreamName, KeptStream>();
  #limits: LogOptions['limits'] | undefined;
  #waiting: Waiting[] = [];
  #listeners: HintListener[] = [];
  /** Which process has it open: callbacks of an earlier one do nothing. */
  #process = 0;
  #largestChunkBytes = 0;

  constructor(options: CrashableLogOptions) {
    this.#options = options;
    this.name = options.name;
  }

  get largestChunkBytes(): number {
    return this.#largestChunkBytes;
  }

  async open({ streams, limits }: LogOptions): Promise<void> {
    this.#limits = limits;
    if (this.id === '' || !this.#options.isDurable) {
      this.id = randomHex(this.#options.random, 8);
      this.#kept = new Map(streams.map(({ name }) => [name, { chunks: new ChunkList(), gone: 0, latest: 0 }]));
    }
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    if (this.#limits === undefined) return Promise.reject(new UsageError('CLOSED', `log ${this.name} is closed`));
    checkBatch(stream, rows, this.#limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitAndTell());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, resolve }));
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    const { maxReadMs, random } = this.#options;
    if (maxReadMs === 0 || random.next() < 0.5) return this.readNow(stream, options);
    return new LateAnswer(this.#options.onThrown, (resolve, reject) => {
      this.#later(maxReadMs, () => {
        try {
          resolve(this.readNow(stream, options));
        } catch (error) {
          reject(error);
        }
        this.#options.onResolved();
      });
    });
  }

  readNow(stream: StreamName, options: ReadOptions): Page {
    const { chunks, latest } = this.#kept.get(stream)!;
    refuseGap(this.name, stream, options.after, this.bounds(stream));
    return pageOf(stream, chunks.read(options), latest);
  }

  bounds(stream: StreamName): Bounds {
    const { gone, latest } = this.#kept.get(stream)!;
    return { earliest: gone + 1, latest };
  }

  watch(listener: HintListener): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    const kept = this.#kept.get(stream)!;
    kept.gone = Math.max(kept.gone, Math.min(upTo, kept.latest));
    while (kept.chunks.first !== undefined && kept.chunks.first.upTo <= kept.gone) kept.chunks.dropFirst();
  }

  /** `latest` moves without rows, as where numbers are given out to writers that then give up. */
  skip(stream: StreamName, tokens: number): void {
    const kept = this.#kept.get(stream)!;
    kept.latest += tokens;
    this.#announce([{ stream, latest: kept.latest }]);
  }

  async close(): Promise<void> {
    this.#commitAndTell();
    this.#end();
  }

  /** The process dies: of what waits, the first few may have reached the disk. */
  crash(): void {
    const { random, isDurable } = this.#options;
    const survivors = isDurable ? this.#waiting.slice(0, randomInteger(random, 0, this.#waiting.length)) : [];
    this.#commit(survivors);
    this.#end();
  }

  #end(): void {
    this.#process++;
    this.#limits = undefined;
    this.#waiting = [];
    this.#listeners = [];
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
      this.#options.onResolved();
    };
    if (maxHintMs === 0) tell();
    else this.#later(maxHintMs, tell);
  }

  /** @returns a hint for each stream, and the token of each batch */
  #commit(waiting: readonly Waiting[]): { hints: Hint[]; tokens: Token[] } {
    const hints: Hint[] = [];
    const tokens = waiting.map(() => 0);
    for (const stream of new Set(waiting.map((one) => one.stream))) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const chunks = this.#write(
        stream,
        places.map((place) => waiting[place]!.rows),
      );
      const { latest } = this.#kept.get(stream)!;
      for (const [i, place] of places.entries()) tokens[place] = latest - places.length + 1 + i;
      hints.push({ stream, latest, chunks });
    }
    return { hints, tokens };
  }

  #write(stream: StreamName, batches: readonly (readonly RowText[])[]): Chunk[] {
    const { clock, random, onCommitted } = this.#options;
    const kept = this.#kept.get(stream)!;
    const skipped = random.next() < 0.1 ? randomInteger(random, 1, 5) : 0;
    const chunks = encodeChunks({ stream, latest: kept.latest + skipped, batches, now: clock.now() }).map((chunk, i) =>
      // Numbers that were skipped belong to nobody: chunks stay neighbours.
      i === 0 ? { ...chunk, after: kept.chunks.last?.upTo ?? kept.latest } : chunk,
    );
    for (const chunk of chunks) {
      kept.chunks.append(chunk);
      kept.latest = chunk.upTo;
      this.#largestChunkBytes = Math.max(this.#largestChunkBytes, chunk.lines.length);
    }
    onCommitted(stream, chunks);
    return chunks;
  }

  #announce(hints: readonly Hint[]): void {
    for (const hint of hints) for (const listener of this.#listeners) listener(hint);
  }

  #later(maxMs: Millis, then: () => void): void {
    const process = this.#process;
    this.#options.clock.wakeIn(randomInteger(this.#options.random, 0, maxMs), () => {
      if (process === this.#process) then();
    });
  }
}

/** A promise that hears what is thrown by whoever waits for it: in a simulation nobody may throw into the void. */
class LateAnswer<Value> extends Promise<Value> {
  #onThrown: (thrown: unknown) => void = () => {};

  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  constructor(onThrown: (thrown: unknown) => void, executor: ConstructorParameters<typeof Promise<Value>>[0]) {
    super(executor);
    this.#onThrown = onThrown;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise, and watches its own then
  override then<Kept = Value, Caught = never>(
    onKept?: ((value: Value) => Kept | PromiseLike<Kept>) | null,
    onRejected?: ((reason: unknown) => Caught | PromiseLike<Caught>) | null,
  ): Promise<Kept | Caught> {
    const result = super.then(onKept, onRejected);
    result.catch(this.#onThrown);
    return result;
  }
}
