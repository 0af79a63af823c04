/** A chunk: neighbouring whole batches of one stream and one era as ready lines, the record that logs and the tail keep. */

import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import type { History } from '../core/model/history.ts';
import type { BatchAttributes } from '../core/model/page.ts';
import type { Token } from '../core/model/token.ts';

export interface Chunk {
  /** Exclusive: the stream's `latest` before this chunk. */
  readonly after: Token;
  /** Inclusive: the token of its last batch. */
  readonly upTo: Token;
  readonly rows: number;
  /** The rows of the stream up to `upTo`, those that are gone included: the difference of two chunks counts what is between. */
  readonly rowsUpTo: number;
  /** Of all of its rows. */
  readonly history: History;
  /** When it became durable, by the wall clock: for people. */
  readonly atMs: Millis;
  /** The same by the log's own time, which counts only time that has surely passed: for retention (log-time.ts). */
  readonly logMs: Millis;
  readonly lines: Uint8Array;
  /** Of the batches that have some, in order; left out where none has. */
  readonly attributes?: readonly BatchAttributes[] | undefined;
}

const LF = 0x0a;
const SPACE = 0x20;
const FIRST_DIGIT = 0x30;
const LAST_DIGIT = 0x39;

/** What is left of a chunk when its batches with token <= after are cut off. The bytes are shared, not copied. */
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

/** The attributes of lines that stand `bytes` further on. */
export function moveAttributes(attributes: readonly BatchAttributes[], bytes: number): readonly BatchAttributes[] {
  return bytes === 0 ? attributes : attributes.map(({ token, at, json }) => ({ token, at: at + bytes, json }));
}

/** What a reader is given of it, in bytes: a page of few lines and long attributes is a large page. */
export function chunkBytes({ lines, attributes }: Chunk): number {
  let bytes = lines.length;
  if (attributes !== undefined) for (const { json } of attributes) bytes += json.length;
  return bytes;
}

/** About how many rows a chunk has after `after`: where it must be cut, by its share of tokens, as counting would read it. */
export function rowsOfChunkAfter(
  { after: start, upTo, rows }: Pick<Chunk, 'after' | 'upTo' | 'rows'>,
  after: Token,
): number {
  if (after <= start) return rows;
  return after >= upTo ? 0 : Math.round((rows * (upTo - after)) / (upTo - start));
}

/** The token of the line `RDATA <stream> <token> <row>` that starts at `at`; undefined where it says `batch`. */
function readToken(lines: Uint8Array, at: number): Token | undefined {
  const tokenAt = lines.indexOf(SPACE, lines.indexOf(SPACE, at) + 1) + 1;
  let value = 0;
  for (let i = tokenAt; ; i++) {
    const byte = lines[i]!;
    if (byte < FIRST_DIGIT || byte > LAST_DIGIT) return i === tokenAt ? undefined : value;
    value = value * 10 + (byte - FIRST_DIGIT);
  }
}
