/**
 * The memory that the tails of one primary share. Where it is full the oldest chunk goes first,
 * whichever tail has it.
 */

import { Queue } from '../base/queue.ts';
import { UsageError } from '../core/model/errors.ts';
import type { Token } from '../core/model/token.ts';

/** The chunks of one stream in a tail. */
export interface TailWindow {
  readonly firstUpTo: Token | undefined;
  dropFirst(): void;
}

/** A chunk in the order in which chunks came. Its window may have dropped it since. */
interface Entry {
  readonly window: TailWindow;
  readonly upTo: Token;
}

/** Entries of dropped chunks are cleared away once they number this many and half of all. */
const ENTRIES_WORTH_CLEARING = 1_024;

export class TailRoom {
  readonly maxBytes: number;
  #entries = new Queue<Entry>();
  #chunks = 0;
  #bytes = 0;

  /** @throws UsageError INVALID_OPTION */
  constructor(maxBytes: number) {
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0)
      throw new UsageError('INVALID_OPTION', `maxBytes of the tail is an integer from 0, not ${maxBytes}`);
    this.maxBytes = maxBytes;
  }

  /** What all chunks occupy. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A window has one more chunk. */
  add(window: TailWindow, upTo: Token, bytes: number): void {
    this.#entries.push({ window, upTo });
    this.#chunks++;
    this.#bytes += bytes;
  }

  /** A window has dropped its first chunk. */
  remove(bytes: number): void {
    this.#chunks--;
    this.#bytes -= bytes;
  }

  /** Drops the oldest chunks until the rest fits. */
  shrink(): void {
    while (this.#bytes > this.maxBytes) {
      const oldest = this.#entries.shift();
      if (oldest === undefined) return;
      if (oldest.window.firstUpTo === oldest.upTo) oldest.window.dropFirst();
    }
    if (this.#entries.length < ENTRIES_WORTH_CLEARING || this.#entries.length < this.#chunks * 2) return;
    this.#clearDropped();
  }

  /** A tail that closed has dropped all its chunks. */
  handleClosed(): void {
    this.#clearDropped();
  }

  #clearDropped(): void {
    const kept = new Queue<Entry>();
    for (const entry of this.#entries) {
      const { firstUpTo } = entry.window;
      if (firstUpTo !== undefined && entry.upTo >= firstUpTo) kept.push(entry);
    }
    this.#entries = kept;
  }
}
