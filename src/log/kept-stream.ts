/** One stream kept in memory: its chunks and its bounds. Knows no limits and no clock. */

import type { Millis } from '../base/clock.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { ChunkList } from './chunk-list.ts';
import { judgePosition } from './judge.ts';
import type { ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';

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
    this.#rowsUpTo -= this.#chunks.rowsAfter(after);
    this.#chunks.truncate(after);
    this.#bounds = { earliest, latest: after, history, base };
  }

  rebase({ token, history = this.#bounds.history }: Position): void {
    this.#chunks = new ChunkList();
    this.#bounds = { earliest: token + 1, latest: token, history, base: history };
  }

  /** Drops the chunks that the retention no longer needs. */
  shed(retain: Retention, now: Millis): void {
    for (let oldest = this.#chunks.first; oldest !== undefined; oldest = this.#chunks.first) {
      if (!mayDropOldest(retain, { rows: this.#chunks.rows, oldest, now })) return;
      this.trim(oldest.upTo);
    }
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
