/**
 * The caches and groups that a process knows by name, and what a row of the stream does to them.
 * Knows no stream's source.
 */

import { HandlerError, PeerError, quote, quoteValue, UsageError } from '../core/model/errors.ts';
import { type Chunking, checkChunking, cutKeys, type Expand, expandGroup, type Group } from './groups.ts';
import { type Invalidation, parseInvalidation } from './invalidation.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { CacheStats } from './stats.ts';

/** A cache as invalidations see it; of a method there may be one for each instance. */
export interface Target {
  drop(keys: readonly string[] | null): void;
  clear(): void;
  dropLoads(): void;
  stats(): CacheStats;
}

export class Registry {
  readonly #targets = new Map<string, Target>();
  readonly #groups = new Map<string, Group>();
  /** Invalidations of names that this process does not know. */
  unknownNames = 0;

  /** @throws UsageError INVALID_OPTION, DUPLICATE_CACHE */
  add(name: string, target: Target): void {
    this.#checkName(name);
    this.#targets.set(name, target);
  }

  /** @throws UsageError INVALID_OPTION, DUPLICATE_CACHE */
  addGroup(name: string, expand: Expand, chunk: Chunking | undefined): void {
    this.#checkName(name);
    if (chunk !== undefined) checkChunking(name, chunk);
    this.#groups.set(name, { name, expand, chunk });
  }

  /**
   * Drops what an invalidation names: one of this process, or a row that came from elsewhere. What
   * cannot be understood drops everything, rather than guess.
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
   * The keys of each row that an invalidation takes: more than one for a group that is cut.
   * @param maxBytes what the keys of one row may take as JSON
   */
  cut(name: string, keys: readonly string[], maxBytes: number): (readonly string[])[] {
    const chunk = this.#groups.get(name)?.chunk;
    return chunk === undefined ? [keys] : cutKeys(keys, chunk, maxBytes);
  }

  isGroup(name: string): boolean {
    return this.#groups.has(name);
  }

  /** Nothing that is kept or being loaded is used any more. */
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
 * A name fits into a row and into the command INVALIDATE_CACHE.
 * @throws UsageError INVALID_OPTION
 */
export function checkCacheName(name: unknown): asserts name is string {
  if (typeof name === 'string' && name !== '' && !FORBIDDEN.test(name) && name.isWellFormed()) return;
  throw new UsageError(
    'INVALID_OPTION',
    `the name of a cache is a word without spaces or control characters, not ${quoteValue(name)}`,
  );
}
