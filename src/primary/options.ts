/** The options of a primary, the events that it emits, and what its status says. */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { LogTrouble } from '../log/commit-watch.ts';
import type { Holder, Log, LogHealth, Source } from '../log/log.ts';
import type { Batch } from '../core/model/batch.ts';
import type { Declaration } from '../core/model/declarations.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Logger } from '../core/model/logger.ts';
import {
  clockKind,
  hidden,
  integerFrom,
  kind,
  listOf,
  loggerKind,
  msFromZero,
  nested,
  oneLine,
  oneOf,
  positiveMs,
  randomKind,
  required,
  anyText,
  withMethods,
} from '../core/model/option-kinds.ts';
import type { Kind, OptionTable } from '../core/model/options.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { History } from '../core/model/history.ts';
import type { Token } from '../core/model/token.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { type PrimaryLimits, primaryLimitTable } from '../core/wire/limits.ts';
import type { SubscriptionStatus } from '../core/sessions/subscription-status.ts';
import { type Transport, transportKind } from '../transport/transport.ts';
import type { Primary } from './primary.ts';

/** Options of `createPrimary`. */
export interface PrimaryOptions {
  /** The server's name, which workers may check. One line that is not empty. */
  readonly name: string;
  /** Keeps the durable streams: sqliteLog, memoryLog. The primary opens and closes it. */
  readonly log: Log;
  /**
   * The streams of this primary (defineStream, defineStreams). Each name is declared once. A name
   * alone is a stream without options.
   */
  readonly streams: readonly (Declaration | StreamName)[];
  /**
   * Further sources, at most 14: open logs, or what else has streams, such as a relay. Their streams
   * are served beside the primary's own and not appended to here. A stream that is declared is the
   * primary's own; any other is of the first source that serves it. The primary closes none of them.
   */
  readonly sources?: readonly Source[];
  /** Limits in place of the defaults (docs/protocol.md, "Limits"). */
  readonly limits?: Partial<PrimaryLimits & { maxBatchBytes: number }>;
  /**
   * What happens to a live worker that is over maxLagRows behind. `disconnect` (default): its
   * connection is cut. `catch-up`: it is left to catch up.
   */
  readonly slowConsumer?: 'disconnect' | 'catch-up';
  /**
   * What a peer that is not Rowcast gets when it asks for rows that are no longer kept. `serve`
   * (default): the rows that are kept, with a warning. `refuse`: ERROR and the end of its
   * connection. Rowcast workers always get GAP.
   */
  readonly trimmed?: 'serve' | 'refuse';
  /**
   * The most bytes of the newest rows of all streams together, those of sources included, that are
   * kept ready in memory. Where it is full the oldest rows go first. Default 64 MiB.
   */
  readonly tailBytes?: number;
  /** How long the ids of appends are remembered, at least. Default 24 h. */
  readonly idRetentionMs?: Millis;
  readonly logger?: Logger;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What createPrimary gave, as an argument. */
export const primaryKind: Kind<Primary> = withMethods<Primary>('append', 'position', 'on');

/** Options of `Primary.close`. */
export interface CloseOptions {
  /** Rejects with STOP_TIMEOUT after this long, and abandons what has not ended. Default: no limit. */
  readonly timeoutMs?: Millis;
}

export const closeTable: OptionTable<CloseOptions> = { timeoutMs: msFromZero };

export const primaryTable: OptionTable<PrimaryOptions> = {
  name: required(oneLine),
  log: required(withMethods<Log>('open', 'append', 'read', 'watch', 'close')),
  streams: required(listOf('a list of streams')),
  sources: listOf('a list of open sources'),
  limits: nested(primaryLimitTable),
  slowConsumer: oneOf('disconnect', 'catch-up'),
  trimmed: oneOf('serve', 'refuse'),
  tailBytes: integerFrom(0),
  idRetentionMs: positiveMs,
  logger: loggerKind,
  transport: transportKind,
  clock: clockKind,
  random: randomKind,
};

/** Options of `Primary.append` and `Primary.appendTexts`. */
export interface BatchOptions {
  /** A JSON object beside the rows (a trace context, say), for workers that ask for it. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /**
   * Names the batch within its stream, in 1 to 255 characters, so that it can be appended again
   * after an unknown outcome. The same id gives the first position and appends nothing.
   */
  readonly id?: string;
  /** The batch's token, above the stream's latest, in place of the next number. May skip. */
  readonly token?: Token;
}

/** What these values may be is checked where the batch is made. */
export const batchTable: OptionTable<BatchOptions> = {
  attributes: hidden('a JSON object', (value) => typeof value === 'object'),
  id: anyText,
  token: kind('a token', (value) => typeof value === 'number'),
};

/** A worker's connection as the application sees it. */
export interface ConnectedWorker {
  /** Counts up from 1 within this process. */
  readonly id: number;
  /** The name that NAME gave. Undefined before it came. */
  readonly name: string | undefined;
  readonly peer: string;
}

/** The events of a primary, each with its arguments. */
export interface PrimaryEvents {
  /** A worker sent a command of docs/protocol.md, "Commands". Commands may be lost. */
  command: [{ readonly command: UpstreamCommand; readonly worker: ConnectedWorker }];
  /** A connection was accepted. The worker has no name yet. */
  connected: [{ readonly worker: ConnectedWorker }];
  /** NAME came: the worker has a name now, or another one. */
  named: [{ readonly worker: ConnectedWorker; readonly name: string }];
  /** The worker sent ERROR. Most workers then close the connection. */
  'peer-error': [{ readonly worker: ConnectedWorker; readonly text: string }];
  /** `error` says why, unless the worker left in good order or the primary stops. */
  disconnected: [{ readonly worker: ConnectedWorker; readonly error: Error | undefined }];
  /**
   * A batch that was appended through this primary became durable. Its rows and attributes are what
   * workers get: parsed from its text when they are read. Told once, however often an append with
   * its id is repeated.
   */
  appended: [Batch];
  /**
   * A connection was ended by us (a broken line, a slow consumer), a stream was refused (a gap, a
   * reset), a peer was served less than it asked for (TRIMMED), or a command could not be carried
   * out. Other workers notice nothing.
   */
  warning: [{ readonly worker: ConnectedWorker; readonly error: RowcastError }];
  /**
   * Rows that a worker of `retain.untilSavedBy` has not saved are about to be dropped, because of
   * `rows` or `ageMs`. Told before they are, and once for each worker until it has caught up with
   * what there was then. It gets GAP for what it has missed.
   */
  cutting: [Cutting];
  /**
   * The application's own code failed where no caller waits for it. Without a listener the error is
   * thrown, as with every emitter.
   */
  error: [RowcastError];
}

/** Rows of a stream that are about to be dropped although a worker has not saved them. */
export interface Cutting extends Holder {
  readonly stream: StreamName;
  /** The rows up to here go first. */
  readonly upTo: Token;
}

/** What `status` of a primary tells. */
export interface PrimaryStatus {
  readonly name: string;
  /**
   * Health of the durable log: `slow` when commits take long, `failing` when the last one failed,
   * `failed` when it takes no more appends.
   */
  readonly log: LogHealth;
  /** Set when the log's last commit failed or took over a second, and when the log has failed. */
  readonly logTrouble: LogTrouble | undefined;
  /** The patterns that are declared. */
  readonly patterns: readonly NamePattern[];
  /** Streams that are declared by name, made or followed, in the order of their names. */
  readonly streams: readonly StreamStatus[];
  /** The `after` of the status with the streams that follow. Undefined when these are the last. */
  readonly next: StreamName | undefined;
  readonly connections: readonly ConnectionStatus[];
}

/** One stream of a status. */
export interface StreamStatus {
  readonly stream: StreamName;
  /** The name of the log or source that has it. */
  readonly source: string;
  /** Whether it is kept over a restart. Undefined for a stream of a further source. */
  readonly durable: boolean | undefined;
  readonly earliest: Token;
  readonly latest: Token;
  /** The history of the row at `latest`. */
  readonly history: History;
  /**
   * The workers that hold its rows back, furthest behind first, at most 20 of them.
   * Undefined without `retain.untilSavedBy`, and where the log cannot tell.
   */
  readonly holders?: readonly HolderStatus[];
  /** How many hold rows back. */
  readonly holderCount?: number;
}

/** A worker that holds rows of a stream back (Retention.untilSavedBy). */
export interface HolderStatus extends Holder {
  /** A worker of this name is connected and follows the stream. */
  readonly connected: boolean;
}

export interface ConnectionStatus extends ConnectedWorker {
  readonly connectedAtMs: Millis;
  /** Bytes given to the socket that the system has not taken yet. */
  readonly queueBytes: number;
  /** How many streams the connection follows. */
  readonly streams: number;
  /** How many of them are live. */
  readonly liveStreams: number;
  /** Of the streams that this status is about, and of `$streams` in a status from the first name on. */
  readonly subscriptions: readonly SubscriptionStatus[];
}
