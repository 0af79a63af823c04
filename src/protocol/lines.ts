/** Lines cut from chunks of bytes that end anywhere (docs/protocol.md, "Lines"). Knows no command. */

import { PeerError } from '../model/errors.ts';

const LF = 0x0a;
// A carry buffer that one long line has grown is not kept for the next, short one.
const KEPT_CARRY_BYTES = 4 * 1024;
const LONGEST_UTF8_BYTES_PER_UNIT = 3;
const BLANK = /^ *$/;

export class LineCutter {
  readonly #maxLineBytes: number;
  // Fatal: bytes that are not UTF-8 throw. A byte order mark is a character like any other.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** The beginning of a line whose end has not come; copied, so that the socket's large chunk is not kept for it. */
  #carry: Buffer = Buffer.alloc(0);
  #carryBytes = 0;
  /** Whole lines that came and were not taken. */
  #blocks: string[] = [];
  #at = 0;
  /** What ends the input after the lines in #blocks; nothing is taken in any more. */
  #fault: PeerError | undefined;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  push(chunk: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const end = chunk.lastIndexOf(LF) + 1;
    if (end > 0) {
      const whole = chunk.subarray(0, end);
      this.#decode(this.#carryBytes === 0 ? whole : Buffer.concat([this.#carry.subarray(0, this.#carryBytes), whole]));
      this.#carryBytes = 0;
      if (this.#carry.length > KEPT_CARRY_BYTES) this.#carry = Buffer.alloc(0);
    }
    this.#keep(chunk.subarray(end));
  }

  /**
   * The next line without its line end, blank ones left out; undefined when no whole line is there.
   * @throws PeerError INVALID_UTF8, LINE_TOO_LONG, in the place of the line that is at fault
   */
  next(): string | undefined {
    for (;;) {
      const block = this.#blocks[0];
      if (block === undefined) {
        if (this.#fault !== undefined) throw this.#fault;
        return undefined;
      }
      const lf = block.indexOf('\n', this.#at);
      const cr = block.charCodeAt(lf - 1) === 0x0d && lf > this.#at ? 1 : 0;
      const line = block.slice(this.#at, lf - cr);
      this.#at = lf + 1;
      if (this.#at === block.length) {
        this.#blocks.shift();
        this.#at = 0;
      }
      this.#checkLength(line);
      if (!BLANK.test(line)) return line;
    }
  }

  #checkLength(line: string): void {
    if (line.length * LONGEST_UTF8_BYTES_PER_UNIT <= this.#maxLineBytes) return;
    if (Buffer.byteLength(line) <= this.#maxLineBytes) return;
    this.#blocks = [];
    this.#fault = tooLong();
    throw this.#fault;
  }

  #keep(rest: Uint8Array): void {
    const bytes = this.#carryBytes + rest.length;
    // One more than the longest line: it may be a CR.
    if (bytes > this.#maxLineBytes + 1) {
      this.#fault ??= tooLong();
      this.#carry = Buffer.alloc(0);
      this.#carryBytes = 0;
      return;
    }
    if (bytes > this.#carry.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes * 2, 256), this.#maxLineBytes + 1));
      this.#carry.copy(grown, 0, 0, this.#carryBytes);
      this.#carry = grown;
    }
    this.#carry.set(rest, this.#carryBytes);
    this.#carryBytes = bytes;
  }

  #decode(whole: Uint8Array): void {
    try {
      this.#blocks.push(this.#decoder.decode(whole));
    } catch {
      this.#decodeLineByLine(whole);
    }
  }

  /** The lines before the bad one count; what follows it does not. */
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
