/** Checks which addresses Rowcast may listen at and connect to. Opens nothing. */

import { BlockList, isIP } from 'node:net';
import { UsageError } from '../core/model/errors.ts';
import { type Address, formatAddress, type ListenAddress } from './transport.ts';

/**
 * Refuses plaintext where others could read or write it.
 * @throws UsageError INVALID_OPTION, PLAINTEXT_REFUSED
 */
export function checkListenAddress(address: ListenAddress): void {
  checkAddress(address, 0);
  const { mode } = address;
  if (mode !== undefined && !(Number.isInteger(mode) && mode >= 0 && mode <= 0o777)) {
    throw new UsageError('INVALID_OPTION', `mode must be from 0 to 0o777, not ${mode}`);
  }
  if (!isProtected(address) && address.allowPlaintext !== true) {
    throw new UsageError(
      'PLAINTEXT_REFUSED',
      `will not listen at ${formatAddress(address)}: anyone on the network could read and write there without TLS; ` +
        'listen at 127.0.0.1, or say allowPlaintext: true when the network is trusted',
    );
  }
}

/** @throws UsageError INVALID_OPTION */
export function checkConnectAddress(address: Address): void {
  checkAddress(address, 1);
}

function checkAddress(address: Address, lowestPort: number): void {
  if ('path' in address) {
    // A leading NUL is Linux's abstract name, which has no permissions. A later NUL would cut the
    // path short.
    if (address.path === '' || address.path.includes('\0')) {
      throw new UsageError(
        'INVALID_OPTION',
        `a socket path must not be empty and have no NUL character: ${JSON.stringify(address.path)}`,
      );
    }
    return;
  }
  const { host, port } = address;
  // Node takes an empty host for "every interface".
  if (host === '')
    throw new UsageError('INVALID_OPTION', 'host must not be empty; to listen on every interface say 0.0.0.0 or ::');
  if (!(Number.isInteger(port) && port >= lowestPort && port <= 65_535)) {
    throw new UsageError('INVALID_OPTION', `port must be an integer from ${lowestPort} to 65535, not ${port}`);
  }
}

/**
 * Whether the address needs no allowPlaintext: a socket file, or loopback. TLS will be the third
 * way.
 */
function isProtected(address: ListenAddress): boolean {
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
