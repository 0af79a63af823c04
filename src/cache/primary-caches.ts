/**
 * Caches in the process that owns the writes: an invalidation drops entries here, then becomes a
 * row that tells every worker.
 */

import { type Clock, systemClock } from '../base/clock.ts';
import { throwLater } from '../base/uncaught.ts';
import { resolvable } from '../base/resolvable.ts';
import { RowcastError, UsageError } from '../core/model/errors.ts';
import { aFunction, clockKind } from '../core/model/option-kinds.ts';
import { checkArgument, checkOptions, type OptionTable } from '../core/model/options.ts';
import { rowLine } from '../core/model/batch.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { Primary } from '../primary/primary.ts';
import type { ConnectedWorker } from '../primary/options.ts';
import { Caches, type CachesOptions, cachesTable } from './caches.ts';
import { alwaysFresh, type Freshness } from './freshness.ts';
import type { InvalidationRow } from './invalidation.ts';
import type { CacheKey } from './keys.ts';

/** Options of `createCaches` on a primary. */
export interface PrimaryCachesOptions extends CachesOptions {
  readonly clock?: Clock;
}

const optionTable: OptionTable<PrimaryCachesOptions> = { ...cachesTable, clock: clockKind };

/** The invalidations that `batch` collects. */
interface OpenBatch {
  readonly rows: InvalidationRow[];
  readonly position: Promise<Position>;
  /** The first error while the batch was filled. */
  failure: { readonly thrown: unknown } | undefined;
}

const LONGEST_TOKEN = Number.MAX_SAFE_INTEGER;

/** The caches of a primary. `createCaches` makes them. */
export class PrimaryCaches extends Caches<Position> {
  protected override readonly freshness: Freshness = alwaysFresh;
  readonly #primary: Primary;
  readonly #clock: Clock;
  /** Batches that were applied here before they were appended. */
  readonly #own = new WeakSet<readonly unknown[]>();
  #batch: OpenBatch | undefined;

  /** @internal Use createCaches. */
  constructor(primary: Primary, asGiven: PrimaryCachesOptions | undefined) {
    const options = checkOptions('createCaches', asGiven, optionTable);
    super(options);
    this.#primary = primary;
    this.#clock = options.clock ?? systemClock;
    const definition = primary.stream(this.stream);
    if (definition === undefined) {
      throw new UsageError(
        'NO_SUCH_STREAM',
        `the primary has no stream ${this.stream}: give it defineCachesStream() among its streams`,
      );
    }
    if (definition.row === undefined) {
      throw new UsageError(
        'INVALID_OPTION',
        `stream ${this.stream} takes rows of any form: declare it by defineCachesStream(), which refuses what is no invalidation`,
      );
    }
    primary.watchAppended(({ stream, texts, given }) => {
      if (stream === this.stream && !this.#own.has(given)) this.#applyForeign(texts);
    });
    primary.on('command', ({ command, worker }) => {
      if (command.name === 'INVALIDATE_CACHE') void this.#invalidateFor(worker, command.cacheName, command.keys);
    });
  }

  /**
   * Drops an entry here at once, and appends the row that drops it everywhere. Call it when the
   * write is committed. Resolves to the row's position when the row is durable. When it rejects
   * with a LogError, the workers were not told: invalidate again.
   * @throws UsageError INVALID_KEY, INVALID_OPTION, ROW_TOO_LARGE, BATCH_TOO_LARGE, CLOSED;
   * LogError; HandlerError GROUP_FAILED (all caches here are cleared, and the row was appended)
   */
  override invalidate(name: string, keys: readonly CacheKey[]): Promise<Position> {
    return this.#invalidate(name, keys);
  }

  override invalidateAll(name: string): Promise<Position> {
    return this.#invalidate(name, null);
  }

  /**
   * Makes one batch of all invalidations during `fill`: workers drop all of it or nothing. Resolves
   * to the batch's position; with nothing to drop, to the stream's position. When `fill` throws,
   * its invalidations are appended all the same: dropping too much does no harm.
   * @throws what `fill` throws; UsageError INVALID_OPTION when it is asynchronous; what
   * `invalidate` throws
   */
  async batch(fill: () => void): Promise<Position> {
    checkArgument('batch', 'what fills it', fill, aFunction());
    // A nested batch is part of the outer one.
    if (this.#batch !== undefined) {
      run(fill);
      return this.#batch.position;
    }
    const { promise: position, resolve: append } = resolvable<Position>();
    // The caller of `batch` gets the failure. Calls of `invalidate` inside need not handle it.
    position.catch(() => {});
    const batch: OpenBatch = { rows: [], position, failure: undefined };
    this.#batch = batch;
    try {
      run(fill);
    } catch (thrown) {
      batch.failure ??= { thrown };
    }
    this.#batch = undefined;
    append(batch.rows.length > 0 ? this.#append(batch.rows) : this.#primary.position(this.stream));
    await position;
    if (batch.failure !== undefined) throw batch.failure.thrown;
    return position;
  }

  #invalidate(name: string, keys: readonly unknown[] | null, isOfWorker = false): Promise<Position> {
    const batch = this.#batch;
    try {
      const { keys: texts, rows: keysOfRows } = this.cutForRows(name, keys, this.#maxKeysBytes(name));
      const now = Math.floor(this.#clock.now());
      const rows = keysOfRows.map((keysOfRow): InvalidationRow => [name, keysOfRow, now]);
      let failure: unknown;
      try {
        this.registry.apply([name, texts]);
      } catch (thrown) {
        // A worker's command must not clear the caches of all others.
        if (isOfWorker) throw thrown;
        // Tell the workers first: their group function may work, and if not, they clear everything
        // too.
        failure = thrown;
      }
      if (batch !== undefined) {
        batch.rows.push(...rows);
        if (failure !== undefined) throw failure;
        return batch.position;
      }
      const appended = this.#append(rows);
      return failure === undefined ? appended : appended.then(() => Promise.reject(failure));
    } catch (thrown) {
      if (batch !== undefined && thrown instanceof RowcastError) {
        batch.failure ??= { thrown };
        return batch.position;
      }
      return Promise.reject(thrown);
    }
  }

  #append(rows: readonly InvalidationRow[]): Promise<Position> {
    this.#own.add(rows);
    return this.#primary.append(this.stream, rows);
  }

  /** Applies rows that other code appended through this primary. */
  #applyForeign(texts: readonly RowText[]): void {
    for (const text of texts) {
      try {
        this.registry.apply({ stream: this.stream, row: JSON.parse(text) });
      } catch (thrown) {
        if (!(thrown instanceof RowcastError)) throwLater(this.#clock, thrown);
        else this.#primary.emit('error', thrown);
      }
    }
  }

  /**
   * Answers INVALIDATE_CACHE. Nothing waits for the result, so an error becomes a warning about
   * that worker.
   */
  async #invalidateFor(worker: ConnectedWorker, name: string, keys: readonly unknown[] | null): Promise<void> {
    try {
      await this.#invalidate(name, keys, true);
    } catch (thrown) {
      if (!(thrown instanceof RowcastError)) throw thrown;
      this.#primary.emit('warning', { worker, error: thrown });
    }
  }

  /** The most bytes of the keys of one row as JSON. */
  #maxKeysBytes(name: string): number {
    const around = rowLine(this.stream, LONGEST_TOKEN, JSON.stringify([name, [], LONGEST_TOKEN]));
    return this.#primary.limits.maxLineBytes - Buffer.byteLength(around) + '[]'.length;
  }
}

function run(fill: () => void): void {
  const result: unknown = fill();
  if (typeof result === 'object' && result !== null && 'then' in result) {
    // The caller gets this error; a rejection of `fill` itself adds nothing.
    void Promise.resolve(result).catch(() => {});
    throw new UsageError(
      'INVALID_OPTION',
      'what batch() is given does its work before it returns: wait for writes first, then invalidate in one go',
    );
  }
}
