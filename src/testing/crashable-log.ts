/**
 * A log whose commits, hints and answers take their time, and that can lose its process at any instant: what was
 * acknowledged is kept, what was not is kept wholly or not at all. Every start begins an era; that of a volatile one is
 * another log.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type Random, randomHex, randomInteger } from '../base/random.ts';
import type { Chunk } from '../log/chunk.ts';
import { pageOf, refuseGap } from '../log/chunk-page.ts';
import { madeRow, nextEra } from '../log/era.ts';
import { encodeChunks } from '../log/group-commit.ts';
import { KeptStream } from '../log/kept-stream.ts';
import type { AppendOptions, Log, LogHealth, LogOptions, ReadOptions, RowsEvent, SourceListener } from '../log/log.ts';
import { type AttributesText, checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { UsageError } from '../core/model/errors.ts';
import { eraNumberOf, formatHistory, type History, LOG_ID_DIGITS } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
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

const NOTHING = new Uint8Array(0);

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly attributes: AttributesText | undefined;
  readonly resolve: (position: Position) => void;
}

export class CrashableLog implements Log {
  readonly name: string;
  readonly health: LogHealth = 'ok';
  id = '';
  era: History = '';
  readonly #options: CrashableLogOptions;
  #kept = new Map<StreamName, KeptStream>();
  #limits: LogOptions['limits'] | undefined;
  #waiting: Waiting[] = [];
  #listeners: SourceListener[] = [];
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

  async open({ streams, limits, catalog }: LogOptions): Promise<void> {
    const { random, clock, isDurable } = this.#options;
    this.#limits = limits;
    if (this.id === '' || !isDurable) {
      this.id = randomHex(random, LOG_ID_DIGITS);
      this.era = '';
      this.#kept = new Map();
    }
    const highest = this.era === '' ? 0 : eraNumberOf(this.era);
    this.era = formatHistory({ logId: this.id, ...nextEra(highest, clock.wallNow(), random) });
    const made = streams.map(({ name }) => name).filter((name) => !this.#kept.has(name));
    for (const name of [...made, catalog]) {
      if (!this.#kept.has(name)) this.#kept.set(name, new KeptStream(this.id));
    }
    if (made.length > 0)
      this.#kept.get(catalog)!.append(
        this.#encode(
          catalog,
          made.map((name) => ({ rows: [madeRow(name, clock.wallNow())], attributes: undefined })),
        ),
      );
  }

  append(stream: StreamName, rows: readonly RowText[], { attributes }: AppendOptions = {}): Promise<Position> {
    if (this.#limits === undefined) return Promise.reject(new UsageError('CLOSED', `log ${this.name} is closed`));
    checkBatch(stream, rows, this.#limits);
    if (attributes !== undefined) checkAttributes(stream, attributes, this.#limits);
    if (this.#waiting.length === 0) this.#later(this.#options.maxCommitMs, () => this.#commitAndTell());
    return new Promise((resolve) => void this.#waiting.push({ stream, rows, attributes, resolve }));
  }

  judge(position: Position): Verdict {
    return this.#kept.get(position.stream)!.judge(position);
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
    const kept = this.#kept.get(stream)!;
    refuseGap(this.name, stream, options.after, kept.bounds);
    return pageOf(stream, kept.read(options), kept.bounds);
  }

  bounds(stream: StreamName): Bounds {
    return this.#kept.get(stream)!.bounds;
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.#kept.get(stream)!.rowsAfter(after);
  }

  watch(listener: SourceListener): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#kept.get(stream)!.trim(upTo);
  }

  /** `latest` moves without rows, as where numbers are given out to writers that then give up. */
  skip(stream: StreamName, tokens: number): void {
    const kept = this.#kept.get(stream)!;
    const after = kept.bounds.latest;
    kept.append([{ ...this.#now(), after, upTo: after + tokens, rows: 0, rowsUpTo: kept.rowsUpTo, lines: NOTHING }]);
    this.#announce([{ kind: 'rows', stream, latest: after + tokens }]);
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
    const { hints, positions } = this.#commit(waiting);
    const { chunksPercent, random, maxHintMs } = this.#options;
    const isShown = random.next() * 100 < chunksPercent;
    const tell = (): void => {
      this.#announce(isShown ? hints : hints.map(({ kind, stream, latest }) => ({ kind, stream, latest })));
      for (const [i, { resolve }] of waiting.entries()) resolve(positions[i]!);
      this.#options.onResolved();
    };
    if (maxHintMs === 0) tell();
    else this.#later(maxHintMs, tell);
  }

  /** @returns a hint for each stream, and the position of each batch */
  #commit(waiting: readonly Waiting[]): { hints: RowsEvent[]; positions: Position[] } {
    const hints: RowsEvent[] = [];
    const positions: Position[] = [];
    for (const stream of new Set(waiting.map((one) => one.stream))) {
      const places = waiting.flatMap((one, place) => (one.stream === stream ? [place] : []));
      const chunks = this.#write(
        stream,
        places.map((place) => waiting[place]!),
      );
      const { latest } = this.bounds(stream);
      for (const [i, place] of places.entries())
        positions[place] = { stream, token: latest - places.length + 1 + i, history: this.era };
      hints.push({ kind: 'rows', stream, latest, chunks });
    }
    return { hints, positions };
  }

  #write(stream: StreamName, batches: readonly Pick<Waiting, 'rows' | 'attributes'>[]): Chunk[] {
    const { random, onCommitted } = this.#options;
    const chunks = this.#encode(stream, batches, random.next() < 0.1 ? randomInteger(random, 1, 5) : 0);
    this.#kept.get(stream)!.append(chunks);
    for (const { lines } of chunks) this.#largestChunkBytes = Math.max(this.#largestChunkBytes, lines.length);
    onCommitted(stream, chunks);
    return chunks;
  }

  #encode(stream: StreamName, waiting: readonly Pick<Waiting, 'rows' | 'attributes'>[], skipped = 0): Chunk[] {
    const { bounds, rowsUpTo } = this.#kept.get(stream)!;
    const { latest } = bounds;
    const batches = waiting.map(({ rows }) => rows);
    const attributes = new Map(
      waiting.flatMap((one, i) => (one.attributes === undefined ? [] : [[i, one.attributes]])),
    );
    const options = { ...this.#now(), stream, waiting: { batches, attributes }, latest: latest + skipped, rowsUpTo };
    return encodeChunks(options).map(
      // Numbers that were skipped belong to nobody: chunks stay neighbours.
      (chunk, i) => (i === 0 ? { ...chunk, after: latest } : chunk),
    );
  }

  /** What every chunk of this instant has. */
  #now(): Pick<Chunk, 'history' | 'atMs' | 'logMs'> {
    const { clock } = this.#options;
    return { history: this.era, atMs: clock.wallNow(), logMs: clock.now() };
  }

  #announce(hints: readonly RowsEvent[]): void {
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
