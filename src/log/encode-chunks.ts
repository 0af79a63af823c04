/** Makes chunks of the batches that a commit adds to a stream. */

import type { Millis } from '../base/clock.ts';
import type { AttributesText } from '../core/model/attributes.ts';
import { type BatchAttributes, type Chunk, HEAD_BYTES, isConsecutive, ROW_BORDER } from '../core/model/chunk.ts';
import type { History } from '../core/model/history.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/**
 * The most bytes of a chunk (chunkBytes). Large enough that catch-up moves few records, small enough
 * that a page of a few hundred KiB is not exceeded by much. A larger batch is one chunk.
 */
export const MAX_CHUNK_BYTES: number = 256 * 1024;

/** The batches that a commit adds to one stream. */
export interface PlannedStream {
  readonly stream: StreamName;
  /** The stream's latest token before them. */
  readonly after: Token;
  /** The rows of each batch, in order. */
  readonly batches: (readonly RowText[])[];
  /** The token of each batch. */
  readonly tokens: Token[];
  /** By the place of their batch; left out where none has some. */
  attributes?: Map<number, AttributesText>;
  /** The histories that are not the log's own era, by the place of their batch. */
  histories?: Map<number, History>;
}

/** What `encodeChunks` makes chunks of. */
export interface EncodeOptions {
  readonly planned: PlannedStream;
  /** How many rows the stream has had before. */
  readonly rowsUpTo: number;
  /** Of the batches that bring none. */
  readonly history: History;
  readonly atMs: Millis;
  readonly logMs: Millis;
}

/** Reused for the bytes of a chunk while their number is unknown. Each chunk gets its own copy. */
const scratch = Buffer.allocUnsafeSlow(MAX_CHUNK_BYTES);
const BORDER = Buffer.from(ROW_BORDER);

/** Makes chunks of the batches. This is the only place where a row becomes bytes. */
export function encodeChunks({ planned, ...options }: EncodeOptions): Chunk[] {
  const { batches, tokens } = planned;
  const chunks: Chunk[] = [];
  let { rowsUpTo } = options;
  let { after } = planned;
  let { history } = options;
  let first = 0;
  let bytes = 0;
  let chunkSize = 0;
  const finishChunk = (end: number, texts: Uint8Array): void => {
    const upTo = tokens[end - 1]!;
    const sizes = batches.slice(first, end).map((batch) => batch.length);
    const rows = sizes.reduce((sum, size) => sum + size, 0);
    const ofChunk = tokens.slice(first, end);
    rowsUpTo += rows;
    chunks.push({
      after,
      upTo,
      rows,
      rowsUpTo,
      history,
      atMs: options.atMs,
      logMs: options.logMs,
      texts,
      sizes,
      tokens: isConsecutive(ofChunk, upTo) ? undefined : ofChunk,
      attributes: attributesBetween(planned, first, end),
    });
    after = upTo;
    first = end;
    bytes = 0;
    chunkSize = 0;
  };
  for (let i = 0; i < batches.length; i++) {
    const batch = batches[i]!;
    const text = batch.length === 1 ? batch[0]! : batch.join(ROW_BORDER);
    const ofBatch = planned.histories?.get(i) ?? options.history;
    const attributes = planned.attributes?.get(i)?.length ?? 0;
    const size = Buffer.byteLength(text) + batch.length * HEAD_BYTES + attributes;
    const isFull = chunkSize + BORDER.length + size > MAX_CHUNK_BYTES;
    if (i > first && (isFull || ofBatch !== history)) finishChunk(i, Buffer.from(scratch.subarray(0, bytes)));
    history = ofBatch;
    if (size > MAX_CHUNK_BYTES) {
      finishChunk(i + 1, Buffer.from(text));
      continue;
    }
    chunkSize += size;
    if (i > first) {
      chunkSize += BORDER.length;
      bytes += BORDER.copy(scratch, bytes);
    }
    bytes += scratch.write(text, bytes);
  }
  if (first < batches.length) finishChunk(batches.length, Buffer.from(scratch.subarray(0, bytes)));
  return chunks;
}

function attributesBetween(
  { attributes, tokens }: PlannedStream,
  from: number,
  to: number,
): BatchAttributes[] | undefined {
  if (attributes === undefined) return undefined;
  const found: BatchAttributes[] = [];
  for (const [place, json] of attributes) {
    if (place >= from && place < to) found.push({ token: tokens[place]!, json });
  }
  return found.length > 0 ? found : undefined;
}
