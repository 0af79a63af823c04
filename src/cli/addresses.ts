/**
 * Parses addresses as people write them: `127.0.0.1:9092`, `[::1]:9092`, `unix:/path`,
 * `sqlite:path`, `memory:`. Opens nothing.
 */

import { UsageError } from '../core/model/errors.ts';
import type { Address } from '../transport/transport.ts';

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export type LogAddress = { readonly kind: 'sqlite'; readonly path: string } | { readonly kind: 'memory' };

/** @throws UsageError INVALID_OPTION */
export function parseAddress(text: string): Address {
  if (!text.startsWith('unix:')) return parseHostAndPort(text, 'HOST:PORT or unix:/path');
  const path = text.slice('unix:'.length);
  if (path === '') throw refused('HOST:PORT or unix:/path', text);
  return { path };
}

/** @throws UsageError INVALID_OPTION */
export function parseHostAndPort(text: string, expected = 'HOST:PORT'): HostAndPort {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535) throw refused(`${expected}, as in 127.0.0.1:9092 or [::1]:9092,`, text);
  return { host, port };
}

/** @throws UsageError INVALID_OPTION */
export function parseLogAddress(text: string): LogAddress {
  if (text === 'memory:') return { kind: 'memory' };
  const path = text.startsWith('sqlite:') ? text.slice('sqlite:'.length) : '';
  if (path === '') throw refused('sqlite:PATH or memory:', text);
  return { kind: 'sqlite', path };
}

function refused(expected: string, text: string): UsageError {
  return new UsageError('INVALID_OPTION', `expected ${expected} not '${text}'`);
}
