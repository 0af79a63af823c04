/**
 * A history: the log that wrote a row, and the era in which it did (docs/protocol.md, "Histories").
 */

import { UsageError } from './errors.ts';

/**
 * `logId.number.random`: 16 hex digits, an integer, 8 hex digits. Two histories are the same
 * exactly when their texts are.
 */
export type History = string;

/** A stretch of writing. Each open of a log for writing begins one. */
export interface Era {
  /** Rises from era to era of one log. */
  readonly number: number;
  /** 8 hex digits. They tell apart two copies of a log that go on with the same number. */
  readonly random: string;
}

export interface HistoryParts extends Era {
  readonly logId: string;
}

/** The length of the id of a log, in hexadecimal digits. */
export const LOG_ID_DIGITS = 16;
export const ERA_RANDOM_DIGITS = 8;

/** The era before the first row, as text. Every history has it. */
export const ORIGIN_ERA = '0.00000000';

const ERA = '(0|[1-9][0-9]{0,15})\\.([0-9a-f]{8})';
const HISTORY_PATTERN = new RegExp(`^([0-9a-f]{16})\\.${ERA}$`);
const ERA_PATTERN = new RegExp(`^${ERA}$`);
const LOG_ID_PATTERN = /^[0-9a-f]{16}$/;

/** A history as text, `logId.number.random`. */
export function formatHistory({ logId, number, random }: HistoryParts): History {
  return `${logId}.${formatEra({ number, random })}`;
}

export function formatEra({ number, random }: Era): string {
  return `${number}.${random}`;
}

/**
 * The history of token 0 of a stream that never dropped a row. It is on every history of its log.
 */
export function originOf(logId: string): History {
  return `${logId}.${ORIGIN_ERA}`;
}

/** Returns undefined when the text is no history. */
export function parseHistory(text: string): HistoryParts | undefined {
  const match = HISTORY_PATTERN.exec(text);
  if (match === null) return undefined;
  const number = Number(match[2]);
  return Number.isSafeInteger(number) ? { logId: match[1]!, number, random: match[3]! } : undefined;
}

/** Returns undefined when the text is no era. */
export function parseEra(text: string): Era | undefined {
  const match = ERA_PATTERN.exec(text);
  const number = Number(match?.[1]);
  return match !== null && Number.isSafeInteger(number) ? { number, random: match[2]! } : undefined;
}

export function isLogId(text: string): boolean {
  return LOG_ID_PATTERN.test(text);
}

/**
 * Checks a history from outside; inside Rowcast histories are trusted.
 * @throws UsageError INVALID_POSITION
 */
export function history(text: string): History {
  if (parseHistory(text) !== undefined) return text;
  throw new UsageError(
    'INVALID_POSITION',
    `a history is logId.number.random, as in 8f3c1d2e4b5a6978.1764281400.a1b2c3d4`,
  );
}

/** The log id of a valid history. */
export function logIdOf(of: History): string {
  return of.slice(0, LOG_ID_DIGITS);
}

/** The era of a valid history, as text: `number.random`. */
export function eraTextOf(of: History): string {
  return of.slice(LOG_ID_DIGITS + 1);
}

/** The era number of a valid history. */
export function eraNumberOf(of: History): number {
  return Number(of.slice(LOG_ID_DIGITS + 1, of.lastIndexOf('.')));
}
