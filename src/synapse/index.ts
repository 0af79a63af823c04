/** The public door of `rowcast/synapse`: the parts of the protocol that are specific to Synapse. */
export { synapseLimits } from './profile.ts';
export type { AccountData, AccountDataRow, Content, TagAccountData, TagAccountDataRow } from './account-data.ts';
export { csCacheFake, type SynapseCacheKeys, type SynapseCacheName, synapseCacheNames } from './cache-names.ts';
export type {
  EventsChange,
  EventsRow,
  EvFields,
  PersistedEvent,
  StateAllFields,
  StateChange,
  StateFields,
  StateOverhaul,
} from './events.ts';
export type { Edu, EduObject, FederationItem, FederationRow, PresenceObject } from './federation.ts';
export { isTrue, type JsonObject, type SynapseBoolean, type UnknownKind, type UnknownRow } from './fields.ts';
export type { SynapseStream } from './named-stream.ts';
export type {
  Backfill,
  BackfillRow,
  CacheInvalidation,
  DeviceListChange,
  DeviceListsRow,
  GroupChange,
  GroupsRow,
  Presence,
  PresenceRow,
  PublicRoomChange,
  PublicRoomsRow,
  PusherChange,
  PushersRow,
  PushRulesChange,
  PushRulesRow,
  Receipt,
  ReceiptsRow,
  ToDevice,
  ToDeviceRow,
  Typing,
  TypingRow,
} from './plain-streams.ts';
export {
  accountData,
  backfill,
  caches,
  deviceLists,
  events,
  federation,
  groups,
  presence,
  publicRooms,
  pushers,
  pushRules,
  receipts,
  synapseStream,
  synapseStreams,
  tagAccountData,
  toDevice,
  typing,
} from './streams.ts';
export { type FederationAcksOptions, trackFederationAcks } from './federation-acks.ts';
export { type CommandCallbacks, handleCommands } from './primary-commands.ts';
export { type SyncingUser, type SyncingUsers, type SyncingUsersEvents, trackSyncingUsers } from './syncing-users.ts';
export { type SynapseCommands, synapseCommands, type SyncOptions } from './worker-commands.ts';
