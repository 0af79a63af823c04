/** The commands: one protocol message each, as a value (docs/protocol.md, "Commands"). Knows nothing of their text. */

import type { Millis } from '../../base/clock.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';

/** Sent by a primary only. */
export type PrimaryCommand =
  | { readonly name: 'SERVER'; readonly serverName: string }
  | { readonly name: 'RDATA'; readonly stream: StreamName; readonly token: Token | 'batch'; readonly row: unknown }
  | { readonly name: 'POSITION'; readonly stream: StreamName; readonly token: Token };

/** Sent by both. */
export type SharedCommand =
  | { readonly name: 'ERROR'; readonly text: string }
  | { readonly name: 'PING'; readonly data: string }
  | { readonly name: 'SYNC'; readonly text: string };

/** What a worker says about itself and its subscriptions. */
export type SubscribeCommand =
  | { readonly name: 'NAME'; readonly workerName: string }
  /** `ALL` is every stream. */
  | { readonly name: 'REPLICATE'; readonly stream: StreamName; readonly from: Token | 'NOW' };

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
  /** `keys` null means all of the cache. */
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

/** Which side may send what. A name that is missing here does not compile. */
export const senders: { readonly [Name in CommandName]: readonly Side[] } = Object.freeze({
  SERVER: ['primary'],
  RDATA: ['primary'],
  POSITION: ['primary'],
  ERROR: ['primary', 'worker'],
  PING: ['primary', 'worker'],
  NAME: ['worker'],
  REPLICATE: ['worker'],
  USER_SYNC: ['worker'],
  FEDERATION_ACK: ['worker'],
  REMOVE_PUSHER: ['worker'],
  INVALIDATE_CACHE: ['worker'],
  USER_IP: ['worker'],
  SYNC: ['primary', 'worker'],
});
