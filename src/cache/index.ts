/** The public door of `rowcast/cache`. */

import { UsageError } from '../core/model/errors.ts';
import { Primary } from '../primary/primary.ts';
import { Worker } from '../worker/worker.ts';
import { PrimaryCaches, type PrimaryCachesOptions } from './primary-caches.ts';
import { WorkerCaches, type WorkerCachesOptions } from './worker-caches.ts';

export type { WhenSuspect } from './cache.ts';
export {
  type AllCachesStats,
  type CachedFunction,
  type CachedMethodDecorator,
  type CacheOptions,
  Caches,
  type CachesOptions,
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
 * call it before `start`: it subscribes to the stream.
 * @throws UsageError on a primary NO_SUCH_STREAM, INVALID_OPTION; on a worker DUPLICATE_STREAM,
 * CLOSED
 */
export function createCaches(primary: Primary, options?: PrimaryCachesOptions): PrimaryCaches;
export function createCaches(worker: Worker, options?: WorkerCachesOptions): WorkerCaches;
export function createCaches(
  end: Primary | Worker,
  options: PrimaryCachesOptions & WorkerCachesOptions = {},
): PrimaryCaches | WorkerCaches {
  if (end instanceof Primary) return new PrimaryCaches(end, options);
  if (end instanceof Worker) return new WorkerCaches(end, options);
  throw new UsageError('INVALID_OPTION', 'createCaches takes what createPrimary or createWorker gave');
}
