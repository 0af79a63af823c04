/**
 * Groups: every process expands one row to many invalidations, by a function that all of them know.
 */

import { HandlerError, messageOf, quote } from '../core/model/errors.ts';
import { integerFrom, required } from '../core/model/option-kinds.ts';
import type { OptionTable } from '../core/model/options.ts';
import type { Invalidation } from './invalidation.ts';
import { type CacheKey, keyTexts } from './keys.ts';

/** Expands one row of the group. Pure: every process must get the same result. */
export type Expand = (
  keys: readonly [string, ...string[]],
) => Iterable<readonly [cacheName: string, keys: readonly CacheKey[] | null]>;

/**
 * How a row with too many keys is cut. Each part repeats the first `head` keys and has at most
 * `size` of the others.
 */
export interface Chunking {
  /** How many leading keys each row repeats. */
  readonly head: number;
  /** Default: as many as fit a line. */
  readonly size?: number;
}

export interface Group {
  readonly name: string;
  readonly expand: Expand;
  readonly chunk: Chunking | undefined;
}

export const chunkingTable: OptionTable<Chunking> = { head: required(integerFrom(0)), size: integerFrom(1) };

/**
 * The invalidations that a row of the group stands for.
 * @throws HandlerError GROUP_FAILED
 */
export function expandGroup({ name, expand }: Group, keys: readonly string[]): Invalidation[] {
  const [first, ...others] = keys;
  if (first === undefined)
    throw new HandlerError('GROUP_FAILED', `group ${name} came without a key, expected at least one`);
  try {
    return [...expand([first, ...others])].map(([cacheName, cacheKeys]) => [
      cacheName,
      cacheKeys === null ? null : keyTexts(cacheName, cacheKeys),
    ]);
  } catch (cause) {
    throw new HandlerError(
      'GROUP_FAILED',
      `group ${name} failed at keys ${quote(JSON.stringify(keys))}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

/**
 * Cuts keys that are too many for one row.
 * @param maxBytes the most bytes of the keys of one row as JSON
 */
export function cutKeys(keys: readonly string[], { head, size = Infinity }: Chunking, maxBytes: number): string[][] {
  const start = keys.slice(0, head);
  const startBytes = jsonBytes(start);
  const chunks = [[...start]];
  let count = 0;
  let bytes = startBytes;
  for (const key of keys.slice(head)) {
    // The comma before the key counts too.
    const keyBytes = jsonBytes(key) + 1;
    // One key always goes in, even if it does not fit: the append then refuses the row and says
    // why.
    if (count > 0 && (count >= size || bytes + keyBytes > maxBytes)) {
      chunks.push([...start]);
      count = 0;
      bytes = startBytes;
    }
    chunks.at(-1)!.push(key);
    count++;
    bytes += keyBytes;
  }
  return chunks;
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
