/** Makes the page that answers a read, and the error for a read that begins before `earliest`. */

import type { Chunk } from '../core/model/chunk.ts';
import { LogError } from '../core/model/errors.ts';
import type { Bounds, Page } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/** The page of neighbouring chunks of one history. Without chunks the reader has everything. */
export function pageOf(stream: StreamName, chunks: readonly Chunk[], { latest, history }: Bounds): Page {
  const last = chunks[chunks.length - 1];
  if (last === undefined) return { stream, chunks, rows: 0, upTo: latest, hasMore: false, history };
  let rows = 0;
  for (const chunk of chunks) rows += chunk.rows;
  return { stream, chunks, rows, upTo: last.upTo, hasMore: last.upTo < latest, history: last.history };
}

/**
 * Refuses a read after a token whose next row is no longer kept.
 * @throws LogError LOG_GAP
 */
export function refuseGap(log: string, stream: StreamName, after: Token, { earliest }: Bounds): void {
  if (after >= earliest - 1) return;
  throw new LogError(
    'LOG_GAP',
    `stream ${stream} of log ${log} starts at ${earliest}, asked for what follows ${after}: start afresh at ${earliest - 1}`,
  );
}
