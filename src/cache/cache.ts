/**
 * The entries of one cache and the loads that fill it. An invalidation drops entries *and* running
 * loads: a load that began before it may have read the old value. The result of such a load goes to
 * its callers and is not kept.
 *
 *   read ──▶ load begins ─────────────▶ old value arrives: to its callers, not into the cache
 *                  invalidated ▲   read ──▶ a load of its own ──▶ new value: kept
 *
 * Knows no stream, worker or primary: Freshness tells whether invalidations arrive.
 */

import { LRUCache } from 'lru-cache';
import type { Millis } from '../base/clock.ts';
import { resolvable } from '../base/resolvable.ts';
import { UsageError } from '../core/model/errors.ts';
import { Drops } from './drops.ts';
import type { Freshness } from './freshness.ts';
import { areKeys, type CacheKey, canBeInvalidated, joinKeys, SEPARATOR } from './keys.ts';
import { PrefixIndex } from './prefix-index.ts';
import { type CacheStats, zeroCounts } from './stats.ts';

/**
 * What a read of a suspect entry does: load past the cache, serve the entry, or serve it while it
 * has been suspect for at most `maxStaleMs`.
 */
export type WhenSuspect = 'load' | 'serve' | { readonly maxStaleMs: Millis };

/** Loads the value of the keys, for a cache that does not have it. */
export type Load<Args extends readonly CacheKey[], Value> = (...keys: Args) => Promise<Value> | Value;

export interface CacheSettings {
  readonly name: string;
  /** How many keys an entry has. */
  readonly arity: number;
  readonly max: number;
  readonly prefixes: number;
  readonly whenSuspect: WhenSuspect;
  readonly freshness: Freshness;
}

interface Entry<Value> {
  readonly value: Value;
  /** Already resolved to the value. A hit returns it, so a hit allocates nothing. */
  readonly promise: Promise<Value>;
}

interface RunningLoad<Value> {
  readonly promise: Promise<Value>;
  /** Whether the result may be kept: false once an invalidation came during the load. */
  isKept: boolean;
}

export class Cache<Args extends readonly CacheKey[], Value> {
  readonly #settings: CacheSettings;
  readonly #freshness: Freshness;
  readonly #load: Load<Args, Value>;
  readonly #counts = zeroCounts();
  #entries: LRUCache<string, Entry<Value>>;
  readonly #loads = new Map<string, RunningLoad<Value>>();
  /** Indexes the keys that have an entry or a load. */
  readonly #index: PrefixIndex | undefined;
  /** For each running prefill, the keys that were dropped during it. */
  readonly #prefills = new Set<Drops>();

  constructor(settings: CacheSettings, load: Load<Args, Value>) {
    this.#settings = settings;
    this.#freshness = settings.freshness;
    this.#load = load;
    this.#entries = this.#makeEntries();
    // The full key finds an entry without an index.
    const depth = Math.min(settings.prefixes, settings.arity - 1);
    this.#index = depth > 0 ? new PrefixIndex(depth) : undefined;
  }

  /**
   * Resolves to the entry's value or to the result of a load. Rejects when the load does, and with
   * UsageError INVALID_KEY for a wrong number of keys.
   */
  read(keys: Args): Promise<Value> {
    if (keys.length !== this.#settings.arity) return Promise.reject(this.#wrongArity(keys));
    if (!areKeys(keys)) return Promise.reject(this.#wrongKeys());
    const key = joinKeys(keys);
    const hit = this.#hit(key);
    if (hit !== undefined) return hit;
    return this.#freshness.isLive ? this.#miss(keys, key, true) : this.#readSuspect(keys, key);
  }

  /** `read` for the usual entry of one key: a hit makes no array. */
  readOne(key: CacheKey): Promise<Value> {
    return (typeof key === 'string' ? this.#hit(key) : undefined) ?? this.read([key] as unknown as Args);
  }

  /** The value that a read would find, without a load. Does not count as a read. */
  peek(keys: Args): Value | undefined {
    if (!this.#freshness.isLive && !this.#isSuspectServed) return undefined;
    return this.#entries.peek(joinKeys(keys))?.value;
  }

  /**
   * Keeps many values that one `load` returns. A value whose keys are invalidated meanwhile is not
   * kept. While the cache is suspect none is kept.
   * @returns how many were kept
   */
  async prefill(
    load: () => Iterable<readonly [Args, Value]> | Promise<Iterable<readonly [Args, Value]>>,
  ): Promise<number> {
    const drops = new Drops();
    const isKept = this.#freshness.isLive;
    this.#prefills.add(drops);
    try {
      let kept = 0;
      for (const [keys, value] of await load()) {
        if (keys.length !== this.#settings.arity) throw this.#wrongArity(keys);
        if (!areKeys(keys)) throw this.#wrongKeys();
        if (!isKept || !canBeInvalidated(keys)) continue;
        const key = joinKeys(keys);
        if (drops.has(key)) {
          this.#counts.discardedFills++;
          continue;
        }
        this.#keep(key, value, Promise.resolve(value));
        kept++;
      }
      return kept;
    } finally {
      this.#prefills.delete(drops);
    }
  }

  /**
   * Drops the entry of these keys. Fewer keys than an entry has drop every entry under them; null
   * drops all. Extra keys come from code of another version: everything under the keys that count
   * is dropped.
   */
  drop(keys: readonly string[] | null): void {
    const { arity } = this.#settings;
    if (keys === null || (keys.length === 0 && arity > 0)) {
      this.#counts.invalidationsOfAll++;
      this.clear();
      return;
    }
    const prefix = joinKeys(keys.length > arity ? keys.slice(0, arity) : keys);
    for (const drops of this.#prefills) drops.add(prefix);
    if (keys.length >= arity) {
      this.#counts.invalidationsByKey++;
      this.#dropKey(prefix);
      return;
    }
    this.#counts.invalidationsByPrefix++;
    for (const key of this.#keysUnder(keys, prefix)) this.#dropKey(key);
  }

  /** Drops everything, and does not count it as invalidations. */
  clear(): void {
    for (const drops of this.#prefills) drops.addAll();
    this.dropLoads();
    // A new cache costs its capacity to build; dropping each entry costs the number of entries.
    const keys = this.#entries.size > this.#settings.max / 8 ? undefined : [...this.#entries.keys()];
    if (keys === undefined) this.#entries = this.#makeEntries();
    else for (const key of keys) this.#entries.delete(key);
    this.#index?.clear();
  }

  /** Detaches running loads: no read joins them, and their results are not kept. */
  dropLoads(): void {
    for (const key of this.#loads.keys()) {
      this.#dropLoad(key);
      if (!this.#entries.has(key)) this.#index?.delete(key);
    }
  }

  stats(): CacheStats {
    return { size: this.#entries.size, ...this.#counts };
  }

  #hit(key: string): Promise<Value> | undefined {
    if (!this.#freshness.isLive) return undefined;
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#counts.hits++;
    return entry.promise;
  }

  get #isSuspectServed(): boolean {
    const { whenSuspect } = this.#settings;
    const freshness = this.#freshness;
    if (whenSuspect === 'load' || !freshness.isAnchored) return false;
    return whenSuspect === 'serve' || freshness.suspectForMs <= whenSuspect.maxStaleMs;
  }

  #readSuspect(keys: Args, key: string): Promise<Value> {
    this.#counts.suspectReads++;
    const entry = this.#entries.get(key);
    const isServed = this.#isSuspectServed;
    // A value loaded now is as good as the served one: an invalidation missed meanwhile comes
    // again.
    if (!isServed || entry === undefined) return this.#miss(keys, key, isServed);
    this.#counts.suspectServed++;
    return entry.promise;
  }

  #miss(keys: Args, key: string, isKept: boolean): Promise<Value> {
    this.#counts.misses++;
    const running = this.#loads.get(key);
    if (running !== undefined) {
      this.#counts.loadsShared++;
      return running.promise;
    }
    const { promise, resolve } = resolvable<Value>();
    if (canBeInvalidated(keys)) {
      // Set before the load begins, so that an invalidation made by the load itself finds it.
      const load = { promise, isKept };
      this.#loads.set(key, load);
      this.#index?.add(key);
      // Registered first, so the value is stored before any caller resumes.
      promise.then(
        (value) => this.#handleLoaded(key, load, value),
        () => this.#handleFailed(key, load),
      );
    }
    try {
      resolve(this.#load(...keys));
    } catch (thrown) {
      resolve(Promise.reject(thrown));
    }
    return promise;
  }

  #handleLoaded(key: string, load: RunningLoad<Value>, value: Value): void {
    this.#forget(key, load);
    if (load.isKept) this.#keep(key, value, load.promise);
  }

  #handleFailed(key: string, load: RunningLoad<Value>): void {
    this.#counts.loadsFailed++;
    this.#forget(key, load);
  }

  /** Removes a finished load. Another load may run under its key by now. */
  #forget(key: string, load: RunningLoad<Value>): void {
    if (this.#loads.get(key) !== load) return;
    this.#loads.delete(key);
    if (!this.#entries.has(key)) this.#index?.delete(key);
  }

  #keep(key: string, value: Value, promise: Promise<Value>): void {
    this.#index?.add(key);
    this.#entries.set(key, { value, promise });
  }

  #dropKey(key: string): void {
    this.#entries.delete(key);
    this.#dropLoad(key);
    this.#index?.delete(key);
  }

  #dropLoad(key: string): void {
    const load = this.#loads.get(key);
    if (load === undefined) return;
    this.#loads.delete(key);
    if (load.isKept) this.#counts.discardedFills++;
    load.isKept = false;
  }

  #keysUnder(keys: readonly string[], prefix: string): string[] {
    const depth = Math.min(this.#settings.prefixes, keys.length);
    if (this.#index === undefined) {
      const all = [...this.#entries.keys(), ...this.#loads.keys()];
      return all.filter((key) => key.startsWith(prefix + SEPARATOR));
    }
    if (depth === keys.length) return [...this.#index.under(prefix, depth)];
    const near = this.#index.under(joinKeys(keys.slice(0, depth)), depth);
    return [...near].filter((key) => key.startsWith(prefix + SEPARATOR));
  }

  #makeEntries(): LRUCache<string, Entry<Value>> {
    return new LRUCache<string, Entry<Value>>({
      max: this.#settings.max,
      dispose: (_entry, key, reason) => {
        if (reason !== 'evict') return;
        this.#counts.evictions++;
        if (!this.#loads.has(key)) this.#index?.delete(key);
      },
    });
  }

  #wrongKeys(): UsageError {
    return new UsageError(
      'INVALID_KEY',
      `cache ${this.#settings.name} was asked with a key that is neither a string nor a number, a bigint or a boolean`,
    );
  }

  #wrongArity({ length }: Args): UsageError {
    const { name, arity } = this.#settings;
    return new UsageError(
      'INVALID_KEY',
      `cache ${name} takes ${arity} key(s), and was asked with ${length}: the option arity says how many where parameters are optional or rest`,
    );
  }
}
