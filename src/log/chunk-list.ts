/**
 * The chunks of one stream in memory, oldest first. Knows no limits and no retention: the owner
 * decides what to append and what to drop.
 */

import { assert } from '../base/assert.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, chunkAfter, chunkBytes, chunkUpTo, rowsOfChunkAfter } from '../core/model/chunk.ts';
import type { ReadOptions } from './log.ts';

/**
 * The array is compacted when at least this many slots, and half of all, are empty. So a drop moves
 * nothing, and memory stays bounded.
 */
const SLOTS_WORTH_MOVING = 1_024;

/** Chunks of one stream, found by token in a few steps. */
export class ChunkList {
  #slots: (Chunk | undefined)[] = [];
  #start = 0;
  #bytes = 0;

  get first(): Chunk | undefined {
    return this.#slots[this.#start];
  }

  get last(): Chunk | undefined {
    return this.#slots[this.#slots.length - 1];
  }

  /** The chunk at a place, counted from the oldest one. Undefined beyond the newest. */
  nth(place: number): Chunk | undefined {
    return this.#slots[this.#start + place];
  }

  get rows(): number {
    const { first, last } = this;
    return first === undefined ? 0 : last!.rowsUpTo - first.rowsUpTo + first.rows;
  }

  /** What all chunks take, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a chunk behind all others. */
  append(chunk: Chunk): void {
    assert(this.last === undefined || this.last.upTo === chunk.after, 'a chunk to join on to the one before it');
    this.#slots.push(chunk);
    this.#bytes += chunkBytes(chunk);
  }

  /** Drops the oldest chunk and returns it. */
  dropFirst(): Chunk | undefined {
    const chunk = this.first;
    if (chunk === undefined) return undefined;
    this.#slots[this.#start++] = undefined;
    this.#bytes -= chunkBytes(chunk);
    if (
      this.#start === this.#slots.length ||
      (this.#start >= SLOTS_WORTH_MOVING && this.#start * 2 >= this.#slots.length)
    ) {
      this.#slots = this.#slots.slice(this.#start);
      this.#start = 0;
    }
    return chunk;
  }

  /** Takes back everything after the token. */
  truncate(after: Token): void {
    while (this.last !== undefined && this.last.after >= after) this.#bytes -= chunkBytes(this.#slots.pop()!);
    const { last } = this;
    if (last !== undefined && last.upTo > after) {
      const cut = chunkUpTo(last, after);
      this.#slots[this.#slots.length - 1] = cut;
      this.#bytes += chunkBytes(cut) - chunkBytes(last);
    }
    if (this.#start > this.#slots.length) this.#start = this.#slots.length;
  }

  /**
   * The chunks of one history after token `after`. The first chunk is cut at `after`; the last one
   * is the chunk that reaches `maxBytes`.
   */
  read({ after, maxBytes }: ReadOptions): Chunk[] {
    const chunks: Chunk[] = [];
    let bytes = 0;
    for (let i = this.#indexOfFirstBeyond(after); i < this.#slots.length; i++) {
      const slot = this.#slots[i]!;
      if (chunks.length > 0 && slot.history !== chunks[0]!.history) break;
      const chunk = chunkAfter(slot, after);
      chunks.push(chunk);
      bytes += chunkBytes(chunk);
      if (bytes >= maxBytes) break;
    }
    return chunks;
  }

  /** The chunk that holds the token. The token must be one that is kept. */
  at(token: Token): Chunk {
    return this.#slots[this.#indexOfFirstBeyond(token - 1)]!;
  }

  /**
   * Estimates how many rows follow `after`. A chunk that `after` cuts counts by its share of
   * tokens.
   */
  rowsAfter(after: Token): number {
    const chunk = this.#slots[this.#indexOfFirstBeyond(after)];
    return chunk === undefined ? 0 : this.last!.rowsUpTo - chunk.rowsUpTo + rowsOfChunkAfter(chunk, after);
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
