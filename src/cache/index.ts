/** The public door of `rowcast/cache`. */

import { UsageError } from '../core/model/errors.ts';
import { Primary } from '../primary/primary.ts';
import { type ObserverWorker, Worker } from '../worker/worker.ts';
import { PrimaryCaches, type PrimaryCachesOptions } from './primary-caches.ts';
import { WorkerCaches, type WorkerCachesOptions } from './worker-caches.ts';

export type { Load, WhenSuspect } from './cache.ts';
export {
  type AllCachesStats,
  type CachedFunction,
  type CachedMethodDecorator,
  type CacheOptions,
  Caches,
  type CachesOptions,
  type GroupOptions,
  type MethodCacheOptions,
} from './caches.ts';
export type { Chunking, Expand } from './groups.ts';
export { type CachesStreamOptions, defineCachesStream, type InvalidationRow } from './invalidation.ts';
export type { CacheKey } from './keys.ts';
export { PrimaryCaches, type PrimaryCachesOptions } from './primary-caches.ts';
export type { CacheStats } from './stats.ts';
export { WorkerCaches, type WorkerCachesOptions } from './worker-caches.ts';

/**
 * Creates the caches of this process, which a stream of invalidations keeps up to date. On a worker
 * call it before `start`: it subscribes to the stream. An observer may have caches too: what it
 * invalidates is dropped here alone, and `invalidate` rejects with OBSERVER.
 * @throws UsageError INVALID_OPTION; on a primary NO_SUCH_STREAM, DUPLICATE_CACHE (it has caches
 * already); on a worker DUPLICATE_STREAM (the stream has caches already), CLOSED
 */
export function createCaches(primary: Primary, options?: PrimaryCachesOptions): PrimaryCaches;
export function createCaches(worker: Worker | ObserverWorker, options?: WorkerCachesOptions): WorkerCaches;
export function createCaches(
  end: Primary | Worker | ObserverWorker,
  options?: PrimaryCachesOptions & WorkerCachesOptions,
): PrimaryCaches | WorkerCaches {
  if (end instanceof Worker) return new WorkerCaches(end, options);
  if (!(end instanceof Primary))
    throw new UsageError('INVALID_OPTION', 'createCaches takes what createPrimary or createWorker gave');
  // INVALIDATE_CACHE names no stream, so two of them would both answer it.
  if (withCaches.has(end)) {
    const text = `primary ${end.name} has caches already: call createCaches once, and define every cache there`;
    throw new UsageError('DUPLICATE_CACHE', text);
  }
  const caches = new PrimaryCaches(end, options);
  withCaches.add(end);
  return caches;
}

/** The primaries that have caches. */
const withCaches = new WeakSet<Primary>();
