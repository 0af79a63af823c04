/**
 * Keys: what an entry is looked up by. Everywhere they are compared as text, so 5 and '5' are the
 * same key.
 */

import { quote, UsageError } from '../core/model/errors.ts';

export type CacheKey = string | number | bigint | boolean;

/** Stands between the keys of an entry; no key that can be invalidated has it. */
export const SEPARATOR = '\0';

/** The keys of an entry, or the first few of them, as one text. */
export function joinKeys(keys: readonly CacheKey[]): string {
  return keys.length === 1 ? String(keys[0]) : keys.join(SEPARATOR);
}

/**
 * Whether a row can say the keys, and joined they can be told from any others. What cannot be
 * invalidated is not kept.
 */
export function canBeInvalidated(keys: readonly CacheKey[]): boolean {
  return keys.every((key) => typeof key !== 'string' || faultOf(key) === undefined);
}

/**
 * The keys as they stand in a row.
 * @throws UsageError INVALID_KEY
 */
export function keyTexts(cacheName: string, keys: readonly unknown[]): string[] {
  if (!Array.isArray(keys)) throw refuse(cacheName, 'keys are a list');
  return keys.map((key) => {
    if (!isKey(key))
      throw refuse(
        cacheName,
        `a key is a string, a number, a bigint or a boolean, not ${key === null ? 'null' : typeof key}`,
      );
    const text = String(key);
    const fault = faultOf(text);
    if (fault !== undefined) throw refuse(cacheName, `${quote(text)} ${fault}`);
    return text;
  });
}

/** What JavaScript may give beside: an object would be found by the text that all objects have. */
export function areKeys(keys: readonly unknown[]): boolean {
  for (let i = 0; i < keys.length; i++) if (!isKey(keys[i])) return false;
  return true;
}

function isKey(key: unknown): key is CacheKey {
  return typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint' || typeof key === 'boolean';
}

function faultOf(text: string): string | undefined {
  if (text.includes(SEPARATOR)) return 'has a NUL character';
  // JSON would carry it, UTF-8 does not: what comes out at the other end is another key.
  if (!text.isWellFormed()) return 'has half a character (a lone surrogate)';
  return undefined;
}

function refuse(cacheName: string, why: string): UsageError {
  return new UsageError('INVALID_KEY', `a key of cache ${quote(cacheName)} is refused: ${why}`);
}
