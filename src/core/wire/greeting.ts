/**
 * What Rowcast says of itself in the data of its first PING (docs/protocol.md, "Between Rowcast peers"):
 * `<ms> rowcast/2 log=<era> mem=<era>` from a primary, `<ms> rowcast/2 attr` from a worker. To any other peer it is free text.
 */

import type { Millis } from '../../base/clock.ts';
import { type History, logIdOf, parseHistory } from '../model/history.ts';

/** The present era of each log of a primary. */
export interface PrimaryEras {
  readonly durable: History;
  readonly volatile: History;
}

const PROTOCOL = 'rowcast/2';

export interface WorkerGreeting {
  /** It asks for ATTR. */
  readonly wantsAttributes: boolean;
}

export function formatWorkerGreeting(now: Millis, { wantsAttributes }: WorkerGreeting): string {
  return `${Math.floor(now)} ${PROTOCOL}${wantsAttributes ? ' attr' : ''}`;
}

export function formatPrimaryGreeting(now: Millis, { durable, volatile }: PrimaryEras): string {
  return `${Math.floor(now)} ${PROTOCOL} log=${durable} mem=${volatile}`;
}

/** Undefined: the worker does not say that it speaks rowcast/2. Words that are not known are left for later versions. */
export function parseWorkerGreeting(data: string): WorkerGreeting | undefined {
  const words = data.split(' ');
  return words.includes(PROTOCOL) ? { wantsAttributes: words.includes('attr') } : undefined;
}

/** Undefined: the primary does not say that it speaks rowcast/2, or not in the form that makes its promises worth anything. */
export function parsePrimaryGreeting(data: string): PrimaryEras | undefined {
  const words = data.split(' ');
  if (!words.includes(PROTOCOL)) return undefined;
  const durable = valueOf(words, 'log=');
  const volatile = valueOf(words, 'mem=');
  if (durable === undefined || volatile === undefined || logIdOf(durable) === logIdOf(volatile)) return undefined;
  return { durable, volatile };
}

function valueOf(words: readonly string[], key: string): History | undefined {
  const value = words.find((word) => word.startsWith(key))?.slice(key.length);
  return value !== undefined && parseHistory(value) !== undefined ? value : undefined;
}
