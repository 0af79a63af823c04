/** The kept chunks of one stream in memory, oldest first. Knows neither limits nor retention: its owner appends and drops. */

import { assert } from '../base/assert.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter } from './chunk.ts';
import type { ReadOptions } from './log.ts';

/** Dropped slots are given back once they are this many and half of all: a drop moves nothing, and memory stays bounded. */
const SLOTS_WORTH_MOVING = 1_024;

export class ChunkList {
  #slots: (Chunk | undefined)[] = [];
  #start = 0;
  #rows = 0;

  get first(): Chunk | undefined {
    return this.#slots[this.#start];
  }

  get last(): Chunk | undefined {
    return this.#slots[this.#slots.length - 1];
  }

  get rows(): number {
    return this.#rows;
  }

  append(chunk: Chunk): void {
    assert(this.last === undefined || this.last.upTo === chunk.after, 'a chunk to join on to the one before it');
    this.#slots.push(chunk);
    this.#rows += chunk.rows;
  }

  dropFirst(): Chunk | undefined {
    const chunk = this.first;
    if (chunk === undefined) return undefined;
    this.#slots[this.#start++] = undefined;
    this.#rows -= chunk.rows;
    if (
      this.#start === this.#slots.length ||
      (this.#start >= SLOTS_WORTH_MOVING && this.#start * 2 >= this.#slots.length)
    ) {
      this.#slots = this.#slots.slice(this.#start);
      this.#start = 0;
    }
    return chunk;
  }

  /** The chunks that follow `after`, the first one cut there, up to the one that reaches `maxBytes`. */
  read({ after, maxBytes }: ReadOptions): Chunk[] {
    const chunks: Chunk[] = [];
    let bytes = 0;
    for (let i = this.#indexOfFirstBeyond(after); i < this.#slots.length; i++) {
      const chunk = chunkAfter(this.#slots[i]!, after);
      chunks.push(chunk);
      bytes += chunk.lines.length;
      if (bytes >= maxBytes) break;
    }
    return chunks;
  }

  #indexOfFirstBeyond(after: Token): number {
    let low = this.#start;
    let high = this.#slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#slots[middle]!.upTo > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
