/** The log that keeps everything in memory and nothing after a restart: the reference for all others. */

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkBatch } from '../core/model/batch.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { Retention, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { GroupCommit, type Committed, encodeChunks, type WaitingBatches } from './group-commit.ts';
import { ChunkList } from './chunk-list.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import type { HintListener, Log, LogOptions, ReadOptions } from './log.ts';
import { LOG_ID_DIGITS, logIsOpen, notOpen, noSuchStream } from './usage-errors.ts';
import { mayDropOldest } from './retention.ts';

export interface MemoryLogOptions {
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A log in memory. Each `open` starts another history. */
export function memoryLog({ clock = systemClock, random = systemRandom }: MemoryLogOptions = {}): Log {
  return new MemoryLog(clock, random);
}

interface KeptStream {
  readonly retain: Retention;
  readonly chunks: ChunkList;
  /** Of the rows that were trimmed or dropped, the highest token. */
  gone: Token;
  latest: Token;
}

interface Opened extends LogOptions {
  readonly kept: ReadonlyMap<StreamName, KeptStream>;
}

class MemoryLog implements Log {
  readonly name = 'memory';
  readonly #clock: Clock;
  readonly #random: Random;
  // A microtask: appends of one turn share a chunk, and nothing waits longer than its caller's turn.
  readonly #commits = new GroupCommit({
    check: (stream, rows) => this.#check(stream, rows),
    commit: (batches) => this.#commit(batches),
    soon: queueMicrotask,
  });
  #id: string | undefined;
  #opened: Opened | undefined;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get id(): string {
    if (this.#id === undefined) throw notOpen(this.name);
    return this.#id;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    const kept = options.streams.map(({ name, retain }): [StreamName, KeptStream] => [
      name,
      { retain, chunks: new ChunkList(), gone: 0, latest: 0 },
    ]);
    this.#opened = { ...options, kept: new Map(kept) };
    this.#id = randomHex(this.#random, LOG_ID_DIGITS);
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    return this.#commits.append(stream, rows);
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const { chunks, latest } = this.#stream(stream);
    refuseGap(this.name, stream, options.after, this.bounds(stream));
    return pageOf(stream, chunks.read(options), latest);
  }

  bounds(stream: StreamName): Bounds {
    const { gone, latest } = this.#stream(stream);
    return { earliest: gone + 1, latest };
  }

  watch(listener: HintListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    const kept = this.#stream(stream);
    kept.gone = Math.max(kept.gone, Math.min(upTo, kept.latest));
    while (kept.chunks.first !== undefined && kept.chunks.first.upTo <= kept.gone) kept.chunks.dropFirst();
  }

  async close(): Promise<void> {
    try {
      this.#commits.flush();
    } finally {
      this.#opened = undefined;
    }
  }

  #check(stream: StreamName, rows: readonly RowText[]): void {
    this.#stream(stream);
    checkBatch(stream, rows, this.#requireOpen().limits);
  }

  #commit(batches: WaitingBatches): Committed[] {
    const now = this.#clock.now();
    return Array.from(batches, ([stream, ofStream]) => {
      const kept = this.#stream(stream);
      const chunks = encodeChunks({ stream, latest: kept.latest, batches: ofStream, now });
      for (const chunk of chunks) {
        kept.chunks.append(chunk);
        kept.latest = chunk.upTo;
      }
      while (mayDropOldest(kept.retain, { rows: kept.chunks.rows, oldest: kept.chunks.first, now })) {
        kept.gone = Math.max(kept.gone, kept.chunks.dropFirst()!.upTo);
      }
      return { stream, latest: kept.latest, chunks };
    });
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
}
