/**
 * How much memory held rows take. Their length on the wire does not tell: `[{},{},{}]` grows more
 * than twenty times when it is read.
 */

import { PeerError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import { MAX_BYTES_PER_CHARACTER, memoryOf } from '../model/row-memory.ts';

/**
 * Longer lines are counted by the memory that they take. Shorter lines are counted by their length,
 * which costs nothing to know.
 */
const SHORT_LINE = 1_024;

/** The rows of all unfinished batches of one connection. */
export class UnfinishedRows {
  readonly maxBytes: number;
  #characters = 0;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /**
   * Counts one more row, or the attributes, of an unfinished batch that costs `own` so far.
   * @returns its cost, in bytes; undefined when the batch alone is over the limit
   * @throws PeerError BATCH_TOO_LARGE when the batches of several streams are over it
   */
  add(stream: StreamName, line: LineInText, own: number): number | undefined {
    const { text, start, end } = line;
    const length = end - start;
    const characters = this.#characters + length;
    // Short lines are not looked at while even the worst of them would fit.
    const isCounted = length > SHORT_LINE || characters * MAX_BYTES_PER_CHARACTER > this.maxBytes;
    const cost = isCounted ? memoryOf(text, start, end) : length;
    if (this.#bytes + cost > this.maxBytes) {
      if (this.#bytes === own) return undefined;
      throw new PeerError(
        'BATCH_TOO_LARGE',
        `a batch of stream ${stream} that is not finished takes, with others, over maxBatchBytes ${this.maxBytes} of memory`,
        { facts: { stream } },
      );
    }
    this.#characters = characters;
    this.#bytes += cost;
    return cost;
  }

  /** Whether a row that is a whole batch by itself is too small to be looked at. */
  isSmall({ start, end }: LineInText): boolean {
    const length = end - start;
    return length <= SHORT_LINE && length * MAX_BYTES_PER_CHARACTER <= this.maxBytes;
  }

  /** Gives back the cost of a batch that is whole or dropped. */
  remove(characters: number, cost: number): void {
    this.#characters -= characters;
    this.#bytes -= cost;
  }
}
