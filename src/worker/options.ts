/** What an application may choose of a worker, and what it hears of it. */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Logger } from '../core/model/logger.ts';
import type { Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { WorkerLimits } from '../core/wire/limits.ts';
import type { Address, Transport } from '../transport/transport.ts';
import type { Checkpoint } from './checkpoint.ts';

export interface WorkerOptions {
  /** What the primary calls this worker. One line. */
  readonly name: string;
  /** The name that the primary must have; any where it is left out. */
  readonly server?: string;
  readonly connect: Address;
  /**
   * True: the worker provably sends nothing but NAME, PING and REPLICATE, not even an ERROR to a primary that breaks the protocol.
   * For those who watch a homeserver in production.
   */
  readonly observer?: boolean;
  /** True: batches have the attributes that were appended with them. */
  readonly attributes?: boolean;
  /** Where positions are kept across restarts. */
  readonly checkpoint?: Checkpoint;
  readonly limits?: Partial<WorkerLimits>;
  readonly logger?: Logger;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface SubscribeOptions {
  /**
   * A position or a token (exclusive), everything that is kept, only what comes, or where the checkpoint left off. A bare
   * token is a person's word: nothing tells whether it is of the primary's history.
   * Default: `checkpoint` when the worker has one, else `now`.
   */
  readonly from?: Position | Token | 'start' | 'now' | 'checkpoint';
  /** Where to begin when the checkpoint knows nothing of the stream. Default `now`. */
  readonly fallback?: Position | Token | 'start' | 'now';
  /**
   * What to do when rows at the position are no longer kept, or the stream started afresh: end with the error, go on
   * with the earliest row kept, or with new rows. Default `fail`; `earliest` for a stream that is not durable here or, as a Rowcast primary tells, there.
   */
  readonly onReset?: 'fail' | 'earliest' | 'now';
  /**
   * For a subscriber that must know when it is late: handlers of other streams that are slow may hold the connection up no longer than
   * this, alone or in turn; then it is given up, the stream is not live, and everything resumes once they are through. Default: as long as they take.
   */
  readonly readWithinMs?: Millis;
}

export interface FollowOptions extends SubscribeOptions {
  readonly signal?: AbortSignal;
}

export interface WaitOptions {
  /** Default 5,000. */
  readonly timeoutMs?: Millis;
  readonly signal?: AbortSignal;
}

export interface WorkerEvents {
  /** The primary said who it is; `isRowcast` tells whether it promises what Rowcast does. */
  connected: [{ readonly isRowcast: boolean }];
  disconnected: [{ readonly error: RowcastError; readonly retryInMs: Millis }];
  live: [{ readonly stream: StreamName }];
  /** A stream that was live is not any more: the connection is lost, or its subscription ended. `live` follows when it is again. */
  'not-live': [{ readonly stream: StreamName }];
  /** The history under the position ended and the subscription went on, as its onReset says. In order with its batches. */
  reset: [{ readonly stream: StreamName; readonly error: RowcastError }];
  /** A subscription ended by itself, or the checkpoint cannot be written. As with every emitter: without a listener it is thrown. */
  error: [RowcastError];
  /** The primary sent ERROR. */
  'peer-error': [{ readonly text: string }];
  sync: [{ readonly text: string }];
  /** Too many commands waited: this line will not be sent. */
  'command-dropped': [{ readonly line: string }];
}
