/**
 * The tail: the newest chunks of all streams in memory, in front of a source. It serves sessions
 * that keep up, so the live path reads no disk and sessions at the same position share bytes.
 * Everything older is read from the log.
 */

import { assert } from '../base/assert.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Page } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkBytes } from './chunk.ts';
import { ChunkList } from './chunk-list.ts';
import { pageOf } from './chunk-page.ts';
import type { ReadOptions, Source, SourceEvent } from './log.ts';

export interface TailOptions {
  /** The most memory for the chunks of all streams together, in bytes. 0 keeps nothing. */
  readonly maxBytes?: number;
}

const defaultTailOptions: Required<TailOptions> = Object.freeze({
  /**
   * Half a minute at 20,000 rows of 100 bytes a second. A session further behind reads whole chunks
   * from the log, which slows nobody.
   */
  maxBytes: 64 * 1024 * 1024,
});

/** The approximate overhead of a chunk in bytes: many tiny chunks must not go uncounted. */
const CHUNK_OVERHEAD_BYTES = 256;
/**
 * Sessions that keep up are at the newest position or just before it, so few pages are shared by
 * many.
 */
const SHARED_PAGES_PER_STREAM = 4;

interface SharedPage {
  readonly after: Token;
  readonly maxBytes: number;
  /** The stream's `latest` when the page was made. */
  readonly latest: Token;
  readonly page: Page;
}

interface Window {
  readonly chunks: ChunkList;
  shared: SharedPage[];
}

export class Tail {
  readonly #source: Source;
  readonly #maxBytes: number;
  readonly #windows = new Map<StreamName, Window>();
  readonly #endWatch: () => void;
  #bytes = 0;

  /**
   * Create it before any other watcher of the log: then it has the rows when the others are told.
   * @throws UsageError INVALID_OPTION
   */
  constructor(source: Source, { maxBytes = defaultTailOptions.maxBytes }: TailOptions = {}) {
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0)
      throw new UsageError('INVALID_OPTION', `maxBytes of the tail is an integer from 0, not ${maxBytes}`);
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#endWatch = source.watch((event) => this.#handleEvent(event));
  }

  /** The memory its chunks occupy, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Returns what it has at once, without reading the log. Reads the rest from the log, with the
   * log's errors.
   */
  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    const window = this.#windows.get(stream);
    return (window && this.#readWindow(stream, window, options)) ?? this.#source.read(stream, options);
  }

  /** Ends the watch and forgets all chunks. */
  close(): void {
    this.#endWatch();
    this.#windows.clear();
    this.#bytes = 0;
  }

  #readWindow(stream: StreamName, window: Window, options: ReadOptions): Page | undefined {
    const { after, maxBytes } = options;
    // The log's bounds tell what was trimmed. The log must refuse a read of trimmed rows, so it is
    // not answered from memory.
    const bounds = this.#source.bounds(stream);
    const { earliest, latest } = bounds;
    const { first, last } = window.chunks;
    if (first === undefined || last === undefined) return undefined;
    if (after < first.after || after < earliest - 1 || after > last.upTo) return undefined;
    if (after === last.upTo) return after === latest ? pageOf(stream, [], bounds) : undefined;
    const shared = window.shared.find((s) => s.after === after && s.maxBytes === maxBytes);
    if (
      shared !== undefined &&
      (shared.latest === latest || shared.page.hasMore || shared.page.lines.length >= maxBytes)
    ) {
      return shared.latest === latest ? shared.page : { ...shared.page, hasMore: shared.page.upTo < latest };
    }
    const page = pageOf(stream, window.chunks.read(options), bounds);
    // Newest first, one page for each position: a longer page replaces the one it extends.
    window.shared = [{ after, maxBytes, latest, page }, ...window.shared.filter((s) => s !== shared)].slice(
      0,
      SHARED_PAGES_PER_STREAM,
    );
    return page;
  }

  #handleEvent(event: SourceEvent): void {
    // Chunks keep the era in which they were written, so a new era changes none of them.
    if (event.kind !== 'rows') return;
    const { stream, chunks = [] } = event;
    const window = this.#window(stream);
    this.#forgetTrimmed(stream, window);
    for (const chunk of chunks) this.#keep(window, chunk);
    while (this.#bytes > this.#maxBytes) this.#dropFirst(this.#oldestWindow());
  }

  #keep(window: Window, chunk: Chunk): void {
    const { last } = window.chunks;
    if (last !== undefined && chunk.upTo <= last.upTo) return;
    // A hint was lost, or came without its rows. The window starts again after the hole.
    if (last !== undefined && chunk.after !== last.upTo)
      while (window.chunks.first !== undefined) this.#dropFirst(window);
    window.chunks.append(chunk);
    this.#bytes += occupiedBytes(chunk);
  }

  #forgetTrimmed(stream: StreamName, window: Window): void {
    const { earliest } = this.#source.bounds(stream);
    while (window.chunks.first !== undefined && window.chunks.first.upTo < earliest) this.#dropFirst(window);
    window.shared = window.shared.filter(({ after }) => after >= earliest - 1);
  }

  #dropFirst(window: Window): void {
    const chunk = window.chunks.dropFirst();
    if (chunk !== undefined) this.#bytes -= occupiedBytes(chunk);
    const { first } = window.chunks;
    window.shared = window.shared.filter(({ after }) => first !== undefined && after >= first.after);
  }

  /** There are few streams, so asking each is cheaper than keeping them sorted. */
  #oldestWindow(): Window {
    let oldest: Window | undefined;
    for (const window of this.#windows.values()) {
      const { first } = window.chunks;
      if (first === undefined) continue;
      const oldestFirst = oldest?.chunks.first;
      if (oldestFirst === undefined || first.logMs < oldestFirst.logMs) oldest = window;
    }
    assert(oldest !== undefined, 'bytes to be those of a chunk');
    return oldest;
  }

  #window(stream: StreamName): Window {
    let window = this.#windows.get(stream);
    if (window === undefined) {
      window = { chunks: new ChunkList(), shared: [] };
      this.#windows.set(stream, window);
    }
    return window;
  }
}

function occupiedBytes(chunk: Chunk): number {
  return chunkBytes(chunk) + CHUNK_OVERHEAD_BYTES;
}
