/**
 * The commands: one protocol message each, as a value (docs/protocol.md, "Commands"). Knows nothing
 * of their text.
 */

import type { Millis } from '../../base/clock.ts';
import type { History } from '../model/history.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';

/**
 * `seed`: the lines of the seed document, for any peer. `rowcast/2`: more lines, for peers whose
 * first PING names it.
 */
export type Dialect = 'seed' | 'rowcast/2';

/** Why a stream is not, or no longer, replicated. */
export type RefusalCode = 'GAP' | 'RESET' | 'UNKNOWN_STREAM' | 'AHEAD' | 'UNAVAILABLE';

export const refusalCodes: readonly RefusalCode[] = Object.freeze([
  'GAP',
  'RESET',
  'UNKNOWN_STREAM',
  'AHEAD',
  'UNAVAILABLE',
]);

/**
 * What REFUSED tells beside its code, for applications and relays. The worker itself needs none of
 * it.
 */
export interface RefusalFacts {
  readonly earliest?: Token;
  readonly latest?: Token;
  /** The history of the row at `latest`. */
  readonly history?: History;
  /**
   * The last token of the worker's own era in this stream at the primary. What the worker has after
   * it is void.
   */
  readonly common?: Token;
  readonly deleted?: boolean;
}

/** Sent by a primary only. */
export type PrimaryCommand =
  | { readonly name: 'SERVER'; readonly serverName: string }
  | { readonly name: 'RDATA'; readonly stream: StreamName; readonly token: Token | 'batch'; readonly row: unknown }
  | {
      readonly name: 'POSITION';
      readonly stream: StreamName;
      readonly token: Token;
      /** The history of the row at the token: always in rowcast/2, never otherwise. */
      readonly history: History | undefined;
    }
  | RowcastPrimaryCommand;

/** Sent by a primary to a worker that speaks rowcast/2. */
export type RowcastPrimaryCommand =
  /** Rows after the token have this history. */
  | { readonly name: 'HISTORY'; readonly stream: StreamName; readonly after: Token; readonly history: History }
  /** The present era of a log. */
  | { readonly name: 'ERA'; readonly era: History }
  | {
      readonly name: 'REFUSED';
      readonly stream: StreamName;
      readonly code: RefusalCode;
      readonly facts: RefusalFacts;
    }
  | { readonly name: 'RELEASED'; readonly stream: StreamName }
  /** Attributes of the batch with this token. Its rows follow. */
  | { readonly name: 'ATTR'; readonly stream: StreamName; readonly token: Token; readonly attributes: object };

/** Sent by both. */
export type SharedCommand =
  | { readonly name: 'ERROR'; readonly text: string }
  | { readonly name: 'PING'; readonly data: string }
  | { readonly name: 'SYNC'; readonly text: string };

/** What a worker says about itself and its subscriptions. */
export type SubscribeCommand =
  | { readonly name: 'NAME'; readonly workerName: string }
  /** `ALL` is every stream. */
  | {
      readonly name: 'REPLICATE';
      readonly stream: StreamName;
      /** START and a history: rowcast/2 only. */
      readonly from: Token | 'START' | 'NOW';
      readonly history: History | undefined;
    }
  /** Ends the replication of a stream. One RELEASED answers each. rowcast/2 only. */
  | { readonly name: 'RELEASE'; readonly stream: StreamName }
  /**
   * `applied`: up to where the worker's handlers have applied. `saved`: where it would resume after
   * a crash, undefined when nowhere. rowcast/2 only.
   */
  | {
      readonly name: 'APPLIED';
      readonly stream: StreamName;
      readonly applied: Token;
      readonly saved: Token | undefined;
    };

/** What a worker tells the primary's application. Fire and forget: lost with the connection. */
export type UpstreamCommand =
  | {
      readonly name: 'USER_SYNC';
      readonly userId: string;
      readonly state: 'start' | 'end';
      readonly lastSyncMs: Millis;
    }
  | { readonly name: 'FEDERATION_ACK'; readonly token: Token }
  | { readonly name: 'REMOVE_PUSHER'; readonly appId: string; readonly pushKey: string; readonly userId: string }
  /** `keys: null` means the whole cache. */
  | { readonly name: 'INVALIDATE_CACHE'; readonly cacheName: string; readonly keys: readonly unknown[] | null }
  | {
      readonly name: 'USER_IP';
      readonly userId: string;
      readonly accessToken: string;
      readonly ip: string;
      readonly userAgent: string;
      readonly deviceId: string | null;
      readonly lastSeenMs: Millis;
    }
  | { readonly name: 'SYNC'; readonly text: string };

export type WorkerCommand = SubscribeCommand | UpstreamCommand;

export type Command = PrimaryCommand | SharedCommand | WorkerCommand;

export type CommandName = Command['name'];

/** The two ends of a connection. */
export type Side = 'primary' | 'worker';

/** Which side may send which command. A missing name does not compile. */
export const senders: { readonly [Name in CommandName]: readonly Side[] } = Object.freeze({
  SERVER: ['primary'],
  RDATA: ['primary'],
  POSITION: ['primary'],
  HISTORY: ['primary'],
  ERA: ['primary'],
  REFUSED: ['primary'],
  RELEASED: ['primary'],
  ATTR: ['primary'],
  ERROR: ['primary', 'worker'],
  PING: ['primary', 'worker'],
  NAME: ['worker'],
  REPLICATE: ['worker'],
  RELEASE: ['worker'],
  APPLIED: ['worker'],
  USER_SYNC: ['worker'],
  FEDERATION_ACK: ['worker'],
  REMOVE_PUSHER: ['worker'],
  INVALIDATE_CACHE: ['worker'],
  USER_IP: ['worker'],
  SYNC: ['primary', 'worker'],
});

/** Commands that the seed does not have. */
export const rowcastOnly: ReadonlySet<CommandName> = new Set<CommandName>([
  'HISTORY',
  'ERA',
  'REFUSED',
  'RELEASED',
  'ATTR',
  'RELEASE',
  'APPLIED',
]);
