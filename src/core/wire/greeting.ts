/**
 * How Rowcast introduces itself in the data of its first PING (docs/protocol.md, "Greeting"). A
 * worker sends `<ms> rowcast/2 attr`, a primary `<ms> rowcast/2 log=<era> mem=<era>`, and `src=<era>`
 * for each further source. Any other peer takes it as free text.
 */

import type { Millis } from '../../base/clock.ts';
import { type History, logIdOf, parseHistory } from '../model/history.ts';

/** The present era of each source of a primary. */
export interface PrimaryEras {
  readonly durable: History;
  readonly volatile: History;
  /** Of the sources beside the primary's own two logs. */
  readonly others: readonly History[];
}

/** The most sources of one primary, its two logs included: the greeting names each on one line. */
export const MAX_SOURCES: number = 16;

/** All of them, in the order of the greeting. */
export function erasOf({ durable, volatile, others }: PrimaryEras): History[] {
  return [durable, volatile, ...others];
}

const PROTOCOL = 'rowcast/2';

export interface WorkerGreeting {
  /** The worker asks for ATTR. */
  readonly wantsAttributes: boolean;
}

export function formatWorkerGreeting(now: Millis, { wantsAttributes }: WorkerGreeting): string {
  return `${Math.floor(now)} ${PROTOCOL}${wantsAttributes ? ' attr' : ''}`;
}

export function formatPrimaryGreeting(now: Millis, { durable, volatile, others }: PrimaryEras): string {
  const further = others.map((era) => ` src=${era}`).join('');
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
 * missing, malformed, too many or two of one log: then its promises are worth nothing.
 */
export function parsePrimaryGreeting(data: string): PrimaryEras | undefined {
  const words = data.split(' ');
  if (!words.includes(PROTOCOL)) return undefined;
  const [durable] = valuesOf(words, 'log=');
  const [volatile] = valuesOf(words, 'mem=');
  const others = valuesOf(words, 'src=');
  if (durable === undefined || volatile === undefined) return undefined;
  const eras = [durable, volatile, ...others];
  const logIds = new Set(eras.map(logIdOf));
  const isSound = eras.every((era) => parseHistory(era) !== undefined) && logIds.size === eras.length;
  return isSound && eras.length <= MAX_SOURCES ? { durable, volatile, others } : undefined;
}

function valuesOf(words: readonly string[], key: string): string[] {
  return words.filter((word) => word.startsWith(key)).map((word) => word.slice(key.length));
}
