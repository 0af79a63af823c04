/** The public door of `rowcast/synapse`: the parts of the protocol that are specific to Synapse. */
export { synapseLimits } from './profile.ts';
export {
  type AccountData,
  type AccountDataRow,
  accountData,
  type Content,
  type TagAccountData,
  type TagAccountDataRow,
  tagAccountData,
} from './account-data.ts';
export { csCacheFake, type SynapseCacheKeys, type SynapseCacheName, synapseCacheNames } from './cache-names.ts';
export {
  type EventsChange,
  events,
  type EventsRow,
  type EvFields,
  type PersistedEvent,
  type StateAllFields,
  type StateChange,
  type StateFields,
  type StateOverhaul,
} from './events.ts';
export {
  type Edu,
  type EduObject,
  type FederationItem,
  type FederationRow,
  federation,
  type PresenceObject,
} from './federation.ts';
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
  backfill,
  caches,
  deviceLists,
  groups,
  presence,
  publicRooms,
  pushers,
  pushRules,
  receipts,
  toDevice,
  typing,
} from './plain-streams.ts';
export { synapseStream, synapseStreams, type SynapseStreamsOptions } from './streams.ts';
export { type FederationAcksOptions, trackFederationAcks } from './federation-acks.ts';
export { type CommandCallbacks, handleCommands } from './primary-commands.ts';
export { type SyncingUser, type SyncingUsers, type SyncingUsersEvents, trackSyncingUsers } from './syncing-users.ts';
export {
  type SynapseCommands,
  synapseCommands,
  type SynapseCommandsOptions,
  type SyncOptions,
} from './worker-commands.ts';
