/**
 * rowcast/log: what a log of your own is made of (docs/guides/own-log.md).
 *
 * `KeptLog` is a whole log that keeps its streams in memory; it needs a `ChangeStore` to be
 * durable. A log that cannot hold its rows in memory takes the parts below it.
 */

export type {
  AppendOptions,
  CuttingEvent,
  DeletedEvent,
  EraEvent,
  Held,
  Holder,
  Log,
  LogHealth,
  LogHolders,
  LogOptions,
  ReadOptions,
  RebasedEvent,
  RowsEvent,
  Source,
  SourceEvent,
  SourceListener,
} from './log.ts';

// How long commits take, and which failed.
export { CommitWatch, type LogTrouble, SLOW_COMMIT_MS } from './commit-watch.ts';

// A whole log, and the text of its changes.
export { KeptLog, type KeptLogOptions } from './kept-log.ts';
export {
  type Change,
  type ChangeStore,
  formatChange,
  parseChange,
  type StreamChunks,
  type StreamHolderChanges,
  type StreamToken,
} from './change.ts';

// Appends: one commit for all that wait, tokens, ids, and chunks of the rows.
export { type EncodeOptions, encodeChunks, type PlannedStream } from './encode-chunks.ts';
export { type Committed, type CommitPlan, GroupCommit, type GroupCommitOptions } from './group-commit.ts';
export {
  checkId,
  DEFAULT_ID_RETENTION_MS,
  hashOfRows,
  type KnownId,
  type NewId,
  type RememberedId,
  RememberedIds,
  reusedId,
} from './append-ids.ts';
export { checkBatch } from '../core/model/batch.ts';
export { checkAttributes } from '../core/model/attributes.ts';

// Chunks and pages.
export {
  type BatchAttributes,
  type Chunk,
  chunkAfter,
  chunkBytes,
  chunkUpTo,
  ROW_BORDER,
  rowsOfChunkAfter,
  tokenAt,
} from '../core/model/chunk.ts';
export { ChunkList } from './chunk-list.ts';
export { KeptStream } from './kept-stream.ts';
export { pageOf, refuseGap } from './chunk-page.ts';

// Who holds rows back (retain.untilSavedBy).
export { type HolderChanges, type HolderRecord, type SavedPlace, StreamHolders } from './stream-holders.ts';

// Histories: eras, positions, streams that are made and deleted.
export { deletedRow, madeRow, nextEra } from './era.ts';
export { DeletedNames } from './deleted-names.ts';
export {
  type Era,
  formatHistory,
  type HistoryParts,
  LOG_ID_DIGITS,
  logIdOf,
  originOf,
  parseHistory,
} from '../core/model/history.ts';
export { type JudgedStream, judgePosition } from './judge.ts';

// Retention, and the time by which rows age.
export { type KeptRows, mayDropOldest } from './retention.ts';
export { type Boot, LogTime, type Resumption, resumedMs, systemBoot, type TimeMark } from './log-time.ts';

// The errors of misuse that all logs share.
export { checkStoredToken, logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';
