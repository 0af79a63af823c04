/**
 * The public door of `rowcast`. Loads no native module: logs on disk have entry points of their own
 * (`rowcast/log/sqlite`).
 */

export { type Clock, type Millis, systemClock, type Timer } from './base/clock.ts';
export { type Random, seededRandom, systemRandom } from './base/random.ts';
export type {
  AppendOptions,
  BackupOptions,
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
} from './log/log.ts';
export type { LogTrouble } from './log/commit-watch.ts';
export { memoryLog, type MemoryLogOptions } from './log/memory.ts';
export type { BackupProgress } from './core/model/backup.ts';
export type { Batch, BatchLimits } from './core/model/batch.ts';
export type { BatchAttributes, Chunk } from './core/model/chunk.ts';
export {
  type Declaration,
  Declarations,
  type DeclaredOnce,
  defineStreams,
  type StreamPattern,
} from './core/model/declarations.ts';
export {
  ConnectionError,
  type ErrorCode,
  errorCodes,
  type Facts,
  HandlerError,
  LogError,
  PeerError,
  RowcastError,
  UsageError,
} from './core/model/errors.ts';
export type { History } from './core/model/history.ts';
export { type LogFields, logFields, type Logger } from './core/model/logger.ts';
export type { NamePattern } from './core/model/pattern.ts';
export { type Bounds, emptyBounds, type Page, type Verdict } from './core/model/page.ts';
export {
  formatPosition,
  formatPositions,
  parsePosition,
  parsePositions,
  type Position,
} from './core/model/position.ts';
export { keepTexts, type RowText, type RowValidator, type RowVerdict } from './core/model/row.ts';
export {
  defineStream,
  type Retention,
  type Stream,
  type StreamName,
  type StreamOptions,
  type WorkerName,
} from './core/model/stream.ts';
export type { Token } from './core/model/token.ts';
export type { FailureDecision, RetryOptions, RetryRule } from './core/follow/failure-policy.ts';
export { createPrimary, type Primary } from './primary/primary.ts';
export type {
  BatchOptions,
  CloseOptions,
  ConnectedWorker,
  ConnectionStatus,
  Cutting,
  HolderStatus,
  PrimaryEvents,
  PrimaryOptions,
  PrimaryStatus,
  StreamStatus,
} from './primary/options.ts';
export type { StatusOptions } from './primary/status-page.ts';
export type { WhenDisconnected } from './core/follow/unsent-commands.ts';
export type { UpstreamCommand } from './core/wire/command.ts';
export {
  defaultPrimaryLimits,
  defaultWorkerLimits,
  type PrimaryLimits,
  type WorkerLimits,
} from './core/wire/limits.ts';
export type { SubscriptionStatus } from './core/sessions/subscription-status.ts';
export { createMemoryTransport, type MemoryTransport, type MemoryTransportOptions } from './transport/memory.ts';
export { tcpTransport } from './transport/tcp.ts';
export type {
  Address,
  Connection,
  ConnectionHandler,
  ListenAddress,
  Listener,
  Transport,
} from './transport/transport.ts';
export {
  type Checkpoint,
  type CheckpointReader,
  memoryCheckpoint,
  type SavingCheckpoint,
} from './worker/checkpoint.ts';
export type { Failure, OnError } from './worker/failures.ts';
export { type FileCheckpoint, fileCheckpoint } from './worker/file-checkpoint.ts';
export type { Holdup } from './worker/holdups.ts';
export type {
  FollowOptions,
  StartOptions,
  SendOptions,
  StopOptions,
  SubscribeOptions,
  WaitOptions,
  WorkerEvents,
  WorkerOptions,
} from './worker/options.ts';
export type { BatchHandler, Subscription } from './worker/subscription.ts';
export { createWorker, type ObserverWorker, type Worker } from './worker/worker.ts';
