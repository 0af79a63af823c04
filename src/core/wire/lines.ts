/**
 * Cuts lines from chunks of bytes that end anywhere (docs/protocol.md, "Lines"). Knows no command.
 */

import { decodeLeniently, isWhole, LONGEST_UTF8_BYTES_PER_UNIT, utf8Length } from '../../base/bytes.ts';
import { PartialLine } from '../../base/partial-line.ts';
import { Queue } from '../../base/queue.ts';
import { PeerError } from '../model/errors.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const BLANK = /^ *$/;

/** What is kept of a line that is too long: enough for the longest stream name and token. */
const HEAD_BYTES = 512;

const NOTHING = new Uint8Array(0);

/** Which lines are passed over when they cannot be read, instead of ending the input. */
export interface PassedOver {
  /** How such a line begins. */
  readonly prefix: string;
  /** The longest of them, in bytes. A longer one ends the input. */
  readonly maxBytes: number;
}

/** A line that was passed over. */
export interface UnreadableLine {
  readonly code: 'LINE_TOO_LONG' | 'INVALID_UTF8';
  /**
   * The beginning of a line that is too long. Of any other line everything, with U+FFFD for what is
   * not UTF-8.
   */
  readonly text: string;
  /** Its length without its line end. */
  readonly bytes: number;
}

type LongLine = UnreadableLine & { bytes: number };

export class LineCutter {
  readonly #maxLineBytes: number;
  readonly #passedOver: PassedOver | undefined;
  // Fatal: bytes that are not UTF-8 throw. A byte order mark is a character like any other.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #carry: PartialLine;
  /** Whole lines that came after those of `text`, and lines that are passed over. */
  readonly #blocks = new Queue<string | UnreadableLine>();
  /** A line that is too long, and whose end has not come. */
  #open: LongLine | undefined;
  /** Where the line after the present one starts in `text`. */
  #next = 0;
  /** The error that ends the input after the lines in #blocks. Nothing more is taken in. */
  #fault: PeerError | undefined;
  /** The present line is `text` from `start` to `end`, so that it can be read without a copy. */
  text = '';
  start = 0;
  end = 0;
  /** The present line, when it cannot be read. */
  unreadable: UnreadableLine | undefined;

  /** @param passedOver left out: every line that cannot be read ends the input */
  constructor(maxLineBytes: number, passedOver?: PassedOver) {
    this.#maxLineBytes = maxLineBytes;
    this.#passedOver = passedOver;
    // One byte more than the longest line: it may be a CR.
    this.#carry = new PartialLine(maxLineBytes + 1);
  }

  push(bytes: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const chunk = this.#open === undefined ? bytes : this.#passOver(this.#open, bytes);
    const end = chunk.lastIndexOf(LF) + 1;
    // Only the line that was cut is put together. Copying the whole chunk for it would cost more
    // than cutting all its lines.
    const start = end === 0 || this.#carry.isEmpty ? 0 : chunk.indexOf(LF) + 1;
    if (start > 0) this.#decode(this.#carry.takeWith(chunk.subarray(0, start)));
    if (end > start && this.#fault === undefined) this.#decode(chunk.subarray(start, end));
    const rest = chunk.subarray(end);
    if (this.#carry.hasRoomFor(rest.length)) this.#carry.append(rest);
    else this.#handleLong(rest);
  }

  /**
   * Goes to the next line that is not blank and leaves out its line end. Returns false when no
   * whole line has come.
   * @throws PeerError INVALID_UTF8, LINE_TOO_LONG once the lines before the bad one were taken
   */
  advance(): boolean {
    this.unreadable = undefined;
    do {
      if (this.#next === this.text.length && !this.#takeBlock()) return false;
      if (this.unreadable !== undefined) return true;
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
    const block = this.#blocks.shift();
    this.#next = 0;
    this.text = typeof block === 'string' ? block : '';
    if (typeof block === 'object') this.unreadable = block;
    if (block !== undefined) return true;
    if (this.#fault !== undefined) throw this.#fault;
    return false;
  }

  #isBlank(): boolean {
    if (this.start === this.end) return true;
    return this.text.charCodeAt(this.start) === SPACE && BLANK.test(this.text.slice(this.start, this.end));
  }

  #checkLength(): void {
    const line = this.text.slice(this.start, this.end);
    const bytes = utf8Length(line);
    if (bytes <= this.#maxLineBytes) return;
    if (this.#isPassedOver(line, bytes)) {
      this.unreadable = { code: 'LINE_TOO_LONG', text: line.slice(0, HEAD_BYTES), bytes };
      return;
    }
    this.#blocks.clear();
    this.text = '';
    this.#next = 0;
    this.#fault = tooLong();
    throw this.#fault;
  }

  /** The line that was cut is over the limit, with `rest` behind it. */
  #handleLong(rest: Uint8Array): void {
    const bytes = this.#carry.length + rest.length;
    const head = this.#carry.takeWith(rest.subarray(0, HEAD_BYTES)).subarray(0, HEAD_BYTES);
    const text = decodeLeniently(head);
    if (this.#fault !== undefined) return;
    if (!this.#isPassedOver(text, bytes)) {
      this.#fault = tooLong();
      return;
    }
    this.#open = { code: 'LINE_TOO_LONG', text, bytes };
  }

  /** @returns what follows the line */
  #passOver(line: LongLine, chunk: Uint8Array): Uint8Array {
    const lf = chunk.indexOf(LF);
    line.bytes += lf < 0 ? chunk.length : lf;
    if (line.bytes > this.#passedOver!.maxBytes) this.#fault = tooLong();
    if (lf < 0 || this.#fault !== undefined) return NOTHING;
    this.#blocks.push(line);
    this.#open = undefined;
    return chunk.subarray(lf + 1);
  }

  #isPassedOver(text: string, bytes: number): boolean {
    const passedOver = this.#passedOver;
    return passedOver !== undefined && bytes <= passedOver.maxBytes && text.startsWith(passedOver.prefix);
  }

  #decode(whole: Uint8Array): void {
    try {
      this.#blocks.push(this.#decoder.decode(whole));
    } catch {
      this.#decodeLineByLine(whole);
    }
  }

  /** Keeps the lines before one that ends the input, and drops everything after it. */
  #decodeLineByLine(whole: Uint8Array): void {
    for (let at = 0; at < whole.length; ) {
      const end = whole.indexOf(LF, at) + 1;
      const line = whole.subarray(at, end);
      const text = decodeLeniently(line);
      if (isWhole(text, line)) this.#blocks.push(text);
      else if (!this.#passOverInvalid(text.replace(/\r?\n$/, ''), line.length - 1)) {
        this.#fault = new PeerError('INVALID_UTF8', 'invalid UTF-8');
        return;
      }
      at = end;
    }
  }

  #passOverInvalid(text: string, bytes: number): boolean {
    if (!this.#isPassedOver(text, bytes)) return false;
    const isLong = bytes > this.#maxLineBytes;
    const code = isLong ? 'LINE_TOO_LONG' : 'INVALID_UTF8';
    this.#blocks.push({ code, text: isLong ? text.slice(0, HEAD_BYTES) : text, bytes });
    return true;
  }
}

function tooLong(): PeerError {
  return new PeerError('LINE_TOO_LONG', 'Line length exceeded');
}
