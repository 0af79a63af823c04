/**
 * The stream `federation`: what a federation sender should send to other servers. It exists only
 * where the primary does not send itself.
 */

import { defineStream } from '../core/model/stream.ts';
import {
  flag,
  integer,
  jsonObject,
  type JsonObject,
  objectOf,
  only,
  type SynapseBoolean,
  text,
  textOrNull,
  texts,
  typedRow,
  type UnknownKind,
  type UnknownRow,
} from './fields.ts';
import { namedStream, type SynapseStream } from './named-stream.ts';
import type { Presence } from './plain-streams.ts';

/** The presence of a user, as it is on the wire. */
export interface PresenceObject {
  readonly user_id: string;
  readonly state: string;
  readonly last_active_ts: number;
  readonly last_federation_update_ts: number;
  readonly last_user_sync_ts: number;
  readonly status_msg: string | null;
  readonly currently_active: SynapseBoolean;
}

/** An EDU, as it is on the wire. */
export interface EduObject {
  readonly edu_type: string;
  readonly content: JsonObject;
  readonly origin: string;
  readonly destination: string;
}

/** A row of the stream `federation`, as it is on the wire. */
export type FederationRow =
  | readonly [type: 'p', data: PresenceObject]
  | readonly [type: 'pd', data: { readonly state: PresenceObject; readonly dests: readonly string[] }]
  | readonly [type: 'k', data: { readonly key: readonly string[]; readonly edu: EduObject }]
  | readonly [type: 'e', data: EduObject]
  | readonly [type: 'd', data: { readonly destination: string }]
  | UnknownRow;

/** A server-to-server message that is no event: typing, receipts, device lists. */
export interface Edu {
  readonly eduType: string;
  readonly content: JsonObject;
  readonly origin: string;
  readonly destination: string;
}

/** A row of the stream `federation` with names. */
export type FederationItem =
  /** Presence for every server that shares a room with the user. */
  | { readonly kind: 'p'; readonly presence: Presence }
  /** Presence for these servers. */
  | { readonly kind: 'pd'; readonly presence: Presence; readonly destinations: readonly string[] }
  /** Replaces an earlier one with the same key and destination. */
  | { readonly kind: 'k'; readonly key: readonly string[]; readonly edu: Edu }
  | { readonly kind: 'e'; readonly edu: Edu }
  /** Messages to devices are queued for this server. */
  | { readonly kind: 'd'; readonly destination: string }
  | UnknownKind;

const presence = objectOf<PresenceObject, Presence>(
  ['userId', 'user_id', text],
  ['state', 'state', text],
  ['lastActiveTs', 'last_active_ts', integer],
  ['lastFederationUpdateTs', 'last_federation_update_ts', integer],
  ['lastUserSyncTs', 'last_user_sync_ts', integer],
  ['statusMsg', 'status_msg', textOrNull],
  ['currentlyActive', 'currently_active', flag],
);

const edu = objectOf<EduObject, Edu>(
  ['eduType', 'edu_type', text],
  ['content', 'content', jsonObject],
  ['origin', 'origin', text],
  ['destination', 'destination', text],
);

/** Not durable: Synapse's is in memory too, and starts empty with the primary. */
export const federation: SynapseStream<FederationRow, FederationItem> = namedStream(
  defineStream<FederationRow>('federation', { durable: false }),
  typedRow<FederationRow, Exclude<FederationItem, UnknownKind>>({
    p: only('presence', presence),
    pd: objectOf(['presence', 'state', presence], ['destinations', 'dests', texts]),
    k: objectOf(['key', 'key', texts], ['edu', 'edu', edu]),
    e: only('edu', edu),
    d: objectOf(['destination', 'destination', text]),
  }),
);
