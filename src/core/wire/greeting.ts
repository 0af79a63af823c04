/**
 * How Rowcast introduces itself in the data of its first PING (docs/protocol.md, "Greeting"). A
 * worker sends `<ms> rowcast/2 attr`, a primary `<ms> rowcast/2 log=<era> mem=<era>`, with one
 * `src=<era>` for each further source. Any other peer takes it as free text.
 */

import type { Millis } from '../../base/clock.ts';
import { type History, logIdOf, parseHistory } from '../model/history.ts';

/** The present era of each log of a primary, and of each further source. */
export interface PrimaryEras {
  readonly durable: History;
  readonly volatile: History;
  readonly others: readonly History[];
}

/** The most sources of one primary, its two logs included. Their eras fit on one PING line. */
export const MAX_SOURCES = 16;

const PROTOCOL = 'rowcast/2';
/** Stands before the era of each further source. */
const OTHER = 'src=';

export interface WorkerGreeting {
  /** The worker asks for ATTR. */
  readonly wantsAttributes: boolean;
}

export function formatWorkerGreeting(now: Millis, { wantsAttributes }: WorkerGreeting): string {
  return `${Math.floor(now)} ${PROTOCOL}${wantsAttributes ? ' attr' : ''}`;
}

export function formatPrimaryGreeting(now: Millis, { durable, volatile, others }: PrimaryEras): string {
  const further = others.map((era) => ` ${OTHER}${era}`).join('');
  return `${Math.floor(now)} ${PROTOCOL} log=${durable} mem=${volatile}${further}`;
}

/**
 * Returns undefined when the worker does not say that it speaks rowcast/2. Unknown words are left
 * for later versions.
 */
export function parseWorkerGreeting(data: string): WorkerGreeting | undefined {
  const words = data.split(' ');
  return words.includes(PROTOCOL) ? { wantsAttributes: words.includes('attr') } : undefined;
}

/**
 * Returns undefined when the primary does not say that it speaks rowcast/2. Also when its eras are
 * missing, malformed, too many, or two of them are of one log: then its promises are worth nothing.
 */
export function parsePrimaryGreeting(data: string): PrimaryEras | undefined {
  const words = data.split(' ');
  if (!words.includes(PROTOCOL)) return undefined;
  const durable = valueOf(words, 'log=');
  const volatile = valueOf(words, 'mem=');
  const others = words.filter((word) => word.startsWith(OTHER)).map((word) => word.slice(OTHER.length));
  if (durable === undefined || volatile === undefined) return undefined;
  if (others.some((other) => parseHistory(other) === undefined)) return undefined;
  const all = [durable, volatile, ...others];
  if (all.length > MAX_SOURCES || new Set(all.map(logIdOf)).size < all.length) return undefined;
  return { durable, volatile, others };
}

/** The present era of the log that has this id. */
export function eraOf({ durable, volatile, others }: PrimaryEras, logId: string): History | undefined {
  if (logIdOf(durable) === logId) return durable;
  if (logIdOf(volatile) === logId) return volatile;
  return others.find((other) => logIdOf(other) === logId);
}

/** The same eras once the log of this era has begun it. */
export function withEra(eras: PrimaryEras, era: History): PrimaryEras {
  const renew = (before: History): History => (logIdOf(before) === logIdOf(era) ? era : before);
  return { durable: renew(eras.durable), volatile: renew(eras.volatile), others: eras.others.map(renew) };
}

/** The eras of all logs and sources. */
export function allEras({ durable, volatile, others }: PrimaryEras): History[] {
  return [durable, volatile, ...others];
}

function valueOf(words: readonly string[], key: string): History | undefined {
  const value = words.find((word) => word.startsWith(key))?.slice(key.length);
  return value !== undefined && parseHistory(value) !== undefined ? value : undefined;
}
