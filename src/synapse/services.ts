/**
 * Recognises services that people connect to in place of a primary, by their first bytes in answer
 * to our NAME and PING.
 */

export type Service = 'http' | 'tls' | 'redis' | 'nats' | 'ssh' | 'mail';

const signs: readonly (readonly [Service, RegExp])[] = [
  // Old servers answer a request that is no HTTP with the page alone.
  ['http', /^(HTTP\/\d|<!doctype html|<html)/i],
  // A TLS alert record of any version: the answer to plain text.
  // oxlint-disable-next-line no-control-regex -- its bytes are control characters
  ['tls', /^\x15\x03[\x00-\x04]/],
  ['redis', /^-(ERR|NOAUTH|DENIED|WRONGPASS|LOADING|MASTERDOWN)\b/],
  ['nats', /^INFO \{/],
  ['ssh', /^SSH-\d/],
  ['mail', /^(220[ -]|\* OK|\+OK )/],
];

/** @param first the first bytes, one character each */
export function recogniseService(first: string): Service | undefined {
  return signs.find(([, sign]) => sign.test(first))?.[0];
}
