/**
 * Caches in a process that follows. Rows of the stream drop entries. While the process is not live
 * on the stream, entries are suspect.
 *
 *   start ──▶ suspect, nothing kept ──live──▶ fresh ──cut──▶ suspect, kept ──caught up──▶ fresh
 *                    ▲                          └──reset, gap──▶ all dropped ─┐
 *                    └────────────────────────────────────────────────────────┘
 */

import { type Clock, systemClock } from '../base/clock.ts';
import { RowcastError } from '../core/model/errors.ts';
import { clockKind } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import type { Batch } from '../core/model/batch.ts';
import type { Worker } from '../worker/worker.ts';
import { Caches, type CachesOptions, cachesTable } from './caches.ts';
import { FollowedFreshness } from './freshness.ts';
import type { CacheKey } from './keys.ts';

/** Options of `createCaches` on a worker. */
export interface WorkerCachesOptions extends CachesOptions {
  readonly clock?: Clock;
}

const optionTable: OptionTable<WorkerCachesOptions> = { ...cachesTable, clock: clockKind };

/** The caches of a worker. `createCaches` makes them. */
export class WorkerCaches extends Caches<void> {
  protected override readonly freshness: FollowedFreshness;
  readonly #worker: Worker;

  /** @internal Use createCaches. */
  constructor(worker: Worker, given: WorkerCachesOptions | undefined) {
    const options = checkOptions('createCaches', given, optionTable);
    super(options);
    this.#worker = worker;
    // Follow from now on, without a checkpoint: an empty cache has nothing to drop. A gap empties
    // the cache, so the same holds after it.
    const subscription = worker.subscribe(
      this.stream,
      { from: 'now', onReset: 'now', readWithinMs: worker.limits.idleTimeoutMs },
      (batch) => this.#apply(batch),
    );
    this.freshness = new FollowedFreshness(subscription, options.clock ?? systemClock);
    // Runs before listeners of the application, which may read.
    worker.prependListener('live', ({ stream }) => {
      if (stream === this.stream) this.#handleLive();
    });
    worker.prependListener('not-live', ({ stream }) => {
      if (stream === this.stream) this.freshness.handleNotLive();
    });
    worker.prependListener('reset', ({ stream }) => {
      if (stream !== this.stream) return;
      this.freshness.handleReset();
      this.registry.clear();
    });
  }

  /**
   * Drops an entry here at once, and asks the primary to drop it everywhere (INVALIDATE_CACHE).
   * Unreliable: it resolves when the command is sent or queued. The command is lost with the
   * connection, or when too many are queued (the worker emits `command-dropped`).
   * @throws UsageError INVALID_KEY, INVALID_OPTION, INVALID_COMMAND, CLOSED; HandlerError
   * GROUP_FAILED (all caches here are cleared)
   */
  override async invalidate(name: string, keys: readonly CacheKey[]): Promise<void> {
    this.#invalidate(name, keys);
  }

  override async invalidateAll(name: string): Promise<void> {
    this.#invalidate(name, null);
  }

  #invalidate(name: string, keys: readonly CacheKey[] | null): void {
    const { keys: texts, rows } = this.cutForRows(name, keys, this.#maxKeysBytes(name));
    try {
      this.registry.apply([name, texts]);
    } finally {
      for (const keysOfRow of rows) this.#worker.send({ name: 'INVALIDATE_CACHE', cacheName: name, keys: keysOfRow });
    }
  }

  #apply({ stream, rows }: Batch): void {
    for (const row of rows) {
      try {
        this.registry.apply({ stream, row });
      } catch (thrown) {
        if (!(thrown instanceof RowcastError)) throw thrown;
        this.#worker.emit('error', thrown);
      }
    }
  }

  #handleLive(): void {
    // A load that began before the first position may be older than it. A caller that waited for
    // that position must not join the load.
    if (!this.freshness.isAnchored) this.registry.dropLoads();
    this.freshness.handleLive();
  }

  /** The most bytes of the keys of one command as JSON. */
  #maxKeysBytes(name: string): number {
    return this.#worker.limits.maxLineBytes - Buffer.byteLength(`INVALIDATE_CACHE ${name} `);
  }
}
