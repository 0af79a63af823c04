/** Keys identify an entry. They are compared as text everywhere, so 5 and '5' are the same key. */

import { quote, UsageError } from '../core/model/errors.ts';

/** A key of an entry, or one part of it. */
export type CacheKey = string | number | bigint | boolean;

/** Separates the keys of an entry. No key that can be invalidated contains it. */
export const SEPARATOR = '\0';

/** Joins all the keys of an entry, or the first few, to one text. */
export function joinKeys(keys: readonly CacheKey[]): string {
  return keys.length === 1 ? String(keys[0]) : keys.join(SEPARATOR);
}

/**
 * Whether a row can carry the keys, and their joined text is unambiguous. A result under other keys
 * is not kept.
 */
export function canBeInvalidated(keys: readonly CacheKey[]): boolean {
  return keys.every((key) => typeof key !== 'string' || faultOf(key) === undefined);
}

/**
 * The keys as a row carries them.
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

/** Guards against callers in JavaScript: all objects would share one key, their default text. */
export function areKeys(keys: readonly unknown[]): boolean {
  for (let i = 0; i < keys.length; i++) if (!isKey(keys[i])) return false;
  return true;
}

function isKey(key: unknown): key is CacheKey {
  return typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint' || typeof key === 'boolean';
}

function faultOf(text: string): string | undefined {
  if (text.includes(SEPARATOR)) return 'has a NUL character';
  // JSON would carry it, but UTF-8 does not: another key would arrive.
  if (!text.isWellFormed()) return 'has half a character (a lone surrogate)';
  return undefined;
}

function refuse(cacheName: string, why: string): UsageError {
  return new UsageError('INVALID_KEY', `a key of cache ${quote(cacheName)} is refused: ${why}`);
}
