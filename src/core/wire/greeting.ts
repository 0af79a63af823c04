/**
 * What Rowcast says of itself in the data of its first PING (docs/protocol.md, "Stricter promises"):
 * `<ms> rowcast/1 log=<id> mem=<id> streams=<name>,… volatile=<name>,…`. To any other peer it is free text.
 */

import type { Millis } from '../../base/clock.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';

/** The histories that a primary serves, and which streams are in which. */
export interface Histories {
  readonly durable: History;
  readonly volatile?: History;
}

export interface History {
  readonly logId: string;
  readonly streams: readonly StreamName[];
}

const PROTOCOL = 'rowcast/1';
// The line must be readable for peers that accept 16,384 bytes; a primary with more names than fit names none.
const LONGEST_NAMES_CHARS = 12_000;

export function formatWorkerGreeting(now: Millis): string {
  return `${Math.floor(now)} ${PROTOCOL}`;
}

export function formatPrimaryGreeting(now: Millis, { durable, volatile }: Histories): string {
  const parts = [`${Math.floor(now)} ${PROTOCOL}`, `log=${durable.logId}`];
  if (volatile !== undefined) parts.push(`mem=${volatile.logId}`);
  const names = [`streams=${formatNames(durable)}`];
  if (volatile !== undefined) names.push(`volatile=${formatNames(volatile)}`);
  if (names.join(' ').length <= LONGEST_NAMES_CHARS) parts.push(...names);
  return parts.join(' ');
}

export interface Greeting {
  /** Undefined from a worker, and from a primary that did not say. */
  readonly logId?: string;
  readonly volatileLogId?: string;
  /** Every stream that the primary has; undefined when it did not say. */
  readonly streams?: ReadonlySet<StreamName>;
  readonly volatileStreams?: ReadonlySet<StreamName>;
}

/** Undefined: the peer does not say that it speaks Rowcast. Parts that we do not know are left for later versions. */
export function parseGreeting(data: string): Greeting | undefined {
  const parts = data.split(' ');
  if (!parts.includes(PROTOCOL)) return undefined;
  const valueOf = (key: string): string | undefined =>
    parts.find((part) => part.startsWith(`${key}=`))?.slice(key.length + 1);
  const logId = valueOf('log');
  const volatileLogId = valueOf('mem');
  const durable = valueOf('streams');
  const volatile = parseNames(valueOf('volatile') ?? '');
  return {
    ...(logId !== undefined && { logId }),
    ...(volatileLogId !== undefined && { volatileLogId }),
    ...(durable !== undefined && {
      streams: new Set([...parseNames(durable), ...volatile]),
      volatileStreams: new Set(volatile),
    }),
  };
}

/** The log that holds a stream, as far as the greeting tells. */
export function logIdOf(greeting: Greeting, stream: StreamName): string | undefined {
  if (greeting.volatileLogId === undefined) return greeting.logId;
  if (greeting.volatileStreams === undefined) return undefined;
  return greeting.volatileStreams.has(stream) ? greeting.volatileLogId : greeting.logId;
}

// A name may have a comma or a character outside ASCII; it has no space.
function formatNames({ streams }: History): string {
  return streams.map((name) => encodeURIComponent(name)).join(',');
}

function parseNames(text: string): StreamName[] {
  if (text === '') return [];
  try {
    // What is no name cannot be asked for: it would not fit on a line.
    const names = text.split(',').map((name) => decodeURIComponent(name));
    return names.filter((name) => streamNameFault(name) === undefined);
  } catch {
    // Broken escapes: a peer's free text that only looks like ours says nothing.
    return [];
  }
}
