/**
 * One stream in an sqlite log: its extent, and its chunks in the table of all. Knows no
 * transactions: the caller begins and ends them. Until something asks for it, it costs its name.
 */

import type { Millis } from '../base/clock.ts';
import { type Chunk, chunkAfter, chunkBytes, chunkUpTo, rowsOfChunkAfter } from '../core/model/chunk.ts';
import type { LogError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { Retention, StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { judgePosition } from './judge.ts';
import type { CuttingEvent, Holder, ReadOptions } from './log.ts';
import { mayDropOldest } from './retention.ts';
import type { ChunkTable, Edge } from './sqlite-chunks.ts';
import type { HolderTable } from './sqlite-holders.ts';
import type { RecordTable, StreamRecord } from './sqlite-stream-records.ts';
import { type SavedPlace, StreamHolders } from './stream-holders.ts';

/**
 * A stream whose retention was lowered sheds its surplus over several commits, so that none takes
 * long.
 */
const MAX_DROPS_PER_COMMIT = 1_000;
/** The bytes of rows that are dropped in one commit, about: more than is appended from drop to drop. */
const MAX_DROPPED_BYTES_PER_COMMIT = 16 * 1024 * 1024;

/**
 * Retention drops chunks every this many commits of the stream. A drop rewrites pages, about as
 * many as the append of a row. The first commit after an open drops too, so a process that appends
 * little also drops.
 */
const COMMITS_PER_DROP = 16;

/** The bounds of a stream, in memory. */
export interface Extent {
  readonly bounds: Bounds;
  /** How many rows the stream has had. */
  readonly rowsUpTo: number;
}

/** What all streams of a log share. */
export interface StreamHome {
  readonly chunks: ChunkTable;
  readonly records: RecordTable;
  readonly holders: HolderTable;
  readonly retentionOf: (stream: StreamName) => Retention;
  readonly damaged: (what: string) => LogError;
}

/** What a commit makes of a stream. */
export interface Shed {
  readonly extent: Extent;
  /** The holders that are told that their rows are to be cut. */
  readonly cutting: readonly CuttingEvent[];
  /** Some of what may be dropped is left for the next time. */
  readonly hasMore: boolean;
}

export class SqliteStream {
  readonly name: StreamName;
  readonly id: number;
  readonly #home: StreamHome;
  #extent: Extent | undefined;
  /** The damage that was found; the stream refuses appends then. Set by the caller. */
  damage: LogError | undefined;
  #savedLatest: Token = 0;
  #retain: Retention | undefined;
  #commitsUntilDrop = 0;
  /** Before this time of the log none of its rows is too old. */
  #agesAtMs: Millis = 0;
  /** Null: nobody holds its rows. Undefined: not looked up yet. */
  #holders: StreamHolders | null | undefined;

  constructor(name: StreamName, id: number, home: StreamHome) {
    this.name = name;
    this.id = id;
    this.#home = home;
  }

  /** As last committed. The first call after an open reads it, and finds missing chunks at both ends. */
  get extent(): Extent {
    return (this.#extent ??= this.#readExtent());
  }

  /** The caller sets what the methods below return once that is durable. */
  set extent(extent: Extent) {
    this.#extent = extent;
  }

  /** Who holds its rows back. Undefined without `retain.untilSavedBy`. The first call reads it. */
  get holders(): StreamHolders | undefined {
    if (this.#holders === undefined) {
      const { untilSavedBy } = this.retain;
      const placeAt = (token: Token): SavedPlace | undefined => this.#placeAt(token);
      const stored = untilSavedBy === undefined ? [] : this.#home.holders.of(this.id);
      this.#holders = untilSavedBy === undefined ? null : new StreamHolders({ untilSavedBy, placeAt, stored });
    }
    return this.#holders ?? undefined;
  }

  /** Something of its holders is not written yet. */
  get hasHolderChanges(): boolean {
    return this.#holders?.hasChanges === true;
  }

  get retain(): Retention {
    return (this.#retain ??= this.#home.retentionOf(this.name));
  }

  /** Those who hold rows, furthest behind first. */
  listHolders(most: number = Infinity): Holder[] {
    const holders = this.holders?.list().slice(0, most) ?? [];
    return holders.map((holder) => this.#describe(holder, this.extent));
  }

  /** Returns whether the worker held rows. */
  forgetHolder(worker: WorkerName): boolean {
    return this.holders?.forget(worker, this.extent.bounds.latest) === true;
  }

  /** Rows were taken back. */
  judgeHoldersAgain(): void {
    this.#holders?.judgeAgain();
  }

  /** Its extent is in memory. */
  get isRead(): boolean {
    return this.#extent !== undefined;
  }

  /** The bounds that were last saved, of a stream that is damaged. */
  get savedBounds(): Bounds {
    const { latest, earliest, base_era: era } = this.#record();
    const base = this.#historyOf(era);
    return { earliest, latest, history: base, base };
  }

  /** Something was appended since the extent was saved. */
  get isUnsaved(): boolean {
    return this.#extent !== undefined && this.#extent.bounds.latest !== this.#savedLatest;
  }

  /** Saves the extent at close, so that the next open can see missing chunks. */
  saveExtent(): void {
    this.#save(this.extent);
  }

  append(chunks: readonly Chunk[], now: Millis): Shed {
    const { earliest, base } = this.extent.bounds;
    for (const chunk of chunks) this.#home.chunks.insert(this.id, chunk);
    const { upTo: latest, history, rowsUpTo } = chunks[chunks.length - 1]!;
    const extent = { bounds: { earliest, latest, history, base }, rowsUpTo };
    if (this.#commitsUntilDrop-- > 0) return { extent, cutting: [], hasMore: false };
    this.#commitsUntilDrop = COMMITS_PER_DROP - 1;
    return this.#dropOldest(extent, now);
  }

  /** Some of its rows may be older than `retain.ageMs`. */
  mayHaveAged(now: Millis): boolean {
    return this.damage === undefined && this.retain.ageMs !== undefined && now >= this.#agesAtMs;
  }

  /** Drops what the retention no longer needs, some of it. */
  shed(now: Millis): Shed {
    return this.#dropOldest(this.extent, now);
  }

  trim(upTo: Token): Extent {
    const { bounds, rowsUpTo } = this.extent;
    const last = Math.min(upTo, bounds.latest);
    if (last < bounds.earliest) return this.extent;
    const base = this.#historyAt(last);
    // The rows are not to be seen from here on. Their chunks go later, in steps: a commit that
    // removes hundreds of megabytes would stop the process.
    this.#home.records.removeTrimmed(this.id);
    return this.#save({ bounds: { ...bounds, earliest: last + 1, base }, rowsUpTo });
  }

  /** Takes back the rows after the token, which is from `earliest - 1` to `latest`. */
  truncate(after: Token): Extent {
    const { bounds, rowsUpTo } = this.extent;
    if (after >= bounds.latest) return this.extent;
    const isNothingLeft = after < bounds.earliest;
    const next = this.#firstAfter(after);
    const cut = this.#cutChunk(next, after);
    const rowsBefore = cut?.rowsUpTo ?? rowsUpTo - this.rowsAfter(after);
    const history = isNothingLeft ? bounds.base : this.#historyAt(after);
    this.#home.chunks.dropAfter(this.id, after);
    // In its old place: chunks lie in commit order.
    if (cut !== undefined && !isNothingLeft) this.#home.chunks.insert(this.id, cut, next.id);
    return this.#save({ bounds: { ...bounds, latest: after, history }, rowsUpTo: rowsBefore });
  }

  /** Lets a stream that has no chunks begin after the token. */
  beginAfter(token: Token, history: History, rowsUpTo: number): Extent {
    return this.#save({ bounds: { earliest: token + 1, latest: token, history, base: history }, rowsUpTo });
  }

  /**
   * The chunks of one history after token `after`. The first chunk is cut at `after`; the last one
   * is the chunk that reaches `maxBytes`.
   */
  read({ after, maxBytes }: ReadOptions): Chunk[] {
    const chunks: Chunk[] = [];
    const { latest } = this.extent.bounds;
    if (after >= latest) return chunks;
    let reached = after;
    let bytes = 0;
    for (const record of this.#home.chunks.readAfter(this.id, after)) {
      const whole = this.#home.chunks.chunkOf(this.id, record);
      if (whole === undefined) throw this.#damaged(`the chunk up to ${String(record[0])} is not what was written`);
      const chunk = chunkAfter(whole, after);
      if (chunk.after !== reached) throw this.#damaged(`the rows from ${reached + 1} to ${chunk.after} are gone`);
      if (chunks.length > 0 && chunk.history !== chunks[0]!.history) return chunks;
      chunks.push(chunk);
      reached = chunk.upTo;
      bytes += chunkBytes(chunk);
      if (bytes >= maxBytes || reached >= latest) return chunks;
    }
    throw this.#damaged(`the rows from ${reached + 1} to ${latest} are gone`);
  }

  judge(position: Position): Verdict {
    const historyAt = (token: Token): History => this.#historyAt(token);
    return judgePosition(position, { bounds: this.extent.bounds, historyAt });
  }

  rowsAfter(after: Token, { bounds, rowsUpTo }: Extent = this.extent): number {
    const from = Math.max(after, bounds.earliest - 1);
    if (from >= bounds.latest) return 0;
    const chunk = this.#firstAfter(from);
    return rowsUpTo - chunk.rowsUpTo + rowsOfChunkAfter(chunk, from);
  }

  /** The batches up to the token, where it cuts the chunk. */
  #cutChunk({ after }: Edge, token: Token): Chunk | undefined {
    if (after >= token) return undefined;
    const [whole] = this.read({ after, maxBytes: 1 });
    return chunkUpTo(whole!, token);
  }

  #dropOldest(extent: Extent, now: Millis): Shed {
    const { bounds, rowsUpTo } = extent;
    const { retain, holders } = this;
    let last: Edge | undefined;
    let untold: ReturnType<StreamHolders['untold']> = [];
    let upTo = 0;
    let hasMore = false;
    let bytes = 0;
    for (let drops = 0; mayDropSome(retain, rowsUpTo) && !hasMore; drops++) {
      // Below `earliest` there may be chunks that are still to be removed.
      const oldest = this.#home.chunks.firstAfter(this.id, last?.upTo ?? bounds.earliest - 1);
      // What is appended later ages later. Where something is dropped it is looked for again: the
      // commit may fail.
      if (last === undefined) this.#agesAtMs = (oldest?.logMs ?? now) + (retain.ageMs ?? 0);
      if (oldest === undefined) break;
      const rows = rowsUpTo - oldest.rowsUpTo + oldest.rows;
      if (!mayDropOldest(retain, { rows, oldest, now, savedByAll: holders?.savedByAll ?? 0 })) break;
      ({ upTo } = oldest);
      untold = holders?.untold(upTo) ?? [];
      // It is told first, and cut the next time.
      if (untold.length > 0) break;
      this.#home.chunks.drop(oldest);
      last = oldest;
      bytes += oldest.bytes;
      hasMore = drops === MAX_DROPS_PER_COMMIT - 1 || bytes >= MAX_DROPPED_BYTES_PER_COMMIT;
    }
    if (hasMore) this.#commitsUntilDrop = 0;
    const cutting = untold.map((holder): CuttingEvent => {
      return { kind: 'cutting', stream: this.name, holder: this.#describe(holder, extent), upTo };
    });
    if (last === undefined) return { extent, cutting, hasMore };
    const earliest = Math.max(bounds.earliest, last.upTo + 1);
    const moved = { bounds: { ...bounds, earliest, base: this.#historyOf(last.era) }, rowsUpTo };
    return { extent: this.#save(moved), cutting, hasMore };
  }

  #describe({ worker, saved }: { worker: WorkerName; saved: SavedPlace | undefined }, extent: Extent): Holder {
    const position = saved && { stream: this.name, ...saved };
    return { worker, saved: position, lagRows: this.rowsAfter(saved?.token ?? 0, extent) };
  }

  #placeAt(token: Token): SavedPlace | undefined {
    const { earliest, latest, history, base } = this.extent.bounds;
    if (token < earliest - 1 || token > latest) return undefined;
    if (token === latest) return { token, history };
    return { token, history: token < earliest ? base : this.#historyAt(token) };
  }

  #historyAt(token: Token): History {
    return this.#historyOf(this.#firstAfter(token - 1).era);
  }

  #firstAfter(token: Token): Edge {
    const edge = this.#home.chunks.firstAfter(this.id, token);
    if (edge === undefined) throw this.#damaged(`the rows after ${token} are gone`);
    return edge;
  }

  #historyOf(era: unknown): History {
    const history = this.#home.chunks.eras.historyOf(era);
    if (history === undefined) throw this.#damaged(`'${String(era)}' is no era`);
    return history;
  }

  #save(extent: Extent): Extent {
    const { latest, earliest, base } = extent.bounds;
    const baseEra = this.#home.chunks.eras.textOf(base);
    this.#home.records.save(this.id, { latest, earliest, rows_up_to: extent.rowsUpTo, base_era: baseEra });
    this.#savedLatest = latest;
    return extent;
  }

  /** Finds missing chunks at both ends. Damage between them shows when it is read. */
  #readExtent(): Extent {
    const { latest, earliest, rows_up_to: rowsUpTo, base_era: baseEra } = this.#record();
    const oldest = this.#home.chunks.firstAfter(this.id, earliest - 1);
    const newest = oldest && this.#home.chunks.newest(this.id);
    const isWhole =
      oldest === undefined || newest === undefined
        ? earliest === latest + 1
        : oldest.after < earliest && newest.upTo >= latest;
    if (!isWhole) throw this.#damaged(`the rows from ${earliest} to ${latest} are not all there`);
    this.#savedLatest = latest;
    const base = this.#historyOf(baseEra);
    if (newest === undefined) return { bounds: { earliest, latest, history: base, base }, rowsUpTo };
    const history = this.#historyOf(newest.era);
    return { bounds: { earliest, latest: newest.upTo, history, base }, rowsUpTo: newest.rowsUpTo };
  }

  #record(): StreamRecord {
    const record = this.#home.records.read(this.id);
    if (record === undefined) throw this.#damaged('its record is gone');
    return record;
  }

  #damaged(what: string): LogError {
    return this.#home.damaged(`stream ${this.name}: ${what}`);
  }
}

/** Spares a look at the oldest chunk where retention surely keeps it, as in most of many small streams. */
function mayDropSome({ rows, ageMs, untilSavedBy }: Retention, rowsUpTo: number): boolean {
  if (untilSavedBy !== undefined) return true;
  return rows === undefined ? ageMs !== undefined : rowsUpTo > rows;
}
