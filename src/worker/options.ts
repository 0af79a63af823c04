/** The options of a worker and of its subscriptions, and the events that it emits. */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { WhenDisconnected } from '../core/follow/unsent-commands.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Logger } from '../core/model/logger.ts';
import {
  abortSignal,
  aFunction,
  boolean,
  clockKind,
  kind,
  loggerKind,
  msFromZero,
  nested,
  oneLine,
  oneOf,
  positiveMs,
  randomKind,
  required,
  withMethods,
} from '../core/model/option-kinds.ts';
import { checkOptions, type Kind, type OptionTable } from '../core/model/options.ts';
import type { Position } from '../core/model/position.ts';
import { LONGEST_WORKER_NAME, type StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type WorkerLimits, workerLimitTable } from '../core/wire/limits.ts';
import { addressKind, oneAddress } from '../transport/check-address.ts';
import { type Address, type Transport, transportKind } from '../transport/transport.ts';
import { type Checkpoint, checkpointKind } from './checkpoint.ts';
import { type OnError, onErrorKind } from './failures.ts';
import type { Holdup } from './holdups.ts';
import type { BatchHandler } from './subscription.ts';
import type { ObserverWorker } from './worker.ts';

/** Options of `createWorker`. */
export interface WorkerOptions {
  /** The name that the primary sees. One line that is not empty. */
  readonly name: string;
  /** The name that the primary must have. Any name will do when it is left out. */
  readonly server?: string;
  /** Where the primary listens. */
  readonly connect: Address;
  /**
   * True: the worker sends nothing but NAME, PING and REPLICATE, not even an ERROR to a primary
   * that breaks the protocol. For watching a homeserver in production (docs/protocol.md,
   * "Observers").
   */
  readonly observer?: boolean;
  /** True: batches come with the attributes that they were appended with. */
  readonly attributes?: boolean;
  /** Keeps positions across restarts: fileCheckpoint, or one over your own database. */
  readonly checkpoint?: Checkpoint;
  /** Limits in place of the defaults (docs/protocol.md, "Limits"). */
  readonly limits?: Partial<WorkerLimits>;
  readonly logger?: Logger;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly random?: Random;
}

const workerName = kind<string>(
  `one line of 1 to ${LONGEST_WORKER_NAME} characters`,
  (value) => oneLine.accepts(value) && value.length <= LONGEST_WORKER_NAME,
);

/** What createWorker gave, as an argument. */
export const workerKind: Kind<ObserverWorker> = withMethods<ObserverWorker>('waitFor', 'hasReached', 'position', 'on');

const workerTable: OptionTable<WorkerOptions> = {
  name: required(workerName),
  server: oneLine,
  connect: required(addressKind),
  observer: boolean,
  attributes: boolean,
  checkpoint: checkpointKind,
  limits: nested(workerLimitTable),
  logger: loggerKind,
  transport: transportKind,
  clock: clockKind,
  random: randomKind,
};

/** @throws UsageError INVALID_OPTION */
export function readWorkerOptions(given: WorkerOptions): WorkerOptions {
  const options = checkOptions('createWorker', given, workerTable);
  return { ...options, connect: oneAddress('createWorker', 'connect.', options.connect) };
}

/** Options of `worker.subscribe`. */
export interface SubscribeOptions {
  /**
   * Where to begin: after a position or a token (0: with every row there ever was, or GAP where some
   * are no longer kept, so that nothing is built on a part), with everything that is kept (`start`: the event `trimmed` tells that it is not all), with new
   * rows only (`now`), or where the checkpoint left off. A bare token is a person's word: nothing
   * tells whether it is of the primary's history. Default: `checkpoint` when the worker has one,
   * else `now`.
   */
  readonly from?: Position | Token | 'start' | 'now' | 'checkpoint';
  /** Where to begin when the checkpoint does not know the stream. Default `now`. */
  readonly fallback?: Position | Token | 'start' | 'now';
  /**
   * What to do when rows after the position are no longer kept (GAP), or the stream started afresh
   * (RESET): end with the error, go on at the earliest row kept, or go on with new rows. Default
   * `fail`, but `earliest` for a stream that is not durable here or, as a Rowcast primary tells,
   * there.
   */
  readonly onReset?: 'fail' | 'earliest' | 'now';
  /**
   * What to do with a batch that fails: whose handler throws, of which the validator refuses a row,
   * or of which a row cannot be read (docs/guides/failing-handlers.md). Default `stop`: the
   * subscription ends with the error, and the others go on. In a loop (`follow`) it is for rows
   * alone: the loop handles its own errors.
   */
  readonly onError?: OnError;
  /**
   * For a subscriber that must know when it is late. Slow handlers of other streams may hold the
   * connection up for at most this long, alone or in turn. Then the connection is given up, the
   * stream is not live, and everything resumes once they are finished. Default: no limit.
   */
  readonly readWithinMs?: Millis;
}

export const subscribeTable: OptionTable<SubscribeOptions> = {
  from: oneBeginning('start', 'now', 'checkpoint'),
  fallback: oneBeginning('start', 'now'),
  onReset: oneOf('fail', 'earliest', 'now'),
  onError: onErrorKind,
  readWithinMs: positiveMs,
};

/** Of a pattern: a token above 0 is of one stream. */
export const patternTable: OptionTable<SubscribeOptions> = {
  ...subscribeTable,
  from: patternBeginning('start', 'now', 'checkpoint'),
  fallback: patternBeginning('start', 'now'),
};

function patternBeginning<const Choice extends string>(...choices: readonly Choice[]): Kind<0 | Choice> {
  const { expected, accepts } = oneOf(...choices);
  return kind(`0, ${expected}`, (value) => value === 0 || accepts(value));
}

/** Whether a token, a position and its history are right is another question. */
function oneBeginning<const Choice extends string>(...choices: readonly Choice[]): Kind<Token | Position | Choice> {
  const { expected, accepts } = oneOf(...choices);
  return kind(`a position, a token, ${expected}`, (value) => {
    return typeof value === 'number' || (typeof value === 'object' && value !== null) || accepts(value);
  });
}

export const handlerKind: Kind<BatchHandler> = aFunction();

/** Options of `worker.start`. */
export interface StartOptions {
  /** Rejects with START_TIMEOUT after this long. Default: no limit. */
  readonly timeoutMs?: Millis;
  readonly signal?: AbortSignal;
}

/** Options of `Worker.stop`. */
export interface StopOptions {
  /** Rejects with STOP_TIMEOUT after this long, and abandons what has not ended. Default: no limit. */
  readonly timeoutMs?: Millis;
}

export const stopTable: OptionTable<StopOptions> = { timeoutMs: msFromZero };

export const startTable: OptionTable<StartOptions> = { timeoutMs: positiveMs, signal: abortSignal() };

/** Options of `worker.follow`. */
export interface FollowOptions extends SubscribeOptions {
  readonly signal?: AbortSignal;
}

export const followTable: OptionTable<FollowOptions> = { ...subscribeTable, signal: abortSignal() };

/** Options of `worker.waitFor`. */
export interface WaitOptions {
  /** Rejects with WAIT_TIMEOUT after this long. Default 5,000. */
  readonly timeoutMs?: Millis;
  readonly signal?: AbortSignal;
}

export const waitTable: OptionTable<WaitOptions> = { timeoutMs: msFromZero, signal: abortSignal() };

/** Options of `Worker.send`. */
export interface SendOptions {
  /**
   * What becomes of a command while there is no connection. `drop`: it is not kept. `latest`: it
   * waits, and takes the place of an earlier one of the same name on the same subject (the user,
   * the pusher, the entry). `keep` (default): it waits among the others, of which the oldest is
   * dropped when there are more than maxQueuedCommands.
   */
  readonly whenDisconnected?: WhenDisconnected;
}

export const sendTable: OptionTable<SendOptions> = { whenDisconnected: oneOf('drop', 'latest', 'keep') };

/** The events of a worker, each with its arguments. */
export interface WorkerEvents {
  /**
   * The primary has greeted. `isRowcast`: it keeps the promises of docs/protocol.md, "Between
   * Rowcast peers".
   */
  connected: [{ readonly isRowcast: boolean }];
  /** The connection was lost or could not be made. The worker tries again after `retryInMs`. */
  disconnected: [{ readonly error: RowcastError; readonly retryInMs: Millis }];
  /** The stream has reached the primary's position since the last connect. */
  live: [{ readonly stream: StreamName }];
  /**
   * A live stream is not live any more: the connection is lost, or its subscription ended. `live`
   * follows when it is again.
   */
  'not-live': [{ readonly stream: StreamName }];
  /**
   * The worker is not live yet, `waitedMs` after it began to wait: some seconds after `start` or the
   * first loop, and then seldom. `holdups` are at most five of the things that hold it up, `count`
   * is how many there are. A warning in the log says the same.
   */
  waiting: [{ readonly waitedMs: Millis; readonly holdups: readonly Holdup[]; readonly count: number }];
  /**
   * The stream is read from its start, and rows were dropped: those that come are not the whole
   * history, but begin at the token `earliest`. Comes before the first batch, also after a reset.
   * Only a Rowcast primary tells (docs/guides/read-models.md).
   */
  trimmed: [{ readonly stream: StreamName; readonly earliest: Token }];
  /**
   * The history under the position ended, and the subscription went on as its onReset says. Comes
   * in order with the batches of the stream.
   */
  reset: [{ readonly stream: StreamName; readonly error: RowcastError }];
  /**
   * A batch failed, and the subscription went on without it, as its onError says. `position` is the
   * one that skips the batch.
   */
  skipped: [{ readonly stream: StreamName; readonly position: Position; readonly error: RowcastError }];
  /**
   * A subscription ended by itself and nobody took its error, or the checkpoint cannot be written
   * (CHECKPOINT_FAILED). The error is taken by a `start` that rejects with it, by the loop of
   * `follow`, and by whoever has read `Subscription.done`. Without a listener the error is thrown,
   * as with every emitter.
   */
  error: [RowcastError];
  /** The primary sent ERROR. */
  'peer-error': [{ readonly text: string }];
  /** SYNC came with this text (Primary.sync). */
  sync: [{ readonly text: string }];
  /** Too many commands waited, so this line will not be sent. */
  'command-dropped': [{ readonly line: string }];
}
