/**
 * How Rowcast introduces itself in the data of its first PING (docs/protocol.md, "Greeting"). A
 * worker sends `<ms> rowcast/2 attr`, a primary `<ms> rowcast/2 log=<era> mem=<era>`. Any other
 * peer takes it as free text.
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
  /** The worker asks for ATTR. */
  readonly wantsAttributes: boolean;
}

export function formatWorkerGreeting(now: Millis, { wantsAttributes }: WorkerGreeting): string {
  return `${Math.floor(now)} ${PROTOCOL}${wantsAttributes ? ' attr' : ''}`;
}

export function formatPrimaryGreeting(now: Millis, { durable, volatile }: PrimaryEras): string {
  return `${Math.floor(now)} ${PROTOCOL} log=${durable} mem=${volatile}`;
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
 * missing, malformed or of one log: then its promises are worth nothing.
 */
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
