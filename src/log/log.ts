/**
 * The interface of a log, and the promises of every log. testing/log-suite.ts tests them.
 *
 * 1. `append` resolves to the batch's position when the batch is durable. A batch is kept wholly
 *    or not at all. Batches that are queued together share one commit.
 * 2. Tokens are safe integers above 0, strictly increasing in each stream. Numbers may be skipped.
 * 3. `read` gives a page: whole batches of one history with token > after, in order, and `upTo`
 *    and `hasMore`.
 * 4. `bounds` gives the `earliest` kept and the `latest` settled token, and the histories of both.
 *    `id` is the identity of the log. Each `open` begins an era; rows keep the era in which they
 *    were written.
 * 5. `judge` says whether a position is on the present history. It is exactly when the log has, or
 *    had before dropping it, every row up to there.
 * 6. `watch` hints that `latest` moved. The hint comes after the batch is durable and before its
 *    append resolves.
 * 7. `trim` drops old rows. A read after a token below `earliest - 1` is refused with LOG_GAP,
 *    never answered with fewer rows.
 * 8. The first append makes a stream. Before that a declared stream is empty. The catalog has a row
 *    for each stream that was made, `{"stream":"events","made":1764281400000}`, or deleted. It is
 *    written in the same commit and hinted before the stream's own rows. It is never trimmed.
 * 9. A stream that was deleted is as if it was never made. Made again in the same era, it begins
 *    another era first.
 * 10. An append with an id that the stream has seen appends nothing and gives the first position.
 * 11. Rows that a worker of `retain.untilSavedBy` has not saved are kept, within `rows` and `ageMs`,
 *    and it is told before they are cut (`holders`).
 * 12. After a crash at any instant, every resolved append is there and no other append is half
 *    there.
 */

import type { AttributesText } from '../core/model/attributes.ts';
import type { Millis } from '../base/clock.ts';
import type { BackupProgress } from '../core/model/backup.ts';
import type { BatchLimits } from '../core/model/batch.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Declarations } from '../core/model/declarations.ts';
import { abortSignal, aFunction, anyText, kind } from '../core/model/option-kinds.ts';
import type { OptionTable } from '../core/model/options.ts';
import type { History } from '../core/model/history.ts';
import type { Bounds, Page, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { LogTrouble } from './commit-watch.ts';

/** Options of `Log.open`. */
export interface LogOptions {
  /** The streams that may be appended to. Other streams in the log are left alone. */
  readonly declarations: Declarations;
  readonly limits: BatchLimits;
  /**
   * The log's own stream of streams, `$streams` or `$streams.volatile`. Only the log appends to it.
   */
  readonly catalog: StreamName;
  /** How long the ids of appends are remembered, at least. Default 24 h. */
  readonly idRetentionMs?: Millis;
}

/** Options of `Log.read`. */
export interface ReadOptions {
  /** Exclusive. */
  readonly after: Token;
  /**
   * The page ends with the chunk that reaches this many bytes. It has at least one batch, of any
   * size.
   */
  readonly maxBytes: number;
}

/** Options of `Log.append`. */
export interface AppendOptions {
  /** JSON text of an object, on one line. Stored with the batch and read with it. */
  readonly attributes?: AttributesText;
  /**
   * Names the append within its stream, in 1 to 255 characters. A second append with this id gives
   * the first one's position and appends nothing, so a retry after an unknown outcome is safe.
   */
  readonly id?: string;
  /** The batch's token, in place of the next number. Above the stream's latest; may skip. */
  readonly token?: Token;
  /** The history of the rows, in place of the log's era: for a relay, which keeps those of its source. */
  readonly history?: History;
}

/** Of `Log.append`. Whether a token, an id or a history is right is checked where it is used. */
export const appendTable: OptionTable<AppendOptions> = {
  attributes: anyText,
  id: anyText,
  token: kind('a token', (value) => typeof value === 'number'),
  history: anyText,
};

/** A hint that there are rows up to `latest`. It may be lost. */
export interface RowsEvent {
  readonly kind: 'rows';
  readonly stream: StreamName;
  readonly latest: Token;
  /** The rows, when the log still has them in memory. The tail need not read them back. */
  readonly chunks?: readonly Chunk[];
}

/** The source began another era while it is open, for example before a deleted stream is made again. */
export interface EraEvent {
  readonly kind: 'era';
  readonly era: History;
}

/** A stream was deleted. Its name may be made again. */
export interface DeletedEvent {
  readonly kind: 'deleted';
  readonly stream: StreamName;
}

/** Rows of a stream were taken back: positions that were on its history may no longer be. */
export interface RebasedEvent {
  readonly kind: 'rebased';
  readonly stream: StreamName;
}

/**
 * Rows that a worker of `retain.untilSavedBy` has not saved are about to be cut by `rows` or
 * `ageMs`. Told before they go, and once for each worker until it has saved what there was then.
 */
export interface CuttingEvent {
  readonly kind: 'cutting';
  readonly stream: StreamName;
  readonly holder: Holder;
  /** The rows up to here go first. */
  readonly upTo: Token;
}

/** Everything that a source tells its listeners. */
export type SourceEvent = RowsEvent | EraEvent | DeletedEvent | RebasedEvent | CuttingEvent;

/** Is told each event of a source, in order. */
export type SourceListener = (event: SourceEvent) => void;

/** What sessions read: a log, or something else that has streams, such as a relay. */
export interface Source {
  /** The name used in messages: `memory`, `sqlite data/rowcast.db`. */
  readonly name: string;
  /**
   * The identity of the log, 16 hex digits. A log that keeps nothing gets a new one at every start.
   * Known once open.
   */
  readonly id: string;
  /** The era of rows written now. Known once open. */
  readonly era: History;
  /** The stream of its streams. Known once open. */
  readonly catalog: StreamName;

  /** Whether the stream is declared here, made or not, or is the catalog. */
  serves(stream: StreamName): boolean;

  /** The streams that are made and declared, without the catalog. */
  streams(): Iterable<StreamName>;

  /**
   * Whether a position is on the present history. May reject with anything; the stream is then
   * unavailable to whoever asked.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError of storage
   */
  judge(position: Position): Verdict | Promise<Verdict>;

  /**
   * The earliest and latest tokens of a stream. A stream that is not made has the bounds of an
   * empty one (`emptyBounds`).
   * @throws UsageError NO_SUCH_STREAM, CLOSED
   */
  bounds(stream: StreamName): Bounds;

  /**
   * Reads the next page after a token. Returns the page itself where it can, so that the live path
   * makes no promise. May reject with anything; the stream is then unavailable to whoever asked.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError LOG_GAP and those of storage
   */
  read(stream: StreamName, options: ReadOptions): Page | Promise<Page>;

  /**
   * How many kept rows follow the token. Exact at the end of a commit; inside a commit an estimate
   * by its share of tokens.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError of storage
   */
  rowsAfter(stream: StreamName, after: Token): number;

  /** Returns the function that ends the watch. */
  watch(listener: SourceListener): () => void;
}

/**
 * `slow`: commits take long, or the disk holds more than it should. `failing`: the last commit
 * failed, and the next one may succeed. `failed`: the log refuses appends until it is opened again.
 */
export type LogHealth = 'ok' | 'slow' | 'failing' | 'failed';

/** One who holds rows of a stream back: `retain.untilSavedBy` names it, and it has not saved them. */
export interface Holder {
  /** Its name. A pattern of `untilSavedBy` stands for itself until the first of its workers comes. */
  readonly worker: WorkerName;
  /** What it has saved. Undefined: nothing that is on the stream's history, so it needs every row. */
  readonly saved: Position | undefined;
  /** How many kept rows it has not saved. */
  readonly lagRows: number;
}

/**
 * What became of a worker's word: its name holds rows, it is none of `retain.untilSavedBy`, or the
 * stream has as many holders as it may have, or the name is too long.
 */
export type Held = 'holds' | 'other' | 'refused';

/**
 * Who holds rows back (`retain.untilSavedBy`), kept with the rows: a durable log has it over a
 * restart. Somebody who needs more than before is written soon, what was saved within a second and
 * at close: if that is lost, rows are kept longer. Deleting a stream forgets its holders. What was
 * saved and is no longer on the history counts as nothing.
 */
export interface LogHolders {
  /**
   * A worker asks for the rows after a token, or (undefined) for all of them. It can only lower
   * what the worker is known to have saved. Does nothing for a stream that is not made.
   * @throws UsageError NO_SUCH_STREAM, CLOSED
   */
  hold(stream: StreamName, worker: WorkerName, after: Token | undefined): Held;

  /**
   * A worker has saved the rows up to a token, which is on the present history.
   * @throws UsageError NO_SUCH_STREAM, CLOSED
   */
  acknowledge(stream: StreamName, worker: WorkerName, saved: Token): Held;

  /**
   * Those who hold rows of a stream back, furthest behind first.
   * @param most how many of them; default all
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError of storage
   */
  of(stream: StreamName, most?: number): readonly Holder[];

  /** How many hold rows of a stream back. */
  count(stream: StreamName): number;

  /**
   * Lets go of what a worker holds, until it follows again. Resolves to the streams that it held.
   * @throws UsageError CLOSED; LogError
   */
  forget(worker: WorkerName): Promise<StreamName[]>;
}

/** Options of `Log.backup`. */
export interface BackupOptions {
  /** Ends the backup and removes what was written. */
  readonly signal?: AbortSignal;
  /** Called as it goes on. Both numbers are in bytes, about. */
  readonly onProgress?: (progress: BackupProgress) => void;
}

export const backupTable: OptionTable<BackupOptions> = { signal: abortSignal(), onProgress: aFunction() };

/** A durable or volatile store of streams. testing/log-suite.ts tests its promises. */
export interface Log extends Source {
  readonly health: LogHealth;
  /** Undefined when the last commit was quick and succeeded. Left out by a log that measures none. */
  readonly trouble?: LogTrouble | undefined;
  /** The file in which it keeps its rows, where there is one. Temporary copies are made beside it. */
  readonly path?: string;
  /** Left out by a log that keeps none: streams with `retain.untilSavedBy` are refused then. */
  readonly holders?: LogHolders;

  /**
   * Opens the log and begins an era. Makes no stream.
   * @throws LogError LOG_DAMAGED, LOG_FORMAT, LOG_READ_ONLY, LOG_LOCKED, LOG_FULL, LOG_UNAVAILABLE
   */
  open(options: LogOptions): Promise<void>;

  /**
   * Appends the rows as one batch. The first append of a stream makes it.
   * @throws UsageError NO_SUCH_STREAM, INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE,
   * INVALID_ATTRIBUTES, INVALID_OPTION, ID_REUSED, TOKEN_FELL, CLOSED; LogError
   */
  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position>;

  /**
   * Drops the rows with token <= upTo, once the appends that were asked for before are durable. A
   * token above `latest` drops all rows and does not move `latest`.
   */
  trim(stream: StreamName, upTo: Token): Promise<void>;

  /**
   * Deletes a stream with all its rows. Does nothing when it is not made.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError
   */
  delete(stream: StreamName): Promise<void>;

  /**
   * Takes back all rows after the token, which is kept or the last one that was dropped. Forgets
   * the ids of these rows. For a relay. Left out by a log that cannot keep the rows of one.
   * @throws UsageError NO_SUCH_STREAM, INVALID_TOKEN, CLOSED; LogError
   */
  truncate?(stream: StreamName, after: Token): Promise<void>;

  /**
   * Drops all rows, and forgets their ids. The stream goes on after the position, with its history.
   * Makes a stream that is not there. For a relay, as truncate.
   * @throws UsageError NO_SUCH_STREAM, CLOSED; LogError
   */
  rebase?(position: Position): Promise<void>;

  /**
   * Writes a copy of the whole log into a new file, while appends go on. Left out by a log that
   * keeps nothing, or that has tools of its own.
   * @throws LogError when the file exists or cannot be written; the signal's reason
   */
  backup?(path: string, options?: BackupOptions): Promise<void>;

  /** Finishes queued appends, then closes. Does nothing when closed. */
  close(): Promise<void>;
}
