/**
 * Explains the system's socket errors to people: which address, what happened, what to check.
 * Touches no socket.
 */

import { ConnectionError, messageOf, UsageError, systemCode } from '../core/model/errors.ts';
import { type Address, formatAddress } from './transport.ts';

/** The error of a connection that was not made, or was lost once it was open. */
export function connectionError(address: string, wasOpen: boolean, cause: unknown): ConnectionError {
  const text = wasOpen
    ? `the connection to ${address} was lost: ${explain(lost, cause)}`
    : `cannot connect to ${address}: ${explain(notConnected, cause)}`;
  return new ConnectionError('CONNECTION_LOST', text, { cause });
}

export function listenError(address: Address, cause: unknown): UsageError {
  const inUse = systemCode(cause) === 'EADDRINUSE';
  const text = `cannot listen at ${formatAddress(address)}: ${explain('path' in address ? noPath : noPort, cause)}`;
  return new UsageError(inUse ? 'ADDRESS_IN_USE' : 'ADDRESS_UNAVAILABLE', text, { cause });
}

/** What happened, and what to do about it. */
type Explanations = Readonly<Record<string, readonly [happened: string, advice: string]>>;

const notConnected: Explanations = {
  ECONNREFUSED: ['nothing listens there', 'is the primary running?'],
  ENOENT: ['there is no such socket file', 'is the primary running?'],
  EACCES: ['this user may not use it', 'check the permissions of the socket file and its directories'],
  EPERM: ['the system forbids it', 'check the firewall and sandbox of this process'],
  ENOTFOUND: ['the host name is not known', 'check its spelling and the name server'],
  EAI_AGAIN: ['the name server did not answer', 'check the network'],
  ETIMEDOUT: ['nobody answered', 'check the address and the firewalls in between'],
  EHOSTUNREACH: ['no route leads to the host', 'check the address and the network'],
  ENETUNREACH: ['no route leads to the network', 'check the address and the network'],
  ECONNRESET: ['the other side reset the connection', 'does a Rowcast or Synapse primary listen there?'],
  EAGAIN: ['too many connections wait to be accepted there', 'is the primary overloaded?'],
  EMFILE: ['this process has too many open files', 'raise its limit (ulimit -n)'],
};

const lost: Explanations = {
  ECONNRESET: ['the other side reset it', 'did its process die?'],
  EPIPE: ['the other side had closed it', 'did its process end?'],
  ETIMEDOUT: ['the other side no longer answers', 'check the network and its machine'],
  EHOSTUNREACH: ['no route leads to the host any more', 'check the network'],
  ENETUNREACH: ['no route leads to the network any more', 'check the network'],
};

const noPort: Explanations = {
  EADDRINUSE: ['something listens there already', 'stop it or choose another port'],
  EACCES: ['this user may not listen at that port', 'choose a port above 1023 or grant the permission'],
  EADDRNOTAVAIL: ['no network interface of this machine has that address', 'check the address'],
  EAFNOSUPPORT: ['this machine does not speak that kind of address', 'use an IPv4 address'],
  ENOTFOUND: ['the host name is not known', 'check its spelling or use an IP address'],
  EAI_AGAIN: ['the name server did not answer', 'check the network or use an IP address'],
  EMFILE: ['this process has too many open files', 'raise its limit (ulimit -n)'],
};

const noPath: Explanations = {
  EADDRINUSE: ['something listens there already', 'stop it or choose another path'],
  ENOENT: ['its directory does not exist', 'create it or choose another path'],
  ENOTDIR: ['a part of the path is not a directory', 'choose another path'],
  EACCES: ['this user may not write to the directory', 'check its permissions or choose another path'],
  EPERM: ['the system forbids it', 'check who owns the file and the directory, or choose another path'],
  EROFS: ['the file system is read-only', 'choose another path'],
  ENOSPC: ['the disk is full', 'make room or choose another path'],
};

function explain(explanations: Explanations, cause: unknown): string {
  const code = systemCode(cause);
  const known = explanations[code];
  return known === undefined ? messageOf(cause) : `${known[0]} (${code}); ${known[1]}`;
}
