/** The counters of a cache, as plain numbers since it was made. */

export interface CacheStats {
  /** Entries kept now. */
  readonly size: number;
  /** Reads answered by an entry while live. */
  readonly hits: number;
  /** Reads that had to load, or joined a load. */
  readonly misses: number;
  /** Misses that joined a running load. */
  readonly loadsShared: number;
  /** Loads that failed. Their result is not kept. */
  readonly loadsFailed: number;
  /** Loads and prefilled values that were not kept because of an invalidation. */
  readonly discardedFills: number;
  /** Entries evicted for room. */
  readonly evictions: number;
  readonly invalidationsByKey: number;
  readonly invalidationsByPrefix: number;
  readonly invalidationsOfAll: number;
  /** Reads while not live, with or without an entry. */
  readonly suspectReads: number;
  /** Suspect reads that an entry answered: the value may have been stale. */
  readonly suspectServed: number;
}

export type Counts = { -readonly [Name in Exclude<keyof CacheStats, 'size'>]: number };

export function zeroCounts(): Counts {
  return {
    hits: 0,
    misses: 0,
    loadsShared: 0,
    loadsFailed: 0,
    discardedFills: 0,
    evictions: 0,
    invalidationsByKey: 0,
    invalidationsByPrefix: 0,
    invalidationsOfAll: 0,
    suspectReads: 0,
    suspectServed: 0,
  };
}

export function addStats(a: CacheStats, b: CacheStats): CacheStats {
  const sum: Counts & { size: number } = { ...a };
  for (const name of Object.keys(sum) as (keyof CacheStats)[]) sum[name] += b[name];
  return sum;
}
