/** One source of a primary, behind its tail, and what is learned of its streams as they are made. */

import type { Clock, Millis } from '../base/clock.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Bounds } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { StreamState } from '../core/sessions/stream-table.ts';
import type { Source } from '../log/log.ts';
import { Tail } from '../log/tail.ts';
import type { TailRoom } from '../log/tail-room.ts';

/** How much of a catalog is read at once where a hint brought no rows. */
const CATALOG_PAGE_BYTES = 64 * 1024;

export interface ServedSourceOptions {
  /** Shared by the tails of all sources. */
  readonly tailRoom: TailRoom;
  /** How long an answer of the source is waited for. */
  readonly sourceTimeoutMs: Millis;
  readonly clock: Clock;
}

export class ServedSource {
  readonly source: Source;
  readonly tail: Tail;
  readonly #options: ServedSourceOptions;
  /** Up to where its catalog is known. */
  #known: Token;
  /** When the catalog that is being read is read again, answered or not. Undefined: it is not read. */
  #readingUntil: Millis | undefined;

  /** The source is open. Make it before anything else watches the source. */
  constructor(source: Source, options: ServedSourceOptions) {
    const { tailRoom, sourceTimeoutMs, clock } = options;
    this.source = source;
    // Before anything listens: a source may throw here.
    this.#known = source.bounds(source.catalog).latest;
    this.tail = new Tail(source, { room: tailRoom, maxReadMs: sourceTimeoutMs, clock });
    this.#options = options;
  }

  /**
   * Its catalog has rows up to `latest`. Tells the names of the streams that were made, at once
   * where the hint brought the rows.
   */
  handleCatalog(latest: Token, chunks: readonly Chunk[] | undefined, made: (stream: StreamName) => void): void {
    if (chunks === undefined || chunks[0]?.after !== this.#known) return void this.#read(made);
    this.#known = latest;
    for (const chunk of chunks) for (const stream of madeIn(chunk)) made(stream);
  }

  /** Rows of its catalog were taken back: what comes in their place is told again. */
  handleCatalogRebased(): void {
    this.#known = Math.min(this.#known, this.source.bounds(this.source.catalog).latest);
  }

  /** A read that failed, or was not answered in time, is made up for at the next hint. */
  async #read(made: (stream: StreamName) => void): Promise<void> {
    const { clock, sourceTimeoutMs } = this.#options;
    if (this.#readingUntil !== undefined && clock.now() < this.#readingUntil) return;
    const until = clock.now() + sourceTimeoutMs;
    this.#readingUntil = until;
    const { catalog } = this.source;
    try {
      while (this.#known < this.source.bounds(catalog).latest) {
        const page = await this.tail.read(catalog, { after: this.#known, maxBytes: CATALOG_PAGE_BYTES });
        if (page.upTo <= this.#known) return;
        this.#known = page.upTo;
        for (const chunk of page.chunks) for (const stream of madeIn(chunk)) made(stream);
      }
    } catch {
      // Sessions that follow the catalog are told why it cannot be read.
    } finally {
      // Another one has taken its place, where this one took too long.
      if (this.#readingUntil === until) this.#readingUntil = undefined;
    }
  }
}

/** The streams whose rows in a chunk of a catalog say that they were made. */
function madeIn({ texts }: Chunk): StreamName[] {
  const rows = JSON.parse(`[${Buffer.from(texts.buffer, texts.byteOffset, texts.length).toString('utf8')}]`) as {
    readonly stream: StreamName;
    readonly made?: number;
  }[];
  return rows.flatMap(({ stream, made }) => (made === undefined ? [] : [stream]));
}

/** A stream that at least one session replicates. */
export class FollowedStream implements StreamState {
  readonly stream: StreamName;
  readonly served: ServedSource;
  /** How many replications there are of it. */
  followers = 0;
  /** The highest token that a hint has told. */
  announced: Token;
  appendedRows = 0;

  constructor(stream: StreamName, served: ServedSource) {
    this.stream = stream;
    this.served = served;
    this.announced = this.bounds.latest;
  }

  get source(): ServedSource {
    return this.served;
  }

  /**
   * The log's own bounds, not those of the last hint: rows may be read before their hint has come,
   * and a session that has read them is not ahead of the stream.
   */
  get bounds(): Bounds {
    return this.served.source.bounds(this.stream);
  }

  rowsAfter(after: Token): number {
    return this.served.source.rowsAfter(this.stream, after);
  }
}
