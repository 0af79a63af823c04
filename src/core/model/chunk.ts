/**
 * A chunk: neighbouring whole batches of one stream and one history, as row texts. Logs and the
 * tail keep rows in this form; sessions make lines of it (core/wire/page-lines.ts).
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import type { AttributesText } from './attributes.ts';
import type { History } from './history.ts';
import type { Token } from './token.ts';

/** Neighbouring whole batches of one stream and one history. Never write to its bytes. */
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
  /**
   * The JSON texts of all rows in order, joined by ROW_BORDER, as UTF-8. A row text has no tab, so
   * the borders are found without parsing.
   */
  readonly texts: Uint8Array;
  /** How many rows each batch has, in order. */
  readonly sizes: readonly number[];
  /** The token of each batch. Undefined: they are consecutive and end with `upTo`. */
  readonly tokens?: readonly Token[] | undefined;
  /** The attributes of the batches that have any, in order. Undefined when no batch has any. */
  readonly attributes?: readonly BatchAttributes[] | undefined;
}

/** The attributes of one batch in a chunk. */
export interface BatchAttributes {
  readonly token: Token;
  readonly json: AttributesText;
}

/** Between two row texts of a chunk. With brackets around them the texts are a JSON array. */
export const ROW_BORDER = ',\t';
const TAB = 0x09;
const BORDER_BYTES = 2;

/** About what the head of a row's line adds to its text, in bytes. */
export const HEAD_BYTES = 24;

/** The token of the batch at `place`, counted from 0. */
export function tokenAt({ upTo, sizes, tokens }: Chunk, place: number): Token {
  return tokens === undefined ? upTo - sizes.length + 1 + place : tokens[place]!;
}

/**
 * The rest of a chunk without its batches up to token `after`. Shares the bytes, copies nothing.
 */
export function chunkAfter(chunk: Chunk, after: Token): Chunk {
  return after <= chunk.after ? chunk : cutChunk(chunk, { from: after, upTo: chunk.upTo });
}

/** The batches of a chunk up to token `upTo`. Shares the bytes, copies nothing. */
export function chunkUpTo(chunk: Chunk, upTo: Token): Chunk {
  return upTo >= chunk.upTo ? chunk : cutChunk(chunk, { from: chunk.after, upTo });
}

function cutChunk(chunk: Chunk, { from, upTo }: { from: Token; upTo: Token }): Chunk {
  const { sizes, texts, attributes } = chunk;
  let first = 0;
  while (first < sizes.length && tokenAt(chunk, first) <= from) first++;
  let end = first;
  while (end < sizes.length && tokenAt(chunk, end) <= upTo) end++;
  const rowsBefore = sumOf(sizes, 0, first);
  const rows = sumOf(sizes, first, end);
  const start = first === sizes.length ? texts.length : rowStart(texts, 0, rowsBefore);
  const isToEnd = end === sizes.length;
  const stop = isToEnd ? texts.length : rowStart(texts, start, rows) - (rows > 0 ? BORDER_BYTES : 0);
  const tokens = Array.from({ length: end - first }, (_, i) => tokenAt(chunk, first + i));
  const left = attributes?.filter(({ token }) => token > from && token <= upTo) ?? [];
  return {
    after: Math.min(from, chunk.upTo),
    upTo,
    rows,
    rowsUpTo: chunk.rowsUpTo - (chunk.rows - rowsBefore - rows),
    history: chunk.history,
    atMs: chunk.atMs,
    logMs: chunk.logMs,
    texts: texts.subarray(start, Math.max(start, stop)),
    sizes: sizes.slice(first, end),
    tokens: isConsecutive(tokens, upTo) ? undefined : tokens,
    attributes: left.length > 0 ? left : undefined,
  };
}

/** Whether the tokens are consecutive and end with `upTo`, so that a chunk need not name them. */
export function isConsecutive(tokens: readonly Token[], upTo: Token): boolean {
  return tokens.every((token, i) => token === upTo - tokens.length + 1 + i);
}

/**
 * The size of a chunk in bytes, about as it is on the wire, attributes included: few rows with long
 * attributes make a large page.
 */
export function chunkBytes({ texts, rows, attributes }: Chunk): number {
  let bytes = texts.length + rows * HEAD_BYTES;
  if (attributes !== undefined) for (const { json } of attributes) bytes += json.length;
  return bytes;
}

/**
 * Estimates the rows of a chunk after token `after`, by its share of tokens: counting them would
 * mean reading the batches.
 */
export function rowsOfChunkAfter(
  { after: start, upTo, rows }: Pick<Chunk, 'after' | 'upTo' | 'rows'>,
  after: Token,
): number {
  if (after <= start) return rows;
  return after >= upTo ? 0 : Math.round((rows * (upTo - after)) / (upTo - start));
}

/** Where the row begins that stands `rows` rows after the one at `from`. */
function rowStart(texts: Uint8Array, from: number, rows: number): number {
  let at = from;
  for (let i = 0; i < rows; i++) {
    const tab = texts.indexOf(TAB, at);
    assert(tab > 0, 'a chunk to have as many rows as its sizes say');
    at = tab + 1;
  }
  return at;
}

function sumOf(sizes: readonly number[], from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += sizes[i]!;
  return sum;
}
