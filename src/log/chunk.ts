/** A chunk: neighbouring whole batches of one stream as ready lines, the record that logs and the tail keep. */

import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import type { Token } from '../core/model/token.ts';

export interface Chunk {
  /** Exclusive: the stream's `latest` before this chunk. */
  readonly after: Token;
  /** Inclusive: the token of its last batch. */
  readonly upTo: Token;
  readonly rows: number;
  /** When it became durable. */
  readonly atMs: Millis;
  readonly lines: Uint8Array;
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
  return { ...chunk, after: Math.min(after, chunk.upTo), rows: chunk.rows - cutRows, lines: lines.subarray(start) };
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
