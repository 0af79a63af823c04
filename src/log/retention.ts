/** Which chunks a stream's retention lets go. Knows the oldest chunk and the sum, never the others: an append must not scan. */

import type { Millis } from '../base/clock.ts';
import type { Retention } from '../core/model/stream.ts';
import type { Chunk } from './chunk.ts';

export interface KeptRows {
  /** Rows kept in all, the oldest chunk's included. */
  readonly rows: number;
  readonly oldest: Pick<Chunk, 'rows' | 'logMs'> | undefined;
  /** The log's own time (Chunk.logMs). */
  readonly now: Millis;
}

/** Both limits say "keep at least": the oldest chunk goes only when neither needs it. */
export function mayDropOldest(
  { rows: keepRows, ageMs: keepAgeMs }: Retention,
  { rows, oldest, now }: KeptRows,
): boolean {
  if (oldest === undefined) return false;
  if (keepRows === undefined && keepAgeMs === undefined) return false;
  if (keepRows !== undefined && rows - oldest.rows < keepRows) return false;
  return keepAgeMs === undefined || oldest.logMs <= now - keepAgeMs;
}
