/**
 * The waits of a worker: which subscription a position is about, whether it was reached there, and
 * what holds it up.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type { Follower } from '../core/follow/follower.ts';
import { type RowcastError, UsageError } from '../core/model/errors.ts';
import { checkPosition, type Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Subscriptions } from './subscriptions.ts';
import { type Awaited, Expected, Waits, type WaitVerdict } from './waits.ts';

/** How many streams an error names. */
const MOST_NAMED = 5;

export interface PositionWaitsOptions {
  readonly workerName: string;
  readonly clock: Clock;
  readonly follower: Follower;
  readonly subscriptions: Subscriptions;
  readonly isStarted: () => boolean;
  /** The error when a subscription was ended from outside. */
  readonly closed: (stream: StreamName) => Error;
}

export class PositionWaits {
  readonly #options: PositionWaitsOptions;
  /** The waits themselves. */
  readonly all: Waits;
  /** Why there is no connection, for the text of a wait that times out. */
  lastEnd: RowcastError | undefined;

  constructor(options: PositionWaitsOptions) {
    this.#options = options;
    this.all = new Waits({
      clock: options.clock,
      judge: (awaited, position) => this.#judge(awaited, position),
      why: (awaited) => this.#why(awaited),
      closed: options.closed,
    });
  }

  /** Resolves when the position is reached (Worker.waitFor). */
  async wait(position: Position, timeoutMs: Millis, signal: AbortSignal | undefined): Promise<void> {
    await this.all.wait(this.#find(position), position, timeoutMs, signal);
  }

  /** @throws UsageError NOT_SUBSCRIBED, INVALID_TOKEN, INVALID_POSITION, OTHER_LOG */
  hasReached(position: Position): boolean {
    return this.all.judge(this.#find(position), position);
  }

  /** Streams or patterns were given up. */
  handleGivenUp(): void {
    const { subscriptions } = this.#options;
    this.all.checkExpected((stream) => subscriptions.isAwaited(stream));
  }

  /** What a wait is about. */
  #find(position: Position): Awaited {
    checkPosition(position);
    const { stream } = position;
    const { subscriptions, workerName } = this.#options;
    const subscription = subscriptions.get(stream);
    if (subscription === undefined) {
      if (subscriptions.isAwaited(stream)) return this.all.expect(stream);
      throw new UsageError('NOT_SUBSCRIBED', `worker ${workerName} does not subscribe to ${stream}`);
    }
    if (subscription.error !== undefined) throw subscription.error;
    return subscription;
  }

  #judge(awaited: Awaited, position: Position): WaitVerdict {
    const { follower } = this.#options;
    const isExpected = awaited instanceof Expected;
    const machine = isExpected ? undefined : awaited.machine;
    if (machine === undefined && !isExpected) return 'not-yet';
    // A bare token may be of any history. Token 0 is before every row of all of them.
    const isBare = position.history === undefined && position.token > 0;
    if (isBare && follower.isRowcast === true) return 'no-history';
    return machine === undefined ? follower.judgeAwaited(position) : follower.judgeWait(machine, position);
  }

  #why(awaited: Awaited): string {
    const { follower, isStarted } = this.#options;
    if (!isStarted()) return 'the worker was not started';
    if (!follower.isConnected)
      return `the worker is not connected${this.lastEnd === undefined ? '' : `: ${this.lastEnd.message}`}`;
    const isFound = !(awaited instanceof Expected);
    if (isFound && awaited.isBusy) return 'the handler is busy with an earlier batch';
    if (follower.isPaused)
      return `handlers of other streams (${this.#busyStreams()}) are busy, and too many rows wait for them to read on`;
    if (!isFound) return 'the primary has not made the stream';
    return awaited.isLive ? 'the primary has not sent it' : 'the stream is catching up';
  }

  #busyStreams(): string {
    const busy: StreamName[] = [];
    for (const { isBusy, stream } of this.#options.subscriptions) {
      if (busy.length === MOST_NAMED) return `${busy.join(', ')}, …`;
      if (isBusy) busy.push(stream);
    }
    return busy.join(', ');
  }
}
