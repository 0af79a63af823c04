/**
 * What `rowcast serve --synapse` adds to a primary: Synapse's own streams, and answers to what its
 * workers say.
 */

import { createCaches } from '../cache/index.ts';
import { defineStream, type Stream, type StreamName } from '../core/model/stream.ts';
import type { ConnectedWorker, Primary } from '../primary/primary.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { csCacheFake } from '../synapse/cache-names.ts';
import { trackFederationAcks } from '../synapse/federation-acks.ts';
import { caches, federation, synapseStream, synapseStreams } from '../synapse/streams.ts';
import { trackSyncingUsers } from '../synapse/syncing-users.ts';
import { say, type Terminal } from './terminal.ts';

/**
 * Synapse's streams with their types where they are known; by default all but federation, which a
 * deployment must ask for.
 */
export function synapseStreamsOf(names: readonly StreamName[] | undefined): readonly Stream[] {
  return names === undefined
    ? synapseStreams()
    : names.map((name): Stream => synapseStream(name) ?? defineStream(name));
}

/**
 * INVALIDATE_CACHE becomes a row for all, acknowledged rows of federation are dropped, and what
 * workers say is told.
 */
export function beSynapse(primary: Primary, terminal: Terminal): void {
  if (primary.stream(caches.name) !== undefined) csCacheFake(createCaches(primary));
  if (primary.stream(federation.name) !== undefined) trackFederationAcks(primary);
  const syncing = trackSyncingUsers(primary);
  syncing.on('started', ({ userId }) => say(terminal, `${userId} started to sync`));
  syncing.on('stopped', ({ userId }) => say(terminal, `${userId} stopped to sync`));
  primary.on('command', ({ command, worker }) => say(terminal, `${nameOf(worker)}: ${describeCommand(command)}`));
}

function nameOf({ id, name }: ConnectedWorker): string {
  return name === undefined ? `worker ${id}` : `worker ${id} (${name})`;
}

function describeCommand(command: UpstreamCommand): string {
  switch (command.name) {
    case 'USER_SYNC':
      return `USER_SYNC ${command.userId} ${command.state}`;
    case 'FEDERATION_ACK':
      return `FEDERATION_ACK ${command.token}`;
    case 'REMOVE_PUSHER':
      return `REMOVE_PUSHER ${command.appId} ${command.pushKey} ${command.userId}`;
    case 'INVALIDATE_CACHE':
      return `INVALIDATE_CACHE ${command.cacheName} ${JSON.stringify(command.keys)}`;
    case 'USER_IP':
      // Its access token is nobody's who reads this.
      return `USER_IP ${command.userId} ${command.ip}`;
    case 'SYNC':
      return `SYNC ${command.text}`;
  }
}
