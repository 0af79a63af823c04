/**
 * Decides which chunks a stream's retention no longer needs. Looks only at the oldest chunk and the
 * sum, because an append must not scan.
 */

import type { Millis } from '../base/clock.ts';
import type { Retention } from '../core/model/stream.ts';
import type { Chunk } from '../core/model/chunk.ts';

export interface KeptRows {
  /** All kept rows, those of the oldest chunk included. */
  readonly rows: number;
  readonly oldest: Pick<Chunk, 'rows' | 'logMs'> | undefined;
  /** The log's own time (Chunk.logMs). */
  readonly now: Millis;
}

/** Both limits mean "keep at least": the oldest chunk goes only when neither needs it. */
export function mayDropOldest(
  { rows: keepRows, ageMs: keepAgeMs }: Retention,
  { rows, oldest, now }: KeptRows,
): boolean {
  if (oldest === undefined) return false;
  if (keepRows === undefined && keepAgeMs === undefined) return false;
  if (keepRows !== undefined && rows - oldest.rows < keepRows) return false;
  return keepAgeMs === undefined || oldest.logMs <= now - keepAgeMs;
}
