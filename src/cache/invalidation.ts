/** Invalidations as rows of a stream: `[cache_name, keys, invalidation_ts]`. Knows no cache. */

import type { Millis } from '../base/clock.ts';
import { PeerError, quoteValue } from '../core/model/errors.ts';
import type { RowValidator } from '../core/model/row.ts';
import { anyText } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import { defineStream, type Stream, type StreamName, type StreamOptions, streamTable } from '../core/model/stream.ts';

/**
 * The keys of one entry. Fewer keys than the cache has mean every entry under them; null means the
 * whole cache. The time, in ms since 1970, is for people: nothing depends on it.
 */
export type InvalidationRow = readonly [cacheName: string, keys: readonly string[] | null, invalidationTs: Millis];

/** What to drop. */
export type Invalidation = readonly [cacheName: string, keys: readonly string[] | null];

export const DEFAULT_STREAM: StreamName = 'caches';
/**
 * A worker that missed more than this clears its caches: that costs less than reading so many rows.
 */
const DEFAULT_RETAINED_ROWS = 1_000_000;

/** Options of `defineCachesStream`. */
export type CachesStreamOptions = Omit<StreamOptions, 'row'> & { readonly name?: StreamName };

const cachesStreamTable: OptionTable<CachesStreamOptions> = {
  name: anyText,
  durable: streamTable.durable,
  retain: streamTable.retain,
};

/**
 * Declares the stream that carries invalidations, for `createPrimary`. Rows of another form are
 * refused at append. Keeps the newest 1,000,000 rows by default.
 * @throws UsageError INVALID_STREAM_NAME, INVALID_OPTION
 */
export function defineCachesStream(given?: CachesStreamOptions): Stream<InvalidationRow> {
  const { name = DEFAULT_STREAM, ...options } = checkOptions('defineCachesStream', given, cachesStreamTable);
  return defineStream<InvalidationRow>(name, { retain: { rows: DEFAULT_RETAINED_ROWS }, ...options, row: validator });
}

/**
 * Reads a row from another process.
 * @throws PeerError INVALID_ROW
 */
export function parseInvalidation(stream: StreamName, row: unknown): Invalidation {
  if (!isInvalidationRow(row))
    throw new PeerError('INVALID_ROW', `a row of stream ${stream} is ${quoteValue(row)}, expected ${EXPECTED}`);
  return [row[0], row[1]];
}

const EXPECTED = '[cache_name, list of strings or null, ms since 1970]';

const validator: RowValidator<InvalidationRow> = {
  '~standard': {
    version: 1,
    vendor: 'rowcast',
    validate: (row) => (isInvalidationRow(row) ? { value: row } : { issues: [{ message: `expected ${EXPECTED}` }] }),
  },
};

function isInvalidationRow(row: unknown): row is InvalidationRow {
  if (!Array.isArray(row) || row.length !== 3) return false;
  const [cacheName, keys, invalidationTs] = row as unknown[];
  if (typeof cacheName !== 'string' || !Number.isSafeInteger(invalidationTs)) return false;
  return keys === null || (Array.isArray(keys) && keys.every((key) => typeof key === 'string'));
}
