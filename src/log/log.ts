/**
 * The interface of a log, and what every log promises. One exported suite (testing/log-suite.ts) holds each to it.
 *
 * 1. `append` resolves to the batch's token when the batch is durable: all of the batch or none. GroupCommit that wait
 *    together share one commit.
 * 2. Tokens are safe integers, strictly increasing per stream, starting above 0; numbers may be skipped.
 * 3. `read` gives a page: whole batches with token > after, in order, and `upTo`, `hasMore`.
 * 4. `bounds` gives `earliest` kept and `latest` settled token; `id` is the identity of this history.
 * 5. `watch` hints when `latest` moved. A hint follows durability and comes before its append resolves.
 * 6. `trim` drops old rows; a read after a token below `earliest - 1` is refused with LOG_GAP, never answered short.
 * 7. After a crash at any instant: every resolved append is there, no unresolved append is half there.
 */

import type { BatchLimits } from '../core/model/batch.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { RowText } from '../core/model/row.ts';
import type { Stream, StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Chunk } from './chunk.ts';

export interface LogOptions {
  /** The streams that will be used. What the log holds of others is left alone. */
  readonly streams: readonly Stream[];
  readonly limits: BatchLimits;
}

export interface ReadOptions {
  /** Exclusive. */
  readonly after: Token;
  /** The page ends with the chunk that reaches this many bytes; at least one batch is read, however large. */
  readonly maxBytes: number;
}

/** "There are rows up to `latest`": may be lost. */
export interface Hint {
  readonly stream: StreamName;
  readonly latest: Token;
  /** The rows themselves where they are at hand, so that the tail need not read them back. */
  readonly chunks?: readonly Chunk[];
}

export type HintListener = (hint: Hint) => void;

export interface Log {
  /** What people call it in messages: `memory`, `sqlite data/rowcast.db`. */
  readonly name: string;
  /** Identity of this history: another one after every start of a log that keeps nothing. Known once open. */
  readonly id: string;

  /** @throws LogError LOG_DAMAGED, LOG_READ_ONLY, LOG_LOCKED, LOG_FULL, LOG_UNAVAILABLE */
  open(options: LogOptions): Promise<void>;

  /**
   * GroupCommit the rows as one batch.
   * @throws UsageError NO_SUCH_STREAM, INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE, CLOSED; LogError
   */
  append(stream: StreamName, rows: readonly RowText[]): Promise<Token>;

  /**
   * Answers at once where it can, so that the live path makes no promise.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError LOG_GAP and those of storage
   */
  read(stream: StreamName, options: ReadOptions): Page | Promise<Page>;

  /** @throws UsageError NO_SUCH_STREAM, CLOSED */
  bounds(stream: StreamName): Bounds;

  /** Returns the function that ends the watch. */
  watch(listener: HintListener): () => void;

  /** Drops the rows with token <= upTo; beyond `latest` it drops all and moves nothing. */
  trim(stream: StreamName, upTo: Token): Promise<void>;

  /** Finishes what was appended, then closes. Harmless when closed. */
  close(): Promise<void>;
}
