/**
 * Cuts the bytes of a request's body into numbered lines. Knows no JSON. Holds at most one
 * unfinished line, of bounded length.
 */

import { isUtf8 } from 'node:buffer';
import { PartialLine } from '../base/partial-line.ts';
import { LineError } from './line-error.ts';

export interface BodyLine {
  /** Counts from 1 with blank lines, as an editor does. */
  readonly number: number;
  readonly text: string;
  /** The size as received, without the white space around it. */
  readonly bytes: number;
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const BYTE_ORDER_MARK = 0xfeff;

export class BodyLines {
  readonly #maxLineBytes: number;
  readonly #carry: PartialLine;
  #number: number;

  constructor(maxLineBytes: number, firstLine: number = 1) {
    this.#maxLineBytes = maxLineBytes;
    this.#number = firstLine - 1;
    // One byte more than the longest line, for a CR.
    this.#carry = new PartialLine(maxLineBytes + 1);
  }

  /** The number of the line that has not ended. */
  get nextLine(): number {
    return this.#number + 1;
  }

  /** The memory that the line takes that has not ended. */
  get carriedBytes(): number {
    return this.#carry.capacity;
  }

  /** @throws LineError INVALID_UTF8, ROW_TOO_LARGE, where the faulty line would come */
  *push(chunk: Uint8Array): Generator<BodyLine, void, void> {
    let at = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, at)) {
      const line = this.#finish(chunk.subarray(at, end));
      at = end + 1;
      if (line !== undefined) yield line;
    }
    if (!this.#carry.append(chunk.subarray(at))) throw this.#tooLong(this.#number + 1);
  }

  /** Returns the last line if no line end follows it. */
  *end(): Generator<BodyLine, void, void> {
    const line = this.#carry.isEmpty ? undefined : this.#finish(new Uint8Array());
    if (line !== undefined) yield line;
  }

  /** Undefined for a blank line. */
  #finish(rest: Uint8Array): BodyLine | undefined {
    const whole = this.#carry.takeWith(rest);
    this.#number++;
    const bytes = whole.at(-1) === CR ? whole.length - 1 : whole.length;
    if (bytes > this.#maxLineBytes) throw this.#tooLong(this.#number);
    const line = withoutWhite(whole, bytes);
    if (!isUtf8(line)) throw new LineError('INVALID_UTF8', `line ${this.#number} is not UTF-8`, this.#number);
    let text = line.toString('utf8');
    // Some editors begin a file with a byte order mark, which is no part of its first line.
    if (this.#number === 1 && text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1).trim();
    return text === '' ? undefined : { number: this.#number, text, bytes: line.length };
  }

  #tooLong(number: number): LineError {
    return new LineError(
      'ROW_TOO_LARGE',
      `line ${number} is too large a row: maxLineBytes is ${this.#maxLineBytes}`,
      number,
    );
  }
}

/**
 * Cut off the bytes and not off the text: a part of a text keeps the whole text in memory. Only the
 * white space of JSON: other white space is no blank line but a faulty one.
 */
function withoutWhite(line: Uint8Array, length: number): Buffer {
  let start = 0;
  let end = length;
  while (start < end && isWhite(line[start]!)) start++;
  while (end > start && isWhite(line[end - 1]!)) end--;
  return Buffer.from(line.buffer, line.byteOffset + start, end - start);
}

function isWhite(byte: number): boolean {
  return byte === SPACE || byte === TAB || byte === CR;
}
