/**
 * Pages that were read from a source and that someone still holds. Sessions at the same position
 * share them, however slow the sessions are and however large a page is. Keeps no page itself: the
 * bytes of its lines do (core/wire/page-lines.ts).
 */

import type { Chunk } from '../core/model/chunk.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { ReadOptions } from './log.ts';

interface Entry {
  readonly facts: Omit<Page, 'chunks'>;
  readonly chunks: WeakRef<readonly Chunk[]>;
}

/** Entries of pages that nobody holds are cleared away once the entries number this many, at least. */
const LEAST_ENTRIES = 64;

export class HeldPages {
  readonly #entries = new Map<string, Entry>();
  #clearAt = LEAST_ENTRIES;

  find(stream: StreamName, options: ReadOptions, { earliest, latest }: Bounds): Page | undefined {
    const entry = this.#entries.get(keyOf(stream, options));
    const chunks = entry?.chunks.deref();
    if (entry === undefined || chunks === undefined || options.after < earliest - 1) return undefined;
    const { facts } = entry;
    // It ends because nothing more was there, and now there is more.
    if (!facts.hasMore && facts.upTo < latest) return undefined;
    return { ...facts, chunks, hasMore: facts.upTo < latest };
  }

  add(stream: StreamName, options: ReadOptions, { chunks, ...facts }: Page): void {
    if (chunks.length === 0) return;
    this.#entries.set(keyOf(stream, options), { facts, chunks: new WeakRef(chunks) });
    if (this.#entries.size < this.#clearAt) return;
    for (const [key, entry] of this.#entries) if (entry.chunks.deref() === undefined) this.#entries.delete(key);
    this.#clearAt = Math.max(LEAST_ENTRIES, this.#entries.size * 2);
  }

  clear(): void {
    this.#entries.clear();
    this.#clearAt = LEAST_ENTRIES;
  }
}

function keyOf(stream: StreamName, { after, maxBytes }: ReadOptions): string {
  return `${after} ${maxBytes} ${stream}`;
}
