/** A log in memory that keeps nothing after a restart. It is the reference for all others. */

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { formatHistory, type History, LOG_ID_DIGITS } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { madeRow, nextEra } from './era.ts';
import { type Committed, encodeChunks, GroupCommit, type WaitingBatches, type WaitingStreams } from './group-commit.ts';
import { KeptStream } from './kept-stream.ts';
import type { AppendOptions, Log, LogHealth, LogOptions, ReadOptions, SourceListener } from './log.ts';
import { logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

/** Options of `memoryLog`. */
export interface MemoryLogOptions {
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A log in memory. Each `open` starts a new log with a new id. */
export function memoryLog({ clock = systemClock, random = systemRandom }: MemoryLogOptions = {}): Log {
  return new MemoryLog(clock, random);
}

interface Opened extends LogOptions {
  readonly declared: ReadonlyMap<StreamName, Stream>;
  /** The declared streams and the catalog. */
  readonly kept: ReadonlyMap<StreamName, KeptStream>;
}

class MemoryLog implements Log {
  readonly name = 'memory';
  readonly health: LogHealth = 'ok';
  readonly #clock: Clock;
  readonly #random: Random;
  // Commits in a microtask: appends of one turn share a chunk, and none waits longer than that
  // turn.
  readonly #commits = new GroupCommit({
    check: (stream, rows, options) => this.#check(stream, rows, options),
    commit: (waiting) => this.#commit(waiting),
    soon: queueMicrotask,
  });
  #identity: { readonly id: string; readonly era: History } | undefined;
  #opened: Opened | undefined;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get id(): string {
    return this.#requireIdentity().id;
  }

  get era(): History {
    return this.#requireIdentity().era;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    const wallMs = this.#clock.wallNow();
    const id = randomHex(this.#random, LOG_ID_DIGITS);
    this.#identity = { id, era: formatHistory({ logId: id, ...nextEra(0, wallMs, this.#random) }) };
    const names = [...options.streams.map(({ name }) => name), options.catalog];
    this.#opened = {
      ...options,
      declared: new Map(options.streams.map((stream) => [stream.name, stream])),
      kept: new Map(names.map((name) => [name, new KeptStream(id)])),
    };
    const made = options.streams.map(({ name }) => [madeRow(name, wallMs)]);
    if (made.length > 0) this.#appendTo(options.catalog, { batches: made });
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  judge(position: Position): Verdict {
    return this.#stream(position.stream).judge(position);
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const kept = this.#stream(stream);
    refuseGap(this.name, stream, options.after, kept.bounds);
    return pageOf(stream, kept.read(options), kept.bounds);
  }

  bounds(stream: StreamName): Bounds {
    return this.#stream(stream).bounds;
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.#stream(stream).rowsAfter(after);
  }

  watch(listener: SourceListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    this.#stream(stream).trim(upTo);
  }

  async close(): Promise<void> {
    try {
      this.#commits.flush();
    } finally {
      this.#opened = undefined;
    }
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
  }

  #commit(waiting: WaitingStreams): Committed[] {
    return Array.from(waiting, ([stream, batches]) => {
      const committed = this.#appendTo(stream, batches);
      this.#stream(stream).shed(this.#requireDeclared(stream).retain, this.#clock.now());
      return committed;
    });
  }

  #appendTo(stream: StreamName, waiting: WaitingBatches): Committed {
    const kept = this.#stream(stream);
    const chunks = encodeChunks({
      stream,
      waiting,
      latest: kept.bounds.latest,
      rowsUpTo: kept.rowsUpTo,
      history: this.era,
      atMs: this.#clock.wallNow(),
      logMs: this.#clock.now(),
    });
    kept.append(chunks);
    return { kind: 'rows', stream, latest: kept.bounds.latest, chunks };
  }

  /** The streams that may be appended to: every declared one, not the catalog. */
  #requireDeclared(stream: StreamName): Stream {
    const declared = this.#requireOpen().declared.get(stream);
    if (declared === undefined) throw noSuchStream(this.name, stream);
    return declared;
  }

  #stream(stream: StreamName): KeptStream {
    const kept = this.#requireOpen().kept.get(stream);
    if (kept === undefined) throw noSuchStream(this.name, stream);
    return kept;
  }

  #requireOpen(): Opened {
    if (this.#opened === undefined) throw notOpen(this.name);
    return this.#opened;
  }

  #requireIdentity(): { readonly id: string; readonly era: History } {
    if (this.#identity === undefined) throw notOpen(this.name);
    return this.#identity;
  }
}
