/**
 * The lines of a page, as a peer gets them. Each chunk is encoded once for each form of lines, and
 * all sessions share the bytes.
 */

import { utf8 } from '../../base/bytes.ts';
import { attributesLine, rowLine } from '../model/batch.ts';
import { type Chunk, ROW_BORDER, tokenAt } from '../model/chunk.ts';
import type { Page } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';

/** Whether ATTR lines stand before the batches that have attributes. */
type Form = 'rows' | 'rows-and-attributes';

// Kept as long as the chunks themselves are. A list of chunks is shared as a page is.
const linesOfChunks: Record<Form, WeakMap<Chunk, Uint8Array>> = {
  rows: new WeakMap(),
  'rows-and-attributes': new WeakMap(),
};
const joinedLines: Record<Form, WeakMap<readonly Chunk[], Uint8Array>> = {
  rows: new WeakMap(),
  'rows-and-attributes': new WeakMap(),
};

const NOTHING = new Uint8Array();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** RDATA lines, and ATTR lines if they are wanted, each with its LF. Never write to them. */
export function pageLines({ stream, chunks }: Page, wantsAttributes: boolean): Uint8Array {
  const form =
    wantsAttributes && chunks.some(({ attributes }) => attributes !== undefined) ? 'rows-and-attributes' : 'rows';
  if (chunks.length === 0) return NOTHING;
  if (chunks.length === 1) return chunkLines(stream, chunks[0]!, form);
  const known = joinedLines[form].get(chunks);
  if (known !== undefined) return known;
  const lines = join(chunks.map((chunk) => chunkLines(stream, chunk, form)));
  joinedLines[form].set(chunks, lines);
  return lines;
}

function chunkLines(stream: StreamName, chunk: Chunk, form: Form): Uint8Array {
  const known = linesOfChunks[form].get(chunk);
  if (known !== undefined) return known;
  const lines = utf8(encodeChunk(stream, chunk, form === 'rows-and-attributes' ? (chunk.attributes ?? []) : []));
  linesOfChunks[form].set(chunk, lines);
  return lines;
}

function encodeChunk(stream: StreamName, chunk: Chunk, attributes: NonNullable<Chunk['attributes']>): string {
  const { sizes } = chunk;
  const texts = decoder.decode(chunk.texts);
  const head = rowLine(stream, 'batch', '');
  let lines = '';
  let at = 0;
  let attributed = 0;
  for (let place = 0; place < sizes.length; place++) {
    const token = tokenAt(chunk, place);
    const ofBatch = attributes[attributed];
    if (ofBatch?.token === token) {
      lines += `${attributesLine(stream, token, ofBatch.json)}\n`;
      attributed++;
    }
    for (let row = sizes[place]! - 1; row >= 0; row--) {
      const border = texts.indexOf(ROW_BORDER, at);
      const end = border < 0 ? texts.length : border;
      lines += `${row > 0 ? head : rowLine(stream, token, '')}${texts.slice(at, end)}\n`;
      at = end + ROW_BORDER.length;
    }
  }
  return lines;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
