/** What the streams of one connection and the connection itself know of each other. */

import type { Millis } from '../../base/clock.ts';
import type { RowcastError } from '../model/errors.ts';
import type { Page } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Command, Dialect } from '../wire/command.ts';
import type { PrimaryLimits } from '../wire/limits.ts';
import type { Outflow } from './outflow.ts';
import type { JudgeRequest } from './pending-verdicts.ts';
import type { StreamTable } from './stream-table.ts';
import type { Turn } from './turn.ts';

/** Where a stream begins: after a token, at the earliest row kept, or with new rows. */
export type ReplicateFrom = Token | 'START' | 'NOW';

export type StreamEvent =
  | { readonly kind: 'subscribed'; readonly stream: StreamName; readonly from: ReplicateFrom }
  | { readonly kind: 'live'; readonly stream: StreamName; readonly token: Token }
  /** The worker has saved the rows up to here. They were sent by this replication. */
  | { readonly kind: 'acknowledged'; readonly stream: StreamName; readonly saved: Token }
  /** A stream is not replicated, or not from the requested position. The connection goes on. */
  | { readonly kind: 'refused'; readonly error: RowcastError };

export interface ReplicatedStreamsOptions {
  readonly streams: StreamTable;
  readonly limits: PrimaryLimits;
  /**
   * What happens to a live stream that is over maxLagRows. A socket that takes no byte for
   * stalledTimeoutMs is always cut.
   */
  readonly slowConsumer: 'disconnect' | 'catch-up';
  /**
   * What a peer that is not Rowcast gets when it asks for rows that are no longer kept: the rows
   * that are kept, or ERROR.
   */
  readonly trimmed: 'serve' | 'refuse';
}

/** What the streams use of their connection. */
export interface StreamsHost {
  readonly dialect: Dialect;
  /** For messages: a name, also where the worker gave none. */
  readonly workerTitle: string;
  /** Requests are answered. It ends with `fail`. */
  readonly isEstablished: boolean;
  readonly outflow: Outflow;
  readonly turn: Turn;
  send(now: Millis, command: Command): void;
  sendPage(now: Millis, page: Page): void;
  /** Asks the log. */
  judge(request: JudgeRequest): void;
  emit(event: StreamEvent): void;
  /** Ends the connection with ERROR. */
  fail(now: Millis, error: RowcastError, text?: string): void;
}
