/**
 * Which names and addresses mean this machine and nobody else. Resolves nothing: a name other than
 * localhost is a stranger.
 */

import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** `host` is a name or an address, an IPv6 address with or without brackets. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  const version = isIP(bare);
  if (version === 0) return bare.toLowerCase() === 'localhost';
  return loopback.check(bare, version === 6 ? 'ipv6' : 'ipv4');
}

/** Whether a URL (`http://localhost:3000`) is of this machine; what is no URL is not. */
export function isLoopbackUrl(url: string): boolean {
  return URL.canParse(url) && isLoopbackHost(new URL(url).hostname);
}
