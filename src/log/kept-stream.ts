/** One stream kept in memory: its chunks, its bounds and its holders. Knows no limits and no clock. */

import type { Millis } from '../base/clock.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention, Stream, StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { ChunkList } from './chunk-list.ts';
import { judgePosition } from './judge.ts';
import type { CuttingEvent, Holder, ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';
import { type SavedPlace, StreamHolders } from './stream-holders.ts';

export class KeptStream {
  readonly #name: StreamName;
  readonly #retain: Retention;
  /** Undefined without `retain.untilSavedBy`. */
  readonly holders: StreamHolders | undefined;
  #chunks = new ChunkList();
  #bounds: Bounds;
  #rowsUpTo = 0;

  constructor({ name, retain }: Pick<Stream, 'name' | 'retain'>, bounds: Bounds) {
    this.#name = name;
    this.#retain = retain;
    this.#bounds = bounds;
    const { untilSavedBy } = retain;
    if (untilSavedBy !== undefined) {
      this.holders = new StreamHolders({ untilSavedBy, placeAt: (token) => this.#placeAt(token) });
    }
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
    const next = this.#chunks.at(after + 1);
    this.#chunks.truncate(after);
    const { last } = this.#chunks;
    this.#rowsUpTo = last === undefined ? next.rowsUpTo - next.rows : last.rowsUpTo;
    // The start of a chunk that was trimmed within: it has no row that is kept.
    if (after < earliest) this.#chunks = new ChunkList();
    this.#bounds = { earliest, latest: after, history, base };
    this.holders?.judgeAgain();
  }

  rebase({ token, history = this.#bounds.history }: Position): void {
    this.#chunks = new ChunkList();
    this.#bounds = { earliest: token + 1, latest: token, history, base: history };
    this.holders?.judgeAgain();
  }

  /**
   * Drops the chunks that the retention no longer needs. Where a holder needs them and was not told
   * yet, they stay until the next time.
   */
  shed(now: Millis): CuttingEvent[] {
    for (let oldest = this.#chunks.first; oldest !== undefined; oldest = this.#chunks.first) {
      const savedByAll = this.holders?.savedByAll ?? 0;
      if (!mayDropOldest(this.#retain, { rows: this.#chunks.rows, oldest, now, savedByAll })) return [];
      const { upTo } = oldest;
      const untold = this.holders?.untold(upTo) ?? [];
      for (const { worker } of untold) this.holders?.handleTold(worker, this.#bounds.latest);
      if (untold.length > 0) {
        return untold.map((one) => ({ kind: 'cutting', stream: this.#name, holder: this.#describe(one), upTo }));
      }
      this.trim(oldest.upTo);
    }
    return [];
  }

  /** Those who hold rows, furthest behind first. */
  listHolders(most: number = Infinity): Holder[] {
    const holders = this.holders?.list().slice(0, most) ?? [];
    return holders.map((holder) => this.#describe(holder));
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

  #describe({ worker, saved }: { readonly worker: WorkerName; readonly saved: SavedPlace | undefined }): Holder {
    const position = saved && { stream: this.#name, ...saved };
    return { worker, saved: position, lagRows: this.rowsAfter(saved?.token ?? 0) };
  }

  #placeAt(token: Token): SavedPlace | undefined {
    const { earliest, latest, history, base } = this.#bounds;
    if (token < earliest - 1 || token > latest) return undefined;
    if (token === latest) return { token, history };
    return { token, history: token < earliest ? base : this.#chunks.at(token).history };
  }
}
