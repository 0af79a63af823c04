/**
 * The Synapse part of `rowcast serve --synapse`: Synapse's streams, and answers to commands of its
 * workers.
 */

import { createCaches } from '../cache/index.ts';
import { type Declaration, defineStreams } from '../core/model/declarations.ts';
import { quote, quoteValue } from '../core/model/errors.ts';
import { isPattern } from '../core/model/pattern.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import type { ConnectedWorker } from '../primary/options.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { csCacheFake } from '../synapse/cache-names.ts';
import { trackFederationAcks } from '../synapse/federation-acks.ts';
import { federation } from '../synapse/federation.ts';
import { caches } from '../synapse/plain-streams.ts';
import { synapseStream, synapseStreams } from '../synapse/streams.ts';
import { trackSyncingUsers } from '../synapse/syncing-users.ts';
import { sayAtRate, type Terminal } from './terminal.ts';

/**
 * Synapse's streams with their types where known. Default: all but federation, which a deployment
 * must ask for.
 */
export function synapseStreamsOf(names: readonly string[] | undefined): readonly Declaration[] {
  return names === undefined
    ? synapseStreams()
    : names.map(
        (name): Declaration => synapseStream(name) ?? (isPattern(name) ? defineStreams(name) : defineStream(name)),
      );
}

/**
 * Turns INVALIDATE_CACHE into a row for all workers, drops acknowledged rows of federation, and
 * prints other commands.
 */
export function beSynapse(primary: Primary, terminal: Terminal): void {
  if (primary.stream(caches.name) !== undefined) csCacheFake(createCaches(primary));
  if (primary.stream(federation.name) !== undefined) trackFederationAcks(primary);
  const syncing = trackSyncingUsers(primary);
  const tell = sayAtRate(terminal);
  syncing.on('started', ({ userId }) => tell(syncing, `${quote(userId)} started to sync`));
  syncing.on('stopped', ({ userId }) => tell(syncing, `${quote(userId)} stopped to sync`));
  primary.on('command', ({ command, worker }) => tell(worker, `${nameOf(worker)}: ${describeCommand(command)}`));
}

function nameOf({ id, name }: ConnectedWorker): string {
  return name === undefined ? `worker ${id}` : `worker ${id} (${quote(name)})`;
}

/** Leaves out what is secret (core/wire/secrets.ts). */
function describeCommand(command: UpstreamCommand): string {
  switch (command.name) {
    case 'USER_SYNC':
      return `USER_SYNC ${quote(command.userId)} ${command.state}`;
    case 'FEDERATION_ACK':
      return `FEDERATION_ACK ${command.token}`;
    case 'REMOVE_PUSHER':
      return `REMOVE_PUSHER ${quote(command.appId)} ${quote(command.userId)}`;
    case 'INVALIDATE_CACHE':
      return `INVALIDATE_CACHE ${quote(command.cacheName)} ${quoteValue(command.keys)}`;
    case 'USER_IP':
      return `USER_IP ${quote(command.userId)} ${quote(command.ip)}`;
    case 'SYNC':
      return `SYNC ${quote(command.text)}`;
  }
}
