/** The streams whose rows are plain lists of fields. */

import { defineCachesStream, type InvalidationRow } from '../cache/index.ts';
import { defineStream } from '../core/model/stream.ts';
import {
  flag,
  integer,
  jsonObject,
  type JsonObject,
  rowOf,
  type SynapseBoolean,
  text,
  textOrNull,
  texts,
  textsOrNull,
} from './fields.ts';
import { namedStream, type SynapseStream } from './named-stream.ts';

/** A row of the stream `backfill`, as it is on the wire. */
export type BackfillRow = readonly [
  eventId: string,
  roomId: string,
  type: string,
  stateKey: string | null,
  redacts: string | null,
  relatesTo: string | null,
];
/** An event from before this server joined its room. */
export interface Backfill {
  readonly eventId: string;
  readonly roomId: string;
  readonly type: string;
  readonly stateKey: string | null;
  readonly redacts: string | null;
  readonly relatesTo: string | null;
}
/** The stream `backfill`. */
export const backfill: SynapseStream<BackfillRow, Backfill> = namedStream(
  defineStream<BackfillRow>('backfill'),
  rowOf<BackfillRow, Backfill>([
    ['eventId', text],
    ['roomId', text],
    ['type', text],
    ['stateKey', textOrNull],
    ['redacts', textOrNull],
    ['relatesTo', textOrNull],
  ]),
);

/** A row of the stream `presence`, as it is on the wire. */
export type PresenceRow = readonly [
  userId: string,
  state: string,
  lastActiveTs: number,
  lastFederationUpdateTs: number,
  lastUserSyncTs: number,
  statusMsg: string | null,
  currentlyActive: SynapseBoolean,
];
/** Times are ms since 1970. */
export interface Presence {
  readonly userId: string;
  /** `online`, `unavailable`, `offline`. */
  readonly state: string;
  readonly lastActiveTs: number;
  readonly lastFederationUpdateTs: number;
  readonly lastUserSyncTs: number;
  readonly statusMsg: string | null;
  readonly currentlyActive: SynapseBoolean;
}
/** The stream `presence`. */
export const presence: SynapseStream<PresenceRow, Presence> = namedStream(
  defineStream<PresenceRow>('presence'),
  rowOf<PresenceRow, Presence>([
    ['userId', text],
    ['state', text],
    ['lastActiveTs', integer],
    ['lastFederationUpdateTs', integer],
    ['lastUserSyncTs', integer],
    ['statusMsg', textOrNull],
    ['currentlyActive', flag],
  ]),
);

/** Typing is soon over, so an old row is worth nothing. */
const RETAINED_TYPING_ROWS = 10_000;

/** A row of the stream `typing`, as it is on the wire. */
export type TypingRow = readonly [roomId: string, userIds: readonly string[]];
/** All users who type in the room. Replaces the previous list. */
export interface Typing {
  readonly roomId: string;
  readonly userIds: readonly string[];
}
/** Not durable: Synapse's is in memory too, and starts empty with the primary. */
export const typing: SynapseStream<TypingRow, Typing> = namedStream(
  defineStream<TypingRow>('typing', { durable: false, retain: { rows: RETAINED_TYPING_ROWS } }),
  rowOf<TypingRow, Typing>([
    ['roomId', text],
    ['userIds', texts],
  ]),
);

/** 5 fields until Synapse 1.68, 6 from 1.69. */
export type ReceiptsRow =
  | readonly [roomId: string, receiptType: string, userId: string, eventId: string, data: JsonObject]
  | readonly [
      roomId: string,
      receiptType: string,
      userId: string,
      eventId: string,
      threadId: string | null,
      data: JsonObject,
    ];
/** A user has read up to an event. */
export interface Receipt {
  readonly roomId: string;
  readonly receiptType: string;
  readonly userId: string;
  readonly eventId: string;
  readonly threadId?: string | null;
  readonly data: JsonObject;
}
/** The stream `receipts`. */
export const receipts: SynapseStream<ReceiptsRow, Receipt> = namedStream(
  defineStream<ReceiptsRow>('receipts'),
  rowOf<ReceiptsRow, Receipt>(
    [
      ['roomId', text],
      ['receiptType', text],
      ['userId', text],
      ['eventId', text],
      ['data', jsonObject],
    ],
    [
      ['roomId', text],
      ['receiptType', text],
      ['userId', text],
      ['eventId', text],
      ['threadId', textOrNull],
      ['data', jsonObject],
    ],
  ),
);

/** A row of the stream `push_rules`, as it is on the wire. */
export type PushRulesRow = readonly [userId: string];
/** The push rules of the user changed. */
export interface PushRulesChange {
  readonly userId: string;
}
/** The stream `push_rules`. */
export const pushRules: SynapseStream<PushRulesRow, PushRulesChange> = namedStream(
  defineStream<PushRulesRow>('push_rules'),
  rowOf<PushRulesRow, PushRulesChange>([['userId', text]]),
);

/** A row of the stream `pushers`, as it is on the wire. */
export type PushersRow = readonly [userId: string, appId: string, pushkey: string, deleted: SynapseBoolean];
/** A pusher of a user was added, changed or removed. */
export interface PusherChange {
  readonly userId: string;
  readonly appId: string;
  readonly pushkey: string;
  readonly deleted: SynapseBoolean;
}
/** The stream `pushers`. */
export const pushers: SynapseStream<PushersRow, PusherChange> = namedStream(
  defineStream<PushersRow>('pushers'),
  rowOf<PushersRow, PusherChange>([
    ['userId', text],
    ['appId', text],
    ['pushkey', text],
    ['deleted', flag],
  ]),
);

/** Null keys: the whole cache (Synapse 1.9 and later). */
export interface CacheInvalidation {
  readonly cacheName: string;
  readonly keys: readonly string[] | null;
  /** Ms since 1970. */
  readonly invalidationTs: number;
}
/** The stream of `defineCachesStream`, for `createCaches`. */
export const caches: SynapseStream<InvalidationRow, CacheInvalidation> = namedStream(
  defineCachesStream(),
  rowOf<InvalidationRow, CacheInvalidation>([
    ['cacheName', text],
    ['keys', textsOrNull],
    ['invalidationTs', integer],
  ]),
);

/** A row of the stream `public_rooms`, as it is on the wire. */
export type PublicRoomsRow = readonly [
  roomId: string,
  visibility: SynapseBoolean,
  appserviceId: string | null,
  networkId: string | null,
];
/** A room was added to the directory of public rooms, or removed from it. */
export interface PublicRoomChange {
  readonly roomId: string;
  readonly visibility: SynapseBoolean;
  readonly appserviceId: string | null;
  readonly networkId: string | null;
}
/** The stream `public_rooms`. */
export const publicRooms: SynapseStream<PublicRoomsRow, PublicRoomChange> = namedStream(
  defineStream<PublicRoomsRow>('public_rooms'),
  rowOf<PublicRoomsRow, PublicRoomChange>([
    ['roomId', text],
    ['visibility', flag],
    ['appserviceId', textOrNull],
    ['networkId', textOrNull],
  ]),
);

/** 2 fields until Synapse 1.12; 1 from 1.13; 3 from 1.110. */
export type DeviceListsRow =
  | readonly [userId: string, destination: string | null]
  | readonly [entity: string]
  | readonly [userId: string, isSignature: SynapseBoolean, hostsCalculated: SynapseBoolean];
/** A row of the stream `device_lists` with names. */
export type DeviceListChange =
  /** A user's devices changed; the server to tell, if any. */
  | { readonly userId: string; readonly destination: string | null }
  /** A user whose devices changed, or a server to tell. */
  | { readonly entity: string }
  | { readonly userId: string; readonly isSignature: SynapseBoolean; readonly hostsCalculated: SynapseBoolean };
/** The stream `device_lists`. */
export const deviceLists: SynapseStream<DeviceListsRow, DeviceListChange> = namedStream(
  defineStream<DeviceListsRow>('device_lists'),
  rowOf<DeviceListsRow, DeviceListChange>(
    [
      ['userId', text],
      ['destination', textOrNull],
    ],
    [['entity', text]],
    [
      ['userId', text],
      ['isSignature', flag],
      ['hostsCalculated', flag],
    ],
  ),
);

/** A row of the stream `to_device`, as it is on the wire. */
export type ToDeviceRow = readonly [entity: string];
/** Messages are queued for the devices of a user, or for another server. */
export interface ToDevice {
  readonly entity: string;
}
/** The stream `to_device`. */
export const toDevice: SynapseStream<ToDeviceRow, ToDevice> = namedStream(
  defineStream<ToDeviceRow>('to_device'),
  rowOf<ToDeviceRow, ToDevice>([['entity', text]]),
);

/** A row of the stream `groups`, as it is on the wire. */
export type GroupsRow = readonly [groupId: string, userId: string, type: string, content: JsonObject];
/** A row of the stream `groups` with names. */
export interface GroupChange {
  readonly groupId: string;
  readonly userId: string;
  /** Synapse uses only `membership`. */
  readonly type: string;
  readonly content: JsonObject;
}
/** The stream `groups`. */
export const groups: SynapseStream<GroupsRow, GroupChange> = namedStream(
  defineStream<GroupsRow>('groups'),
  rowOf<GroupsRow, GroupChange>([
    ['groupId', text],
    ['userId', text],
    ['type', text],
    ['content', jsonObject],
  ]),
);
