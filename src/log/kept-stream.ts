/** One stream kept in memory: its chunks, its bounds and its holders. Knows no limits and no clock. */

import type { Millis } from '../base/clock.ts';
import { type Chunk, chunkAfter, chunkBytes } from '../core/model/chunk.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention, Stream, StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { ChunkList } from './chunk-list.ts';
import { judgePosition } from './judge.ts';
import type { CuttingEvent, Holder, ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';
import { type HolderChanges, type HolderRecord, type SavedPlace, StreamHolders } from './stream-holders.ts';

/** What a stream drops, and whom it tells instead. */
interface Shed {
  /** The rows with this token or a lower one go. Undefined: none. */
  readonly upTo: Token | undefined;
  readonly cutting: readonly CuttingEvent[];
}

/** Bounds, reads and verdicts of one stream, from chunks in memory. */
export class KeptStream {
  readonly #name: StreamName;
  readonly #retain: Retention;
  #holders: StreamHolders | undefined;
  /** Of a log with a store: what it has of the holders. */
  #stored: Map<WorkerName, HolderRecord> | undefined;
  #chunks = new ChunkList();
  #bounds: Bounds;
  #rowsUpTo = 0;

  constructor({ name, retain }: Pick<Stream, 'name' | 'retain'>, bounds: Bounds) {
    this.#name = name;
    this.#retain = retain;
    this.#bounds = bounds;
  }

  /** Undefined without `retain.untilSavedBy`. Made when it is first asked for, once all is read. */
  get holders(): StreamHolders | undefined {
    const { untilSavedBy } = this.#retain;
    if (untilSavedBy === undefined) return undefined;
    this.#holders ??= new StreamHolders({
      untilSavedBy,
      placeAt: (token) => this.#placeAt(token),
      stored: this.#stored?.values() ?? [],
    });
    return this.#holders;
  }

  get bounds(): Bounds {
    return this.#bounds;
  }

  /** How many rows the stream has had. */
  get rowsUpTo(): number {
    return this.#rowsUpTo;
  }

  /** Keeps more chunks, behind all others. */
  append(chunks: readonly Chunk[]): void {
    for (const chunk of chunks) this.#chunks.append(chunk);
    const { upTo: latest, rowsUpTo, history } = chunks[chunks.length - 1]!;
    this.#rowsUpTo = rowsUpTo;
    const { earliest, base } = this.#bounds;
    this.#bounds = { earliest, latest, history, base };
  }

  /** Drops rows up to a token. */
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
    this.#holders?.judgeAgain();
  }

  /** Starts the stream afresh. */
  rebase({ token, history = this.#bounds.history }: Position): void {
    this.#chunks = new ChunkList();
    this.#bounds = { earliest: token + 1, latest: token, history, base: history };
    this.#holders?.judgeAgain();
  }

  /**
   * What the retention no longer needs once these chunks have been appended. Where a holder needs it
   * and was not told yet, it stays until the next time.
   */
  planShed(now: Millis, appended: readonly Chunk[] = []): Shed {
    const added = appended.reduce((sum, chunk) => sum + chunk.rows, 0);
    const latest = appended[appended.length - 1]?.upTo ?? this.#bounds.latest;
    let rows = this.#chunks.rows + added;
    let bytes = appended.reduce((sum, chunk) => sum + chunkBytes(chunk), this.#chunks.bytes);
    let upTo: Token | undefined;
    for (let place = 0; ; place++) {
      const oldest = this.#chunks.nth(place);
      const savedByAll = this.holders?.savedByAll ?? 0;
      if (!mayDropOldest(this.#retain, { rows, bytes, oldest, now, savedByAll })) return { upTo, cutting: [] };
      const cutting = this.#tellHolders(oldest!.upTo, { added, latest });
      if (cutting.length > 0) return { upTo, cutting };
      rows -= oldest!.rows;
      bytes -= chunkBytes(oldest!);
      upTo = oldest!.upTo;
    }
  }

  /** Those who hold rows, furthest behind first. */
  listHolders(most: number = Infinity): Holder[] {
    const holders = this.holders?.list().slice(0, most) ?? [];
    return holders.map((holder) => this.#describe(holder));
  }

  /** The changes of holders that are not taken yet, to be stored. */
  takeHolderChanges(): HolderChanges | undefined {
    const { holders } = this;
    if (holders?.hasChanges !== true) return undefined;
    const { changes } = holders;
    holders.handleStored();
    return changes;
  }

  /** What takeHolderChanges gave is stored. */
  handleHoldersStored({ stored, removed }: HolderChanges): void {
    this.#stored ??= new Map();
    for (const record of stored) this.#stored.set(record.worker, record);
    for (const worker of removed) this.#stored.delete(worker);
  }

  /** What is stored of the holders, also where `retain.untilSavedBy` is not set now. */
  get storedHolders(): HolderRecord[] {
    return [...(this.#stored?.values() ?? [])];
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

  /** Some of its rows are older than `retain.ageMs`. */
  hasAged(now: Millis): boolean {
    const { first } = this.#chunks;
    const { ageMs } = this.#retain;
    return first !== undefined && ageMs !== undefined && first.logMs <= now - ageMs;
  }

  /** When the newest kept row became durable, in the log's own time. */
  get newestMs(): Millis | undefined {
    return this.#chunks.last?.logMs;
  }

  /** The chunks after a token, as many as a page takes. */
  read(options: ReadOptions): Chunk[] {
    return this.#chunks.read(options);
  }

  /** How many rows are kept after a token. */
  rowsAfter(after: Token): number {
    return this.#chunks.rowsAfter(Math.max(after, this.#bounds.earliest - 1));
  }

  /** Whether a position is on the history of the stream. */
  judge(position: Position): Verdict {
    const historyAt = (token: Token): string => this.#chunks.at(token).history;
    return judgePosition(position, { bounds: this.#bounds, historyAt });
  }

  #tellHolders(upTo: Token, { added, latest }: { readonly added: number; readonly latest: Token }): CuttingEvent[] {
    const untold = this.holders?.untold(upTo) ?? [];
    return untold.map((one) => {
      this.holders?.handleTold(one.worker, latest);
      const holder = this.#describe(one);
      return {
        kind: 'cutting',
        stream: this.#name,
        holder: { ...holder, lagRows: holder.lagRows + added },
        upTo,
      };
    });
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
