/** A token: a place in one stream. */

import { UsageError } from './errors.ts';

/** A safe integer from 0. Tokens of one stream rise from batch to batch and may skip numbers. */
export type Token = number;

/**
 * Checks a token from outside; inside Rowcast tokens are trusted.
 * @throws UsageError INVALID_TOKEN
 */
export function token(value: number): Token {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new UsageError('INVALID_TOKEN', `a token is an integer from 0 to ${Number.MAX_SAFE_INTEGER}, not ${value}`);
  }
  return value;
}

// 2^53 - 1 has 16 digits. A longer text is too large or padded, and is never read as a number.
const DECIMAL = /^[0-9]{1,16}$/;

/** Reads a token as Rowcast writes it. Returns undefined when the text is no token. */
export function parseToken(text: string): Token | undefined {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * Reads a token from a peer that may be a real Synapse. Synapse sends -1; a negative token means 0.
 */
export function parseSeedToken(text: string): Token | undefined {
  if (!text.startsWith('-')) return parseToken(text);
  return parseToken(text.slice(1)) === undefined ? undefined : 0;
}
