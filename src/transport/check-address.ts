/** Checks which addresses Rowcast may listen at and connect to. Opens nothing. */

import { BlockList, isIP } from 'node:net';
import { UsageError } from '../core/model/errors.ts';
import { boolean, integerFrom, kind, nested } from '../core/model/option-kinds.ts';
import { checkOptions, type Kind, optionError, type OptionTable } from '../core/model/options.ts';
import { type Address, formatAddress, type ListenAddress } from './transport.ts';

/** What an address is made of, before it is known which of the two it is. */
interface AddressParts {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
}

interface ListenParts extends AddressParts {
  readonly allowPlaintext?: boolean;
  readonly mode?: number;
}

// Node takes an empty host for "every interface".
const hostKind: Kind<string> = kind(
  'a name or an IP address; to listen on every interface say 0.0.0.0 or ::',
  (value) => typeof value === 'string' && value !== '',
);
// A leading NUL is Linux's abstract name, which has no permissions. A later NUL would cut the path
// short.
const pathKind: Kind<string> = kind(
  'the path of a socket, which is not empty and has no NUL character',
  (value) => typeof value === 'string' && value !== '' && !value.includes('\0'),
);

const connectTable: OptionTable<AddressParts> = { host: hostKind, port: integerFrom(1, 65_535), path: pathKind };

const listenTable: OptionTable<ListenParts> = {
  host: hostKind,
  port: integerFrom(0, 65_535),
  path: pathKind,
  allowPlaintext: boolean,
  mode: integerFrom(0, 0o777),
};

/**
 * Refuses plaintext where others could read or write it.
 * @param of what takes the address: `listen`
 * @returns the address as a plain object
 * @throws UsageError INVALID_OPTION, PLAINTEXT_REFUSED
 */
export function checkListenAddress(of: string, given: ListenAddress): ListenAddress {
  const address = readListenAddress(of, given);
  if (!isProtected(address) && address.allowPlaintext !== true) {
    throw new UsageError(
      'PLAINTEXT_REFUSED',
      `will not listen at ${formatAddress(address)}: anyone on the network could read and write there without TLS; ` +
        'listen at 127.0.0.1, or say allowPlaintext: true when the network is trusted',
    );
  }
  return address;
}

/**
 * As checkListenAddress, where nobody else is on the network.
 * @throws UsageError INVALID_OPTION
 */
export function readListenAddress(of: string, given: ListenAddress): ListenAddress {
  const { allowPlaintext, mode, ...parts } = checkOptions<ListenParts>(of, given, listenTable);
  const address = oneAddress(of, '', parts);
  if (mode !== undefined && !('path' in address)) throw optionError(of, 'mode', 'is of a socket file, and needs path');
  return {
    ...address,
    ...(allowPlaintext !== undefined && { allowPlaintext }),
    ...(mode !== undefined && { mode }),
  };
}

/**
 * @param of what takes the address: `connect`
 * @returns the address as a plain object
 * @throws UsageError INVALID_OPTION
 */
export function checkConnectAddress(of: string, given: Address): Address {
  return oneAddress(of, '', checkOptions<AddressParts>(of, given, connectTable));
}

/** An address among other options. `oneAddress` is still to be called. */
export const addressKind: Kind<Address> = nested(
  connectTable,
  'an address, { host, port } or { path }',
) as Kind<Address>;

/**
 * The address that its parts make: of a socket file, or a host and a port.
 * @param path what stands before the names of the parts: `connect.`
 * @throws UsageError INVALID_OPTION
 */
export function oneAddress(of: string, path: string, parts: AddressParts): Address {
  const { host: name, port } = parts;
  if (parts.path !== undefined) {
    const second = name === undefined ? 'port' : 'host';
    if (parts[second] === undefined) return { path: parts.path };
    throw optionError(of, `${path}${second}`, 'stands beside path: an address is of a host and a port, or of a path');
  }
  if (name !== undefined && port !== undefined) return { host: name, port };
  const missing = name === undefined ? 'host' : 'port';
  throw optionError(of, `${path}${missing}`, 'is missing: an address has host and port, or path');
}

/**
 * Whether the address needs no allowPlaintext: a socket file, or loopback. TLS will be the third
 * way.
 */
function isProtected(address: Address): boolean {
  return 'path' in address || isLoopback(address.host);
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Any name other than localhost counts as off loopback, whatever it resolves to today. */
function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host.toLowerCase() === 'localhost';
  return loopback.check(host, version === 6 ? 'ipv6' : 'ipv4');
}
