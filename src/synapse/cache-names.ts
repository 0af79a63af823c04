/**
 * The caches that Synapse 1.4.0 invalidates by its stream `caches`: their names, their keys, and
 * the one name that stands for several.
 */

import { quote } from '../core/model/errors.ts';
import type { Caches } from '../cache/index.ts';

/**
 * The keys of each cache that is streamed by its own name: `SynapseCacheKeys['did_forget']`. All
 * are strings.
 */
export interface SynapseCacheKeys {
  readonly count_e2e_one_time_keys: readonly [userId: string, deviceId: string];
  readonly did_forget: readonly [userId: string, roomId: string];
  readonly get_aliases_for_room: readonly [roomId: string];
  readonly get_expiration_ts_for_user: readonly [userId: string];
  readonly get_forgotten_rooms_for_user: readonly [userId: string];
  readonly get_if_user_has_pusher: readonly [userId: string];
  readonly get_user_by_access_token: readonly [token: string];
  readonly get_user_by_id: readonly [userId: string];
  readonly get_user_deactivated_status: readonly [userId: string];
  readonly is_room_blocked: readonly [roomId: string];
  readonly is_user_erased: readonly [userId: string];
}

/** The name of a cache of Synapse. */
export type SynapseCacheName = keyof SynapseCacheKeys;

type KeyNames<Keys extends readonly string[]> = {
  readonly [Place in keyof Keys]: 'userId' | 'deviceId' | 'roomId' | 'token';
};

/** The meaning of each key of a cache. */
export const synapseCacheNames: { readonly [Name in SynapseCacheName]: KeyNames<SynapseCacheKeys[Name]> } =
  Object.freeze({
    count_e2e_one_time_keys: ['userId', 'deviceId'],
    did_forget: ['userId', 'roomId'],
    get_aliases_for_room: ['roomId'],
    get_expiration_ts_for_user: ['userId'],
    get_forgotten_rooms_for_user: ['userId'],
    get_if_user_has_pusher: ['userId'],
    get_user_by_access_token: ['token'],
    get_user_by_id: ['userId'],
    get_user_deactivated_status: ['userId'],
    is_room_blocked: ['roomId'],
    is_user_erased: ['userId'],
  });

/** The number of members that Synapse puts into one row. */
const MEMBERS_PER_ROW = 50;

/**
 * Defines the group `cs_cache_fake`, on a primary and on its workers. It means that a room's
 * current state changed, including these members: `caches.invalidate('cs_cache_fake', [roomId,
 * ...userIds])`.
 * @throws UsageError DUPLICATE_CACHE
 */
export function csCacheFake(caches: Caches<unknown>): void {
  caches.group(
    'cs_cache_fake',
    ([roomId, ...userIds]) => [
      ...[...new Set(userIds.map(hostOf))].flatMap((host) => [
        ['is_host_joined', [roomId, host]] as const,
        ['was_host_joined', [roomId, host]] as const,
      ]),
      ['get_users_in_room', [roomId]],
      ['get_room_summary', [roomId]],
      ['get_current_state_ids', [roomId]],
    ],
    { chunk: { head: 1, size: MEMBERS_PER_ROW } },
  );
}

/** The host of `@user:host:8448` is `host:8448`. */
function hostOf(userId: string): string {
  const colon = userId.indexOf(':');
  // Throws as Synapse does: skipping the host would leave a stale entry.
  if (colon < 0) throw new Error(`${quote(userId)} is no user id, expected @name:host`);
  return userId.slice(colon + 1);
}
