/**
 * The caches of a method, one for each instance: the result of a method may depend on `this`. A
 * cache lives as long as its instance.
 */

import type { Target } from './registry.ts';
import { addStats, type CacheStats, zeroCounts } from './stats.ts';

export class Instances<Cache extends Target> implements Target {
  readonly #make: (instance: object) => Cache;
  readonly #byInstance = new WeakMap<object, Cache>();
  readonly #all = new Set<WeakRef<Cache>>();
  readonly #gone = new FinalizationRegistry<WeakRef<Cache>>((reference) => this.#all.delete(reference));

  constructor(make: (instance: object) => Cache) {
    this.#make = make;
  }

  of(instance: object): Cache {
    return this.#byInstance.get(instance) ?? this.#add(instance);
  }

  drop(keys: readonly string[] | null): void {
    for (const cache of this.#living()) cache.drop(keys);
  }

  clear(): void {
    for (const cache of this.#living()) cache.clear();
  }

  dropLoads(): void {
    for (const cache of this.#living()) cache.dropLoads();
  }

  /** The sum over the living instances. */
  stats(): CacheStats {
    let sum: CacheStats = { size: 0, ...zeroCounts() };
    for (const cache of this.#living()) sum = addStats(sum, cache.stats());
    return sum;
  }

  #add(instance: object): Cache {
    const cache = this.#make(instance);
    const reference = new WeakRef(cache);
    this.#byInstance.set(instance, cache);
    this.#all.add(reference);
    this.#gone.register(cache, reference);
    return cache;
  }

  *#living(): Iterable<Cache> {
    for (const reference of this.#all) {
      const cache = reference.deref();
      if (cache !== undefined) yield cache;
    }
  }
}
