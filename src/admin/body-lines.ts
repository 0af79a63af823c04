/** Lines cut from the bytes of a request's body, with their numbers. Knows no JSON. Holds one unfinished line at most, and that bounded. */

import { isUtf8 } from 'node:buffer';
import { LineError } from './line-error.ts';

export interface BodyLine {
  /** Counts from 1, blank lines included: what an editor shows. */
  readonly number: number;
  readonly text: string;
  /** As it came, without its line end. */
  readonly bytes: number;
}

const LF = 0x0a;
const CR = 0x0d;
const BYTE_ORDER_MARK = 0xfeff;

export class BodyLines {
  readonly #maxLineBytes: number;
  /** The beginning of a line whose end has not come; copied, so that the socket's large chunk is not kept for it. */
  #carry: Buffer = Buffer.alloc(0);
  #carryBytes = 0;
  #number = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** @throws LineError INVALID_UTF8, ROW_TOO_LARGE, in the place of the line that is at fault */
  *push(chunk: Uint8Array): Generator<BodyLine, void, void> {
    let at = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, at)) {
      const line = this.#finish(chunk.subarray(at, end));
      at = end + 1;
      if (line !== undefined) yield line;
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at));
  }

  /** The last line, when no line end follows it. */
  *end(): Generator<BodyLine, void, void> {
    const line = this.#carryBytes > 0 ? this.#finish(new Uint8Array()) : undefined;
    if (line !== undefined) yield line;
  }

  /** Undefined for a blank line. */
  #finish(rest: Uint8Array): BodyLine | undefined {
    let whole = rest;
    if (this.#carryBytes > 0) {
      this.#keep(rest);
      whole = this.#carry.subarray(0, this.#carryBytes);
      this.#carryBytes = 0;
    }
    this.#number++;
    const bytes = whole.at(-1) === CR ? whole.length - 1 : whole.length;
    if (bytes > this.#maxLineBytes) throw this.#tooLong(this.#number);
    const line = Buffer.from(whole.buffer, whole.byteOffset, bytes);
    if (!isUtf8(line)) throw new LineError('INVALID_UTF8', `line ${this.#number} is not UTF-8`, this.#number);
    let text = line.toString('utf8');
    // Some editors begin a file with a mark that is no part of its first line.
    if (this.#number === 1 && text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1);
    return text.trim() === '' ? undefined : { number: this.#number, text, bytes };
  }

  #keep(piece: Uint8Array): void {
    const bytes = this.#carryBytes + piece.length;
    // One more than the longest line: it may be a CR.
    if (bytes > this.#maxLineBytes + 1) throw this.#tooLong(this.#number + 1);
    if (bytes > this.#carry.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes * 2, 256), this.#maxLineBytes + 1));
      this.#carry.copy(grown, 0, 0, this.#carryBytes);
      this.#carry = grown;
    }
    this.#carry.set(piece, this.#carryBytes);
    this.#carryBytes = bytes;
  }

  #tooLong(number: number): LineError {
    return new LineError('ROW_TOO_LARGE', `line ${number} is over ${this.#maxLineBytes} bytes`, number);
  }
}
