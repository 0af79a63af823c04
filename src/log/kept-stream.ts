/** One stream kept in memory: its chunks and its bounds. Knows no limits and no clock. */

import type { Millis } from '../base/clock.ts';
import { type Chunk, chunkAfter } from '../core/model/chunk.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { ChunkList } from './chunk-list.ts';
import { judgePosition } from './judge.ts';
import type { ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';

/** Bounds, reads and verdicts of one stream, from chunks in memory. */
export class KeptStream {
  #chunks = new ChunkList();
  #bounds: Bounds;
  #rowsUpTo = 0;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  get bounds(): Bounds {
    return this.#bounds;
  }

  /** How many rows the stream has had. */
  get rowsUpTo(): number {
    return this.#rowsUpTo;
  }

  append(chunks: readonly Chunk[]): void {
    for (const chunk of chunks) this.#chunks.append(chunk);
    const { upTo: latest, rowsUpTo, history } = chunks[chunks.length - 1]!;
    this.#rowsUpTo = rowsUpTo;
    const { earliest, base } = this.#bounds;
    this.#bounds = { earliest, latest, history, base };
  }

  trim(upTo: Token): void {
    const gone = Math.min(upTo, this.#bounds.latest);
    if (gone < this.#bounds.earliest) return;
    const base = this.#chunks.at(gone).history;
    this.#bounds = { ...this.#bounds, earliest: gone + 1, base };
    while (this.#chunks.first !== undefined && this.#chunks.first.upTo <= gone) this.#chunks.dropFirst();
  }

  /** Takes back the rows after the token, which is at least `earliest - 1`. */
  truncate(after: Token): void {
    const { earliest, latest, base } = this.#bounds;
    if (after >= latest) return;
    const history = after < earliest ? base : this.#chunks.at(after).history;
    this.#chunks.truncate(after);
    // The chunk that was cut knows exactly. Without one nothing is compared with the number.
    this.#rowsUpTo = this.#chunks.last?.rowsUpTo ?? this.#rowsUpTo;
    this.#bounds = { earliest, latest: after, history, base };
  }

  rebase({ token, history = this.#bounds.history }: Position): void {
    this.#chunks = new ChunkList();
    this.#bounds = { earliest: token + 1, latest: token, history, base: history };
  }

  /**
   * The token up to which the retention no longer needs rows, once `added` rows have been appended.
   * Undefined: it needs all.
   */
  spareUpTo(retain: Retention, { added, now }: { readonly added: number; readonly now: Millis }): Token | undefined {
    let rows = this.#chunks.rows + added;
    let spare: Token | undefined;
    for (let place = 0; ; place++) {
      const oldest = this.#chunks.nth(place);
      if (!mayDropOldest(retain, { rows, oldest, now })) return spare;
      rows -= oldest!.rows;
      spare = oldest!.upTo;
    }
  }

  /** The kept chunks, oldest first. */
  *chunks(): IterableIterator<Chunk> {
    const after = this.#bounds.earliest - 1;
    for (let place = 0; ; place++) {
      const chunk = this.#chunks.nth(place);
      if (chunk === undefined) return;
      yield chunkAfter(chunk, after);
    }
  }

  /** When the newest kept row became durable, in the log's own time. */
  get newestMs(): Millis | undefined {
    return this.#chunks.last?.logMs;
  }

  read(options: ReadOptions): Chunk[] {
    return this.#chunks.read(options);
  }

  rowsAfter(after: Token): number {
    return this.#chunks.rowsAfter(Math.max(after, this.#bounds.earliest - 1));
  }

  judge(position: Position): Verdict {
    const historyAt = (token: Token): string => this.#chunks.at(token).history;
    return judgePosition(position, { bounds: this.#bounds, historyAt });
  }
}
