/**
 * Decides which chunks a stream's retention no longer needs. Looks only at the oldest chunk and the
 * sum, because an append must not scan.
 */

import type { Millis } from '../base/clock.ts';
import type { Chunk } from '../core/model/chunk.ts';
import type { Retention } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/** What a stream keeps, as far as retention asks. */
export interface KeptRows {
  /** All kept rows, those of the oldest chunk included. */
  readonly rows: number;
  /** Their bytes, where they are counted. */
  readonly bytes?: number;
  readonly oldest: Pick<Chunk, 'rows' | 'logMs' | 'upTo'> | undefined;
  /** The log's own time (Chunk.logMs). */
  readonly now: Millis;
  /** Every worker of `untilSavedBy` has saved the rows up to here (StreamHolders). Default none. */
  readonly savedByAll?: Token;
}

/**
 * More than `maxBytes` is never kept. By themselves the other two limits mean "keep at least": the oldest chunk goes only when neither needs it.
 * With `untilSavedBy` they mean "keep at most": the chunk goes when it is saved, or over a limit.
 */
export function mayDropOldest(
  { rows: keepRows, ageMs: keepAgeMs, maxBytes, untilSavedBy }: Retention,
  { rows, bytes = 0, oldest, now, savedByAll = 0 }: KeptRows,
): boolean {
  if (oldest === undefined) return false;
  if (maxBytes !== undefined && bytes > maxBytes) return true;
  const isBeyondRows = keepRows !== undefined && rows - oldest.rows >= keepRows;
  const isBeyondAge = keepAgeMs !== undefined && oldest.logMs <= now - keepAgeMs;
  if (untilSavedBy !== undefined) return oldest.upTo <= savedByAll || isBeyondRows || isBeyondAge;
  if (keepRows === undefined) return isBeyondAge;
  return isBeyondRows && (keepAgeMs === undefined || isBeyondAge);
}
