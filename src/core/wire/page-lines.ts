/**
 * The lines of a page, as a peer gets them. Each chunk is encoded once for each form of lines, and
 * all sessions share the bytes.
 */

import { utf8 } from '../../base/bytes.ts';
import { attributesLine, rowLine } from '../model/batch.ts';
import { type BatchAttributes, type Chunk, ROW_BORDER, tokenAt } from '../model/chunk.ts';
import type { Page } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';

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

/**
 * Who holds the bytes of lines holds the chunks, too, so that others who read the same page find
 * them (log/held-pages.ts). By the buffer, because a socket keeps another view of it.
 */
const chunksOfLines = new WeakMap<ArrayBufferLike, readonly Chunk[]>();

const NOTHING = new Uint8Array();
const BATCH_LENGTH = 'batch '.length;
const BORDER_BYTES = ROW_BORDER.length;
const TAB = 0x09;
const LF = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;
const MAX_INT = 0x7fff_ffff;

/** RDATA lines, and ATTR lines if they are wanted, each with its LF. Never write to them. */
export function pageLines({ stream, chunks }: Page, wantsAttributes: boolean): Uint8Array {
  const form =
    wantsAttributes && chunks.some(({ attributes }) => attributes !== undefined) ? 'rows-and-attributes' : 'rows';
  if (chunks.length === 0) return NOTHING;
  if (chunks.length === 1) {
    const lines = linesOfChunks[form].get(chunks[0]!);
    return lines ?? holdBy(chunkLines(stream, chunks[0]!, form), chunks);
  }
  const known = joinedLines[form].get(chunks);
  if (known !== undefined) return known;
  const lines = join(chunks.map((chunk) => chunkLines(stream, chunk, form)));
  joinedLines[form].set(chunks, lines);
  return holdBy(lines, chunks);
}

function holdBy(lines: Uint8Array, chunks: readonly Chunk[]): Uint8Array {
  chunksOfLines.set(lines.buffer, chunks);
  return lines;
}

function chunkLines(stream: StreamName, chunk: Chunk, form: Form): Uint8Array {
  const known = linesOfChunks[form].get(chunk);
  if (known !== undefined) return known;
  const lines = encodeChunk(stream, chunk, form === 'rows-and-attributes' ? (chunk.attributes ?? []) : []);
  linesOfChunks[form].set(chunk, lines);
  return lines;
}

/**
 * Writes the lines of a chunk, in a buffer of their exact size. The texts are put at its end and
 * moved to the front row by row: each head is longer than the border before it, so the lines never
 * reach the texts that are still to be moved. This makes no object for a row.
 */
function encodeChunk(stream: StreamName, chunk: Chunk, attributes: readonly BatchAttributes[]): Uint8Array {
  const { texts, sizes, rows } = chunk;
  const head = utf8(rowLine(stream, 'batch', ''));
  const prefixLength = head.length - BATCH_LENGTH;
  const before = attributes.map(({ token, json }) => utf8(`${attributesLine(stream, token, json)}\n`));
  // The rows without their borders, a line end for each, and the heads.
  let size = texts.length - BORDER_BYTES * Math.max(0, rows - 1) + rows;
  size += (rows - sizes.length) * head.length + sizes.length * (prefixLength + 1);
  const digits = new Digits();
  for (let place = 0; place < sizes.length; place++) size += digits.countOf(tokenAt(chunk, place));
  for (const { length } of before) size += length;
  const lines = new Uint8Array(size);
  const shift = size - texts.length;
  lines.set(texts, shift);
  let from = 0;
  let to = 0;
  let attributed = 0;
  digits.restart();
  for (let place = 0; place < sizes.length; place++) {
    const token = tokenAt(chunk, place);
    if (attributed < attributes.length && attributes[attributed]!.token === token) {
      lines.set(before[attributed]!, to);
      to += before[attributed++]!.length;
    }
    for (let left = sizes[place]!; left > 0; left--) {
      const headEnd = left === 1 ? prefixLength : head.length;
      for (let i = 0; i < headEnd; i++) lines[to++] = head[i]!;
      if (left === 1) {
        to = digits.write(lines, to, token);
        lines[to++] = SPACE;
      }
      // In the texts and not in the lines: logs give Buffers, which search several times as fast.
      const tab = texts.indexOf(TAB, from);
      const end = tab < 0 ? texts.length : tab - 1;
      lines.copyWithin(to, from + shift, end + shift);
      to += end - from;
      lines[to++] = LF;
      from = end + BORDER_BYTES;
    }
  }
  return lines;
}

/** The digits of tokens that rise, so that their number is seldom looked for. */
class Digits {
  #count = 1;
  /** The first number that has more digits. */
  #limit = 10;

  restart(): void {
    this.#count = 1;
    this.#limit = 10;
  }

  countOf(token: Token): number {
    while (token >= this.#limit) {
      this.#limit *= 10;
      this.#count++;
    }
    return this.#count;
  }

  /** @returns where the digits end */
  write(lines: Uint8Array, at: number, token: Token): number {
    const end = at + this.countOf(token);
    let place = end - 1;
    let rest = token;
    for (; rest > MAX_INT; place--) {
      const next = Math.floor(rest / 10);
      lines[place] = ZERO + (rest - next * 10);
      rest = next;
    }
    // Small integers are divided several times as fast.
    for (; place >= at; place--) {
      const next = (rest / 10) | 0;
      lines[place] = ZERO + (rest - next * 10);
      rest = next;
    }
    return end;
  }
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
