/** Makes the page that answers a read, and the error for a read that begins before `earliest`. */

import { LogError } from '../core/model/errors.ts';
import type { BatchAttributes, Bounds, Page } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { type Chunk, moveAttributes } from './chunk.ts';

const NOTHING: Uint8Array = Buffer.alloc(0);

/**
 * Joins neighbouring chunks of one history into one buffer. A single chunk is not copied. Without
 * chunks the page is empty: the reader has everything.
 */
export function pageOf(stream: StreamName, chunks: readonly Chunk[], { latest, history }: Bounds): Page {
  const last = chunks[chunks.length - 1];
  if (last === undefined)
    return { stream, lines: NOTHING, rows: 0, upTo: latest, hasMore: false, history, attributes: undefined };
  let rows = 0;
  for (const chunk of chunks) rows += chunk.rows;
  const attributes = attributesOf(chunks);
  return {
    stream,
    lines: chunks.length === 1 ? last.lines : Buffer.concat(chunks.map((chunk) => chunk.lines)),
    rows,
    upTo: last.upTo,
    hasMore: last.upTo < latest,
    history: last.history,
    attributes,
  };
}

function attributesOf(chunks: readonly Chunk[]): readonly BatchAttributes[] | undefined {
  if (chunks.length === 1) return chunks[0]!.attributes;
  let all: BatchAttributes[] | undefined;
  let bytes = 0;
  for (const { lines, attributes } of chunks) {
    if (attributes !== undefined) (all ??= []).push(...moveAttributes(attributes, bytes));
    bytes += lines.length;
  }
  return all;
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
