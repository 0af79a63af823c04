/** The defaults of the commands. */

import type { StreamName } from '../core/model/stream.ts';
import type { HostAndPort, LogAddress } from './addresses.ts';

export interface Defaults {
  readonly name: string;
  readonly listen: HostAndPort;
  readonly log: LogAddress;
  readonly admin: HostAndPort;
  /** Synapse's streams without federation, which a deployment must ask for. */
  readonly streams: readonly StreamName[];
}

export const defaults: Defaults = Object.freeze({
  name: 'example.com',
  listen: Object.freeze({ host: '127.0.0.1', port: 9092 }),
  log: Object.freeze({ kind: 'sqlite', path: 'data/rowcast.db' }),
  admin: Object.freeze({ host: '127.0.0.1', port: 9093 }),
  streams: Object.freeze([
    'events',
    'backfill',
    'presence',
    'typing',
    'receipts',
    'push_rules',
    'pushers',
    'caches',
    'public_rooms',
    'device_lists',
    'to_device',
    'tag_account_data',
    'account_data',
    'groups',
  ]),
});
