/**
 * The interface of a log, and what every log promises. One exported suite (testing/log-suite.ts) holds each to it.
 *
 * 1. `append` resolves to the batch's position when the batch is durable: all of the batch or none. Batches that wait
 *    together share one commit.
 * 2. Tokens are safe integers, strictly increasing per stream, starting above 0; numbers may be skipped.
 * 3. `read` gives a page: whole batches of one history with token > after, in order, and `upTo`, `hasMore`.
 * 4. `bounds` gives `earliest` kept and `latest` settled token, and the histories of both ends; `id` is the identity of
 *    the log. Each `open` begins an era, and rows keep the era in which they were written.
 * 5. `judge` says whether a position is on the present history: exactly those are of which every row up to there is what
 *    the log has, or had before it was dropped.
 * 6. `watch` hints when `latest` moved. A hint follows durability and comes before its append resolves.
 * 7. `trim` drops old rows; a read after a token below `earliest - 1` is refused with LOG_GAP, never answered short.
 * 8. The catalog stream has one row for each stream, `{"stream":"events","made":1764281400000}`, from the open that first
 *    declared it. It is never trimmed.
 * 9. After a crash at any instant: every resolved append is there, no unresolved append is half there.
 */

import type { AttributesText } from '../core/model/attributes.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import type { History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Chunk } from './chunk.ts';

export interface LogOptions {
  /** The streams that will be used. What the log holds of others is left alone. */
  readonly streams: readonly Stream[];
  readonly limits: BatchLimits;
  /** The log's own stream of streams, `$streams` or `$streams.volatile`. Only the log appends to it. */
  readonly catalog: StreamName;
}

export interface ReadOptions {
  /** Exclusive. */
  readonly after: Token;
  /** The page ends with the chunk that reaches this many bytes; at least one batch is read, however large. */
  readonly maxBytes: number;
}

export interface AppendOptions {
  /** JSON text of an object, one line: kept beside the batch and read with it. */
  readonly attributes?: AttributesText;
}

/** "There are rows up to `latest`": a hint, may be lost. */
export interface RowsEvent {
  readonly kind: 'rows';
  readonly stream: StreamName;
  readonly latest: Token;
  /** The rows themselves where they are at hand, so that the tail need not read them back. */
  readonly chunks?: readonly Chunk[];
}

/** The source has begun another era while it was open. Logs with one writer begin theirs with `open` and never say this. */
export interface EraEvent {
  readonly kind: 'era';
  readonly era: History;
}

export type SourceEvent = RowsEvent | EraEvent;

export type SourceListener = (event: SourceEvent) => void;

/** What sessions read from. */
export interface Source {
  /** What people call it in messages: `memory`, `sqlite data/rowcast.db`. */
  readonly name: string;
  /** The log's identity, 16 hex digits: another one after every start of a log that keeps nothing. Known once open. */
  readonly id: string;
  /** The era in which rows are written now. Known once open. */
  readonly era: History;

  /** @throws UsageError NO_SUCH_STREAM, CLOSED; LogError of storage */
  judge(position: Position): Verdict | Promise<Verdict>;

  /** @throws UsageError NO_SUCH_STREAM, CLOSED */
  bounds(stream: StreamName): Bounds;

  /**
   * Answers at once where it can, so that the live path makes no promise.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError LOG_GAP and those of storage
   */
  read(stream: StreamName, options: ReadOptions): Page | Promise<Page>;

  /**
   * How many rows that are kept follow the token: exact at the borders of commits, within one by its share of tokens.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError of storage
   */
  rowsAfter(stream: StreamName, after: Token): number;

  /** Returns the function that ends the watch. */
  watch(listener: SourceListener): () => void;
}

/** `slow`: commits take long or the disk holds more than it should. `failed`: the log takes no append until it is opened again. */
export type LogHealth = 'ok' | 'slow' | 'failed';

export interface Log extends Source {
  readonly health: LogHealth;

  /** @throws LogError LOG_DAMAGED, LOG_FORMAT, LOG_READ_ONLY, LOG_LOCKED, LOG_FULL, LOG_UNAVAILABLE */
  open(options: LogOptions): Promise<void>;

  /**
   * Appends the rows as one batch.
   * @throws UsageError NO_SUCH_STREAM, INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE, INVALID_ATTRIBUTES, CLOSED; LogError
   */
  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position>;

  /** Drops the rows with token <= upTo; beyond `latest` it drops all and moves nothing. */
  trim(stream: StreamName, upTo: Token): Promise<void>;

  /** Finishes what was appended, then closes. Harmless when closed. */
  close(): Promise<void>;
}
