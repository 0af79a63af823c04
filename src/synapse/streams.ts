/** The 15 streams of Synapse 1.4.0. */

import { boolean } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import type { Stream } from '../core/model/stream.ts';
import { accountData, tagAccountData } from './account-data.ts';
import { events } from './events.ts';
import { federation } from './federation.ts';
import type { SynapseStream } from './named-stream.ts';
import {
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

const always: readonly SynapseStream[] = [
  events,
  backfill,
  presence,
  typing,
  receipts,
  pushRules,
  pushers,
  caches,
  publicRooms,
  deviceLists,
  toDevice,
  tagAccountData,
  accountData,
  groups,
];

const byName = new Map([...always, federation as SynapseStream].map((stream) => [stream.name, stream]));

/** Options of `synapseStreams`. */
export interface SynapseStreamsOptions {
  /** Whether `federation` is one of them. Default false. */
  readonly federation?: boolean;
}

const optionTable: OptionTable<SynapseStreamsOptions> = { federation: boolean };

/**
 * The streams for `createPrimary`. `federation` is included only on request: it is for deployments
 * where another process sends to other servers.
 * @throws UsageError INVALID_OPTION
 */
export function synapseStreams(options?: SynapseStreamsOptions): readonly Stream[] {
  const { federation: isOffered = false } = checkOptions('synapseStreams', options, optionTable);
  return isOffered ? [...always, federation] : [...always];
}

/**
 * The stream of Synapse with this name; undefined for an unknown name.
 * @param name as on the wire: `push_rules`
 */
export function synapseStream(name: string): SynapseStream | undefined {
  return byName.get(name);
}
