/**
 * Cuts lines from chunks of bytes that end anywhere (docs/protocol.md, "Lines"). Knows no command.
 */

import { LONGEST_UTF8_BYTES_PER_UNIT, utf8Length } from '../../base/bytes.ts';
import { PartialLine } from '../../base/partial-line.ts';
import { Queue } from '../../base/queue.ts';
import { PeerError } from '../model/errors.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const BLANK = /^ *$/;

export class LineCutter {
  readonly #maxLineBytes: number;
  // Fatal: bytes that are not UTF-8 throw. A byte order mark is a character like any other.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #carry: PartialLine;
  /** Whole lines that came after those of `text`. */
  readonly #blocks = new Queue<string>();
  /** Where the line after the present one starts in `text`. */
  #next = 0;
  /** The error that ends the input after the lines in #blocks. Nothing more is taken in. */
  #fault: PeerError | undefined;
  /** The present line is `text` from `start` to `end`, so that it can be read without a copy. */
  text = '';
  start = 0;
  end = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
    // One byte more than the longest line: it may be a CR.
    this.#carry = new PartialLine(maxLineBytes + 1);
  }

  push(chunk: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const end = chunk.lastIndexOf(LF) + 1;
    // Only the line that was cut is put together. Copying the whole chunk for it would cost more
    // than cutting all its lines.
    const start = end === 0 || this.#carry.isEmpty ? 0 : chunk.indexOf(LF) + 1;
    if (start > 0) this.#decode(this.#carry.takeWith(chunk.subarray(0, start)));
    if (end > start && this.#fault === undefined) this.#decode(chunk.subarray(start, end));
    if (!this.#carry.append(chunk.subarray(end))) this.#fault ??= tooLong();
  }

  /**
   * Goes to the next line that is not blank and leaves out its line end. Returns false when no
   * whole line has come.
   * @throws PeerError INVALID_UTF8, LINE_TOO_LONG once the lines before the bad one were taken
   */
  advance(): boolean {
    do {
      if (this.#next === this.text.length && !this.#takeBlock()) return false;
      const { text } = this;
      const start = this.#next;
      const lf = text.indexOf('\n', start);
      this.#next = lf + 1;
      this.start = start;
      this.end = lf > start && text.charCodeAt(lf - 1) === CR ? lf - 1 : lf;
      if ((this.end - start) * LONGEST_UTF8_BYTES_PER_UNIT > this.#maxLineBytes) this.#checkLength();
    } while (this.#isBlank());
    return true;
  }

  /**
   * The next line as a string; undefined where `advance` returns false. Throws what `advance`
   * throws.
   */
  next(): string | undefined {
    return this.advance() ? this.text.slice(this.start, this.end) : undefined;
  }

  #takeBlock(): boolean {
    this.text = this.#blocks.shift() ?? '';
    this.#next = 0;
    if (this.text !== '') return true;
    if (this.#fault !== undefined) throw this.#fault;
    return false;
  }

  #isBlank(): boolean {
    if (this.start === this.end) return true;
    return this.text.charCodeAt(this.start) === SPACE && BLANK.test(this.text.slice(this.start, this.end));
  }

  #checkLength(): void {
    if (utf8Length(this.text.slice(this.start, this.end)) <= this.#maxLineBytes) return;
    this.#blocks.clear();
    this.text = '';
    this.#next = 0;
    this.#fault = tooLong();
    throw this.#fault;
  }

  #decode(whole: Uint8Array): void {
    try {
      this.#blocks.push(this.#decoder.decode(whole));
    } catch {
      this.#decodeLineByLine(whole);
    }
  }

  /** Keeps the lines before the bad one and drops everything after it. */
  #decodeLineByLine(whole: Uint8Array): void {
    for (let at = 0; at < whole.length; ) {
      const end = whole.indexOf(LF, at) + 1;
      try {
        this.#blocks.push(this.#decoder.decode(whole.subarray(at, end)));
      } catch (cause) {
        this.#fault = new PeerError('INVALID_UTF8', 'invalid UTF-8', { cause });
        return;
      }
      at = end;
    }
  }
}

function tooLong(): PeerError {
  return new PeerError('LINE_TOO_LONG', 'Line length exceeded');
}
