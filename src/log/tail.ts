/**
 * The tail: the newest chunks of all streams in memory, in front of a source. It serves sessions
 * that keep up, so the live path reads no disk and sessions at the same position share bytes.
 *
 * Everything else is read from the source, once for all sessions that ask for the same page
 * meanwhile, or while one of them still holds it. Where a hint came without rows, the first read
 * brings them for everyone.
 */

import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { type Chunk, chunkBytes } from '../core/model/chunk.ts';
import type { Page } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { ChunkList } from './chunk-list.ts';
import { pageOf } from './chunk-page.ts';
import { HeldPages } from './held-pages.ts';
import type { Log, ReadOptions, Source, SourceEvent } from './log.ts';
import { TailRoom, type TailWindow } from './tail-room.ts';

export interface TailOptions {
  /** The most memory for the chunks of all streams together, in bytes. 0 keeps nothing. */
  readonly maxBytes?: number;
  /** Memory that several tails share, in place of `maxBytes`. */
  readonly room?: TailRoom;
  /** How long a read of the source is shared: one that is never answered must not answer for all. */
  readonly maxReadMs?: Millis;
  readonly clock?: Clock;
}

const defaultTailOptions: Required<Omit<TailOptions, 'room'>> = Object.freeze({
  /**
   * Half a minute at 20,000 rows of 100 bytes a second. A session further behind reads whole chunks
   * from the log, which slows nobody.
   */
  maxBytes: 64 * 1024 * 1024,
  /** As long as sessions wait for a source (sourceTimeoutMs). */
  maxReadMs: 30_000,
  clock: systemClock,
});

/** The approximate overhead of a chunk in bytes: many tiny chunks must not go uncounted. */
const CHUNK_OVERHEAD_BYTES = 256;
/** The texts of a chunk, and its lines, which sessions make of it and share. */
const COPIES = 2;
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
  readonly bytes: number;
  readonly page: Page;
}

interface Window extends TailWindow {
  readonly stream: StreamName;
  readonly chunks: ChunkList;
  shared: SharedPage[];
}

interface RunningRead {
  readonly page: Promise<Page>;
  /** The stream's `latest` when it began. */
  readonly latest: Token;
  /** From then on it is not shared any more. */
  readonly until: Millis;
}

export class Tail {
  readonly #source: Source;
  readonly #room: TailRoom;
  readonly #maxReadMs: Millis;
  readonly #clock: Clock;
  /** Only streams that have chunks here. */
  readonly #windows = new Map<StreamName, Window>();
  readonly #held = new HeldPages();
  /** Reads of the source that are on their way, by what they ask for. */
  readonly #reading = new Map<string, RunningRead>();
  readonly #endWatch: () => void;
  #bytes = 0;

  /**
   * Create it before any other watcher of the source: then it has the rows when the others are
   * told.
   * @throws UsageError INVALID_OPTION
   */
  constructor(source: Source, options: TailOptions = {}) {
    const { maxBytes, maxReadMs, clock, room = new TailRoom(maxBytes) } = { ...defaultTailOptions, ...options };
    this.#source = source;
    this.#room = room;
    this.#maxReadMs = maxReadMs;
    this.#clock = clock;
    this.#endWatch = source.watch((event) => this.#handleEvent(event));
  }

  /** The memory its chunks occupy, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Returns what it has at once, without reading the source. Reads the rest from the source, with
   * the source's errors.
   */
  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    // A log that lost its file refuses reads. What is in memory here would make followers live.
    if (this.#hasFailed) return this.#source.read(stream, options);
    const window = this.#windows.get(stream);
    return (window && this.#readWindow(window, options)) ?? this.#readThrough(stream, options);
  }

  /** Ends the watch and forgets all chunks. */
  close(): void {
    this.#endWatch();
    for (const stream of this.#windows.keys()) this.#forget(stream);
    this.#room.handleClosed();
    this.#held.clear();
    this.#reading.clear();
  }

  get #hasFailed(): boolean {
    return (this.#source as Partial<Log>).health === 'failed';
  }

  #readWindow(window: Window, options: ReadOptions): Page | undefined {
    const { stream } = window;
    const { after, maxBytes } = options;
    // The source's bounds tell what was trimmed. The source must refuse a read of trimmed rows, so
    // it is not answered from memory.
    const bounds = this.#source.bounds(stream);
    const { earliest, latest } = bounds;
    const { first, last } = window.chunks;
    if (first === undefined || last === undefined) return undefined;
    if (after < first.after || after < earliest - 1 || after > last.upTo) return undefined;
    if (after === last.upTo) return after === latest ? pageOf(stream, [], bounds) : undefined;
    const shared = window.shared.find((s) => s.after === after && s.maxBytes === maxBytes);
    if (shared !== undefined) {
      const { page } = shared;
      if (shared.latest === latest) return page;
      if (page.hasMore || shared.bytes >= maxBytes) return { ...page, hasMore: page.upTo < latest };
    }
    const chunks = window.chunks.read(options);
    const page = pageOf(stream, chunks, bounds);
    const bytes = chunks.reduce((sum, chunk) => sum + chunkBytes(chunk), 0);
    // Newest first, one page for each position: a longer page replaces the one it extends.
    window.shared = [{ after, maxBytes, latest, bytes, page }, ...window.shared.filter((s) => s !== shared)].slice(
      0,
      SHARED_PAGES_PER_STREAM,
    );
    return page;
  }

  #readThrough(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    const { after, maxBytes } = options;
    const key = `${after} ${maxBytes} ${stream}`;
    const running = this.#reading.get(key);
    const { latest } = this.#source.bounds(stream);
    // A read that began when nothing was there may bring nothing, and now there is something.
    const isCurrent = running !== undefined && (running.latest > after || running.latest === latest);
    if (isCurrent && this.#clock.now() < running.until) return running.page;
    const held = this.#held.find(stream, options, this.#source.bounds(stream));
    if (held !== undefined) return held;
    const answer = this.#source.read(stream, options);
    if (!isPromise(answer)) return this.#keepPage(answer, options);
    const reading: Promise<Page> = Promise.resolve(answer).then(
      (page) => {
        // The stream may have been deleted meanwhile, and its rows must not come back.
        if (this.#reading.get(key)?.page !== reading) return page;
        this.#reading.delete(key);
        return this.#keepPage(page, options);
      },
      (error: unknown) => {
        if (this.#reading.get(key)?.page === reading) this.#reading.delete(key);
        throw error;
      },
    );
    this.#reading.set(key, { page: reading, latest, until: this.#clock.now() + this.#maxReadMs });
    return reading;
  }

  /** Keeps the rows of a page that go on where the window ends, or that are the newest. */
  #keepPage(page: Page, options: ReadOptions): Page {
    this.#held.add(page.stream, options, page);
    const { after } = options;
    const last = this.#windows.get(page.stream)?.chunks.last;
    const isNext = last === undefined ? page.upTo >= this.#source.bounds(page.stream).latest : last.upTo === after;
    if (isNext && page.rows > 0) {
      for (const chunk of page.chunks) this.#keep(page.stream, chunk);
      this.#room.shrink();
    }
    return page;
  }

  #handleEvent(event: SourceEvent): void {
    switch (event.kind) {
      case 'rows':
        this.#forgetTrimmed(event.stream);
        for (const chunk of event.chunks ?? []) this.#keep(event.stream, chunk);
        return this.#room.shrink();
      case 'deleted':
      case 'rebased':
        // What is being read may hold rows that are gone.
        this.#reading.clear();
        this.#held.clear();
        return this.#forget(event.stream);
      case 'era':
        // Chunks keep the era in which they were written, so a new era changes none of them.
        return;
      case 'cutting':
        // What is dropped is seen when more rows come.
        return;
    }
  }

  #keep(stream: StreamName, chunk: Chunk): void {
    if (this.#room.maxBytes === 0) return;
    const last = this.#windows.get(stream)?.chunks.last;
    if (last !== undefined && chunk.upTo <= last.upTo) return;
    // A hint was lost, or came without its rows. The window starts again after the hole.
    if (last !== undefined && chunk.after !== last.upTo) this.#forget(stream);
    const window = this.#window(stream);
    window.chunks.append(chunk);
    const bytes = occupiedBytes(chunk);
    this.#bytes += bytes;
    this.#room.add(window, chunk.upTo, bytes);
  }

  #forgetTrimmed(stream: StreamName): void {
    const window = this.#windows.get(stream);
    if (window === undefined) return;
    const { earliest } = this.#source.bounds(stream);
    while (window.chunks.first !== undefined && window.chunks.first.upTo < earliest) this.#dropFirst(window);
    window.shared = window.shared.filter(({ after }) => after >= earliest - 1);
  }

  #forget(stream: StreamName): void {
    const window = this.#windows.get(stream);
    while (window?.chunks.first !== undefined) this.#dropFirst(window);
  }

  #dropFirst(window: Window): void {
    const chunk = window.chunks.dropFirst();
    if (chunk === undefined) return;
    const bytes = occupiedBytes(chunk);
    this.#bytes -= bytes;
    this.#room.remove(bytes);
    const { first } = window.chunks;
    window.shared = window.shared.filter(({ after }) => first !== undefined && after >= first.after);
    if (first === undefined) this.#windows.delete(window.stream);
  }

  #window(stream: StreamName): Window {
    const known = this.#windows.get(stream);
    if (known !== undefined) return known;
    const chunks = new ChunkList();
    const window: Window = {
      stream,
      chunks,
      shared: [],
      get firstUpTo() {
        return chunks.first?.upTo;
      },
      dropFirst: () => this.#dropFirst(window),
    };
    this.#windows.set(stream, window);
    return window;
  }
}

function occupiedBytes(chunk: Chunk): number {
  return chunkBytes(chunk) * COPIES + CHUNK_OVERHEAD_BYTES;
}

/** A source of another library may have promises of its own. */
function isPromise(answer: Page | Promise<Page>): answer is Promise<Page> {
  return 'then' in answer;
}
