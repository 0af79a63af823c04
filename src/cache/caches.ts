/**
 * Cached functions and methods by name, on either side of the stream. How each side spreads
 * invalidations: primary-caches and worker-caches.
 */

import { quote, UsageError } from '../core/model/errors.ts';
import { aFunction, anyText, integerFrom, kind, msFromZero, nested } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type Kind, optionError, type OptionTable } from '../core/model/options.ts';
import { nameOf, type Stream, streamKind, type StreamName } from '../core/model/stream.ts';
import { Cache, type CacheSettings, type Load, type WhenSuspect } from './cache.ts';
import type { Freshness } from './freshness.ts';
import { type Chunking, chunkingTable, type Expand } from './groups.ts';
import { Instances } from './instances.ts';
import { DEFAULT_STREAM } from './invalidation.ts';
import { type CacheKey, keyTexts } from './keys.ts';
import { checkCacheName, Registry } from './registry.ts';
import type { CacheStats } from './stats.ts';

/** Options of `createCaches`. */
export interface CachesOptions {
  /** The stream that carries invalidations. Default `caches`. */
  readonly stream?: Stream | StreamName;
  /** For caches without a setting of their own. Default `load`. */
  readonly whenSuspect?: WhenSuspect;
}

const whenSuspectKind: Kind<WhenSuspect> = kind("'load', 'serve' or { maxStaleMs }, a number of ms from 0", (value) => {
  if (value === 'load' || value === 'serve') return true;
  if (typeof value !== 'object' || value === null) return false;
  return (
    Object.keys(value).join() === 'maxStaleMs' && msFromZero.accepts((value as { maxStaleMs: unknown }).maxStaleMs)
  );
});

export const cachesTable: OptionTable<CachesOptions> = { stream: streamKind, whenSuspect: whenSuspectKind };

/** Options of `Caches.cached` for a function. */
export interface CacheOptions {
  /** The most entries; the least recently used one is evicted. Default 10,000. */
  readonly max?: number;
  /**
   * Indexes entries by their first key, first two keys and so on up to this many, so that dropping
   * a prefix costs only the dropped entries. Default 0: dropping a prefix scans the whole cache.
   */
  readonly prefixes?: number;
  /**
   * What a read does while this worker is not live on the stream: `load` past the cache (default),
   * `serve` the entry, or serve it for at most `maxStaleMs`.
   */
  readonly whenSuspect?: WhenSuspect;
  /**
   * How many keys an entry has. Default: the number of parameters before the first one with a
   * default value.
   */
  readonly arity?: number;
}

/** Options of `Caches.cached` for a method. */
export interface MethodCacheOptions extends CacheOptions {
  /** Default: the method's name. */
  readonly name?: string;
}

const cacheTable: OptionTable<CacheOptions> = {
  max: integerFrom(1),
  prefixes: integerFrom(0),
  whenSuspect: whenSuspectKind,
  arity: integerFrom(0),
};

const methodTable: OptionTable<MethodCacheOptions> = { ...cacheTable, name: anyText };

/** Options of `Caches.group`. */
export interface GroupOptions {
  /** How a row with too many keys is cut. Default: it is not. */
  readonly chunk?: Chunking;
}

const groupTable: OptionTable<GroupOptions> = { chunk: nested(chunkingTable) };

/** All keys, or the first few of them. */
type Leading<Keys extends readonly unknown[]> = Keys extends readonly [unknown, ...infer Rest]
  ? Rest extends readonly []
    ? Keys
    : Keys extends readonly [...infer First, unknown]
      ? Keys | Leading<First>
      : Keys
  : Keys;

/**
 * A function whose results are kept until they are invalidated. `Receipt` is the position of the
 * invalidation on the primary, and void on a worker.
 */
export interface CachedFunction<Keys extends readonly CacheKey[], Value, Receipt> {
  (...keys: Keys): Promise<Value>;
  readonly cacheName: string;
  /**
   * Drops the entry here at once and everywhere by the stream. Fewer keys drop every entry under
   * them.
   * @throws UsageError INVALID_KEY, and as `Caches.invalidate`
   */
  invalidate(...keys: Leading<Keys>): Promise<Receipt>;
  /**
   * Keeps many values that one `load` returns. A value whose keys are invalidated meanwhile is not
   * kept. While the cache is suspect none is kept.
   * @returns how many were kept
   */
  prefill(load: () => Iterable<readonly [Keys, Value]> | Promise<Iterable<readonly [Keys, Value]>>): Promise<number>;
  /** The value that a call would find, without a load. Does not count as a read. */
  peek(...keys: Keys): Value | undefined;
  /** Drops everything in this process only. */
  clear(): void;
  /** The counters since the start. */
  stats(): CacheStats;
}

type Method<This, Keys extends readonly CacheKey[], Value> = (this: This, ...keys: Keys) => Promise<Value>;

/** A standard (TC39) method decorator. */
export type CachedMethodDecorator = <This extends object, Keys extends readonly CacheKey[], Value>(
  method: Method<This, Keys, Value>,
  context: ClassMethodDecoratorContext<This, Method<This, Keys, Value>>,
) => Method<This, Keys, Value>;

/** The state of all caches of a process, and the counters of each by name. */
export interface AllCachesStats {
  /** False while entries are suspect. Always true on the primary. */
  readonly isLive: boolean;
  /** How many invalidations named a cache that this process does not know. */
  readonly unknownNames: number;
  readonly caches: Readonly<Record<string, CacheStats>>;
}

const DEFAULT_MAX = 10_000;

/** The caches of a process by name. `createCaches` makes them. */
export abstract class Caches<Receipt> {
  /** The stream that carries invalidations, as `waitFor` takes it. */
  readonly stream: StreamName;
  /** @internal */
  protected readonly registry: Registry = new Registry();
  /** @internal */
  protected abstract readonly freshness: Freshness;
  readonly #whenSuspect: WhenSuspect;

  constructor({ stream = DEFAULT_STREAM, whenSuspect = 'load' }: CachesOptions) {
    this.stream = nameOf(stream);
    this.#whenSuspect = whenSuspect;
  }

  /**
   * Keeps the results of a function, under a name that means the same in all processes. Concurrent
   * calls with the same keys share one call; a rejection is not kept. All callers share the kept
   * value: do not change it.
   * @throws UsageError DUPLICATE_CACHE, INVALID_OPTION
   */
  cached<Keys extends readonly CacheKey[], Value>(
    name: string,
    load: Load<Keys, Value>,
  ): CachedFunction<Keys, Value, Receipt>;
  cached<Keys extends readonly CacheKey[], Value>(
    name: string,
    options: CacheOptions,
    load: Load<Keys, Value>,
  ): CachedFunction<Keys, Value, Receipt>;
  /**
   * Keeps the results of a class's method: `@caches.cached({ max: 500 })`. Each instance has its
   * own entries.
   * @throws UsageError DUPLICATE_CACHE, INVALID_OPTION
   */
  cached(options?: MethodCacheOptions): CachedMethodDecorator;
  cached<Keys extends readonly CacheKey[], Value>(
    first: string | MethodCacheOptions = {},
    second?: CacheOptions | Load<Keys, Value>,
    third?: Load<Keys, Value>,
  ): CachedFunction<Keys, Value, Receipt> | CachedMethodDecorator {
    if (typeof first !== 'string') return this.#decorator(checkOptions('cached', first, methodTable));
    const load = typeof second === 'function' ? second : third;
    const options = checkOptions('cached', typeof second === 'function' ? undefined : second, cacheTable);
    checkArgument(`cached('${quote(first)}')`, 'the load', load, aFunction<Load<Keys, Value>>());
    return this.#cachedFunction(first, options, load);
  }

  /**
   * Lets one row of the stream stand for many invalidations. Every process must define the same
   * group: a process that does not know the name ignores its rows.
   * @throws UsageError DUPLICATE_CACHE, INVALID_OPTION
   */
  group(name: string, expand: Expand, options?: GroupOptions): void {
    checkArgument('group', 'expand', expand, aFunction<Expand>());
    const { chunk } = checkOptions('group', options, groupTable);
    this.registry.addGroup(name, expand, chunk);
  }

  /**
   * Drops an entry here at once and everywhere by the stream. Fewer keys than the cache has drop
   * every entry under them.
   * @throws UsageError INVALID_KEY, INVALID_OPTION, and the errors of the subclass
   */
  abstract invalidate(name: string, keys: readonly CacheKey[]): Promise<Receipt>;

  /**
   * Drops the whole cache, here at once and everywhere by the stream.
   * @throws UsageError INVALID_KEY for a group, which has no whole; otherwise as `invalidate`
   */
  abstract invalidateAll(name: string): Promise<Receipt>;

  /** Drops every cache in this process only. */
  clear(): void {
    this.registry.clear();
  }

  /** The counters since the start. */
  stats(): AllCachesStats {
    return { isLive: this.freshness.isLive, unknownNames: this.registry.unknownNames, caches: this.registry.stats() };
  }

  /**
   * @internal The keys for each row that an invalidation needs.
   * @throws UsageError INVALID_KEY, INVALID_OPTION
   */
  protected cutForRows(
    name: string,
    keys: readonly unknown[] | null,
    maxBytes: number,
  ): { keys: readonly string[] | null; rows: (readonly string[] | null)[] } {
    checkCacheName(name);
    const isGroup = this.registry.isGroup(name);
    if (isGroup && (keys === null || keys.length === 0)) {
      throw new UsageError(
        'INVALID_KEY',
        `group ${name} is invalidated by at least one key, not as a whole: invalidate its caches instead`,
      );
    }
    if (keys === null) return { keys, rows: [null] };
    const texts = keyTexts(name, keys);
    return { keys: texts, rows: this.registry.cut(name, texts, maxBytes) };
  }

  #cachedFunction<Keys extends readonly CacheKey[], Value>(
    name: string,
    options: CacheOptions,
    load: Load<Keys, Value>,
  ): CachedFunction<Keys, Value, Receipt> {
    const settings = this.#settings(name, options, load.length);
    const cache = new Cache(settings, load);
    this.registry.add(name, cache);
    const call =
      settings.arity === 1
        ? (...keys: Keys): Promise<Value> => (keys.length === 1 ? cache.readOne(keys[0]!) : cache.read(keys))
        : (...keys: Keys): Promise<Value> => cache.read(keys);
    Object.defineProperty(call, 'name', { value: name });
    return Object.assign(call, {
      cacheName: name,
      // Returns the promise itself: a derived promise would need a rejection handler of its own.
      invalidate: (...keys: Leading<Keys>) => this.invalidate(name, keys as readonly CacheKey[]),
      prefill: async (fill: Parameters<typeof cache.prefill>[0]) => {
        checkArgument('prefill', 'the load', fill, aFunction());
        return cache.prefill(fill);
      },
      peek: (...keys: Keys) => cache.peek(keys),
      clear: () => cache.clear(),
      stats: () => cache.stats(),
    });
  }

  #decorator({ name, ...options }: MethodCacheOptions): CachedMethodDecorator {
    return <This extends object, Keys extends readonly CacheKey[], Value>(
      method: Method<This, Keys, Value>,
      context: ClassMethodDecoratorContext<This, Method<This, Keys, Value>>,
    ): Method<This, Keys, Value> => {
      // A compiler with experimentalDecorators passes the method's name here.
      if (context?.kind !== 'method') {
        throw new UsageError(
          'INVALID_OPTION',
          'cached() is a standard (TC39) decorator of methods: switch experimentalDecorators off, or use cached(name, function)',
        );
      }
      const settings = this.#settings(
        name ?? (typeof context.name === 'string' ? context.name : ''),
        options,
        method.length,
      );
      const instances = new Instances(
        (instance) => new Cache<Keys, Value>(settings, (...keys) => method.call(instance as This, ...keys)),
      );
      this.registry.add(settings.name, instances);
      return function (...keys) {
        const cache = instances.of(this);
        return settings.arity === 1 && keys.length === 1 ? cache.readOne(keys[0]!) : cache.read(keys);
      };
    };
  }

  #settings(
    name: string,
    { max = DEFAULT_MAX, prefixes = 0, whenSuspect = this.#whenSuspect, arity: given }: CacheOptions,
    parameters: number,
  ): CacheSettings {
    const arity = given ?? parameters;
    if (prefixes > arity) {
      const why = `(${prefixes}) is at most the number of keys of an entry, which is ${arity} in cache ${quote(name)}`;
      throw optionError('cached', 'prefixes', why);
    }
    return { name, arity, max, prefixes, whenSuspect, freshness: this.freshness };
  }
}
