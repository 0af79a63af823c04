/**
 * Describes a row of one of Synapse's streams for people. Rows of an unknown form are shown as they
 * came.
 */

import type { StreamName } from '../core/model/stream.ts';

/**
 * Turns `events` `["ev",["$149…","!AFDC…","m.room.guest_access","",null,null]]` into `ev $149…:
 * m.room.guest_access in !AFDC…`.
 */
export function describeRow(stream: StreamName, row: unknown): string {
  return (
    (Object.hasOwn(describers, stream) && Array.isArray(row) ? describers[stream]!(row as unknown[]) : undefined) ??
    JSON.stringify(row)
  );
}

/** Returns undefined for a row of another form. */
type Describe = (row: readonly unknown[]) => string | undefined;

const describers: Readonly<Record<StreamName, Describe>> = {
  events: ([kind, data]) => {
    if (!Array.isArray(data)) return undefined;
    const fields = data as unknown[];
    if (kind === 'ev') return `ev ${event(fields)}`;
    if (kind === 'state-all') return `state-all in ${text(fields[0])}`;
    if (kind !== 'state') return undefined;
    const [room, type, stateKey, eventId] = fields;
    return `state ${text(type)}${stateKeyOf(stateKey)} in ${text(room)} ${eventId === null ? 'is gone' : `is ${text(eventId)}`}`;
  },
  backfill: (row) => event(row),
  presence: ([user, state, lastActiveMs, , , message, isActive]) =>
    `${text(user)} is ${text(state)}${isTrue(isActive) ? ' and active' : ''}, last active ${time(lastActiveMs)}${message === null ? '' : `: ${text(message)}`}`,
  typing: ([room, users]) =>
    Array.isArray(users) ? `in ${text(room)}: ${users.length === 0 ? 'nobody' : list(users)}` : undefined,
  receipts: ([room, type, user, eventId]) => `${text(user)} ${text(type)} up to ${text(eventId)} in ${text(room)}`,
  push_rules: ([user]) => `of ${text(user)} changed`,
  pushers: ([user, appId, pushKey, isDeleted]) =>
    `${text(appId)} ${text(pushKey)} of ${text(user)} ${isTrue(isDeleted) ? 'is deleted' : 'is set'}`,
  caches: ([name, keys, ms]) =>
    `${text(name)} ${Array.isArray(keys) ? `[${list(keys)}]` : '(all of it)'} at ${time(ms)}`,
  public_rooms: ([room, visibility, appservice, network]) =>
    `${text(room)} is ${isTrue(visibility) ? 'public' : 'not public'}${appservice === null ? '' : ` for ${text(appservice)} on ${text(network)}`}`,
  device_lists: ([user, destination]) =>
    `of ${text(user)} changed${typeof destination === 'string' ? `: tell ${destination}` : ''}`,
  to_device: ([entity]) => `messages for ${text(entity)}`,
  federation: ([kind, data]) =>
    typeof kind === 'string' && typeof data === 'object' && data !== null ? `${kind} ${federation(data)}` : undefined,
  tag_account_data: ([user, room, json]) => `tags of ${text(user)} in ${text(room)}: ${text(json)}`,
  account_data: ([user, room, type, json]) =>
    `${text(type)} of ${text(user)}${room === null ? '' : ` in ${text(room)}`}${json === undefined ? '' : `: ${text(json)}`}`,
  groups: ([group, user, type, content]) =>
    `${text(type)} of ${text(user)} in ${text(group)}: ${JSON.stringify(content)}`,
};

function event([eventId, room, type, stateKey]: readonly unknown[]): string {
  return `${text(eventId)}: ${text(type)}${stateKeyOf(stateKey)} in ${text(room)}`;
}

function stateKeyOf(stateKey: unknown): string {
  return typeof stateKey === 'string' && stateKey !== '' ? ` ${stateKey}` : '';
}

/** Each kind names its content and receivers differently. Presence and EDUs describe themselves. */
function federation(data: object): string {
  const {
    state,
    dests,
    edu,
    edu_type: eduType,
    destination,
    user_id: user,
  } = data as Readonly<Record<string, unknown>>;
  if (typeof state === 'object' && state !== null)
    return `${federation(state)}${Array.isArray(dests) ? ` to [${list(dests)}]` : ''}`;
  if (typeof edu === 'object' && edu !== null) return federation(edu);
  if (typeof eduType === 'string') return `${eduType} to ${text(destination)}`;
  if (typeof user === 'string') return `${user} is ${text(state)}`;
  return typeof destination === 'string' ? destination : JSON.stringify(data);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '(nothing)');
}

function list(values: readonly unknown[]): string {
  return values.map(text).join(', ');
}

/** SQLite has 0 and 1 where PostgreSQL has false and true. */
function isTrue(value: unknown): boolean {
  return value === true || value === 1;
}

function time(ms: unknown): string {
  if (typeof ms !== 'number' || ms <= 0 || ms > 8.64e15) return 'never';
  return new Date(ms).toISOString();
}
