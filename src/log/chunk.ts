/**
 * A chunk: neighbouring whole batches of one stream and one era, as encoded lines. Logs and the
 * tail keep rows in this form.
 */

import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import type { History } from '../core/model/history.ts';
import type { BatchAttributes } from '../core/model/page.ts';
import type { Token } from '../core/model/token.ts';

/** Neighbouring whole batches of one stream and one era. */
export interface Chunk {
  /** Exclusive: the stream's `latest` before this chunk. */
  readonly after: Token;
  /** Inclusive: the token of its last batch. */
  readonly upTo: Token;
  /** How many rows the chunk has. */
  readonly rows: number;
  /**
   * How many rows the stream has had up to `upTo`, dropped rows included. The difference between
   * two chunks is the number of rows between them.
   */
  readonly rowsUpTo: number;
  /** The history of every row in the chunk. */
  readonly history: History;
  /** When it became durable, in ms of the wall clock. Shown to people only. */
  readonly atMs: Millis;
  /**
   * When it became durable, in ms of the log's own time, which never runs ahead (log-time.ts).
   * Retention uses it.
   */
  readonly logMs: Millis;
  /** RDATA lines, each with its LF. */
  readonly lines: Uint8Array;
  /** The attributes of the batches that have any, in order. Undefined when no batch has any. */
  readonly attributes?: readonly BatchAttributes[] | undefined;
}

const LF = 0x0a;
const SPACE = 0x20;
const FIRST_DIGIT = 0x30;
const LAST_DIGIT = 0x39;

/**
 * The rest of a chunk without its batches up to token `after`. Shares the bytes, copies nothing.
 */
export function chunkAfter(chunk: Chunk, after: Token): Chunk {
  if (after <= chunk.after) return chunk;
  const { lines } = chunk;
  let start = 0;
  let cutRows = 0;
  let rowsOfBatch = 0;
  for (let at = 0; at < lines.length; ) {
    const lineEnd = lines.indexOf(LF, at);
    assert(lineEnd >= 0, 'a chunk to end with LF');
    rowsOfBatch++;
    const tokenOfLine = readToken(lines, at);
    if (tokenOfLine !== undefined) {
      if (tokenOfLine > after) break;
      start = lineEnd + 1;
      cutRows += rowsOfBatch;
      rowsOfBatch = 0;
    }
    at = lineEnd + 1;
  }
  const { attributes, ...rest } = chunk;
  const left = attributes?.filter(({ at }) => at >= start) ?? [];
  return {
    ...rest,
    after: Math.min(after, chunk.upTo),
    rows: chunk.rows - cutRows,
    lines: lines.subarray(start),
    ...(left.length > 0 && { attributes: moveAttributes(left, -start) }),
  };
}

/** The same attributes for lines that begin `bytes` further on. */
export function moveAttributes(attributes: readonly BatchAttributes[], bytes: number): readonly BatchAttributes[] {
  return bytes === 0 ? attributes : attributes.map(({ token, at, json }) => ({ token, at: at + bytes, json }));
}

/**
 * The size of a chunk in bytes, attributes included: few lines with long attributes make a large
 * page.
 */
export function chunkBytes({ lines, attributes }: Chunk): number {
  let bytes = lines.length;
  if (attributes !== undefined) for (const { json } of attributes) bytes += json.length;
  return bytes;
}

/**
 * Estimates the rows of a chunk after token `after`, by its share of tokens: counting them would
 * mean reading the lines.
 */
export function rowsOfChunkAfter(
  { after: start, upTo, rows }: Pick<Chunk, 'after' | 'upTo' | 'rows'>,
  after: Token,
): number {
  if (after <= start) return rows;
  return after >= upTo ? 0 : Math.round((rows * (upTo - after)) / (upTo - start));
}

/**
 * The token of the line `RDATA <stream> <token> <row>` at `at`; undefined when the line says
 * `batch`.
 */
function readToken(lines: Uint8Array, at: number): Token | undefined {
  const tokenAt = lines.indexOf(SPACE, lines.indexOf(SPACE, at) + 1) + 1;
  let value = 0;
  for (let i = tokenAt; ; i++) {
    const byte = lines[i]!;
    if (byte < FIRST_DIGIT || byte > LAST_DIGIT) return i === tokenAt ? undefined : value;
    value = value * 10 + (byte - FIRST_DIGIT);
  }
}
