/**
 * The caches and groups that a process knows by name, and the effect of a row of the stream on
 * them. Does not know where the stream comes from.
 */

import { HandlerError, PeerError, quote, quoteValue, UsageError } from '../core/model/errors.ts';
import { type Chunking, cutKeys, type Expand, expandGroup, type Group } from './groups.ts';
import { type Invalidation, parseInvalidation } from './invalidation.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { CacheStats } from './stats.ts';

/** A cache as invalidations see it. A method may have one for each instance. */
export interface Target {
  drop(keys: readonly string[] | null): void;
  clear(): void;
  dropLoads(): void;
  stats(): CacheStats;
}

export class Registry {
  readonly #targets = new Map<string, Target>();
  readonly #groups = new Map<string, Group>();
  /** How many invalidations named a cache that this process does not know. */
  unknownNames = 0;

  /**
   * Registers a cache.
   * @throws UsageError INVALID_OPTION, DUPLICATE_CACHE
   */
  add(name: string, target: Target): void {
    this.#checkName(name);
    this.#targets.set(name, target);
  }

  /**
   * Registers a group.
   * @throws UsageError INVALID_OPTION, DUPLICATE_CACHE
   */
  addGroup(name: string, expand: Expand, chunk: Chunking | undefined): void {
    this.#checkName(name);
    this.#groups.set(name, { name, expand, chunk });
  }

  /**
   * Drops the entries that an invalidation names, be it of this process or a row from another one.
   * Drops everything when it cannot understand the row.
   * @throws PeerError INVALID_ROW, HandlerError GROUP_FAILED; everything is dropped by then
   */
  apply(invalidation: Invalidation | { readonly stream: StreamName; readonly row: unknown }): void {
    try {
      const [name, keys] =
        'row' in invalidation ? parseInvalidation(invalidation.stream, invalidation.row) : invalidation;
      const group = this.#groups.get(name);
      if (group === undefined) return this.#drop(name, keys);
      for (const [cacheName, cacheKeys] of this.#expand(group, keys)) this.#drop(cacheName, cacheKeys);
    } catch (thrown) {
      this.clear();
      throw thrown;
    }
  }

  /**
   * The keys for each row that an invalidation needs. A group with many keys is cut into several
   * rows.
   * @param maxBytes the most bytes of the keys of one row as JSON
   */
  cut(name: string, keys: readonly string[], maxBytes: number): (readonly string[])[] {
    const chunk = this.#groups.get(name)?.chunk;
    return chunk === undefined ? [keys] : cutKeys(keys, chunk, maxBytes);
  }

  isGroup(name: string): boolean {
    return this.#groups.has(name);
  }

  /** Drops all entries, and detaches all running loads. */
  clear(): void {
    for (const target of this.#targets.values()) target.clear();
  }

  dropLoads(): void {
    for (const target of this.#targets.values()) target.dropLoads();
  }

  stats(): Record<string, CacheStats> {
    return Object.fromEntries([...this.#targets].map(([name, target]) => [name, target.stats()]));
  }

  #drop(name: string, keys: readonly string[] | null): void {
    const target = this.#targets.get(name);
    if (target === undefined) this.unknownNames++;
    else target.drop(keys);
  }

  #expand(group: Group, keys: readonly string[] | null): Invalidation[] {
    if (keys === null)
      throw new PeerError(
        'INVALID_ROW',
        `group ${group.name} came without keys, expected a list: a group cannot be dropped as a whole`,
      );
    const invalidations = expandGroup(group, keys);
    for (const [name] of invalidations) {
      if (this.#groups.has(name))
        throw new HandlerError(
          'GROUP_FAILED',
          `group ${group.name} stands for group ${name}: a group stands for caches`,
        );
    }
    return invalidations;
  }

  #checkName(name: string): void {
    checkCacheName(name);
    if (this.#targets.has(name) || this.#groups.has(name)) {
      throw new UsageError(
        'DUPLICATE_CACHE',
        `${quote(name)} is defined already: the name of a cache or group means one thing in all processes`,
      );
    }
  }
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const FORBIDDEN = /[\s\u0000-\u0020\u007f-\u009f]/u;

/**
 * Checks that a name fits a row and the command INVALIDATE_CACHE.
 * @throws UsageError INVALID_OPTION
 */
export function checkCacheName(name: unknown): asserts name is string {
  if (typeof name === 'string' && name !== '' && !FORBIDDEN.test(name) && name.isWellFormed()) return;
  throw new UsageError(
    'INVALID_OPTION',
    `the name of a cache is a word without spaces or control characters, not ${quoteValue(name)}`,
  );
}
