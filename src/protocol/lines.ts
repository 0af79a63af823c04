/** Lines cut from chunks of bytes that end anywhere (docs/protocol.md, "Lines"). Knows no command. */

import { Carry } from '../base/carry.ts';
import { PeerError } from '../model/errors.ts';

const LF = 0x0a;
const LONGEST_UTF8_BYTES_PER_UNIT = 3;
const BLANK = /^ *$/;

export class LineCutter {
  readonly #maxLineBytes: number;
  // Fatal: bytes that are not UTF-8 throw. A byte order mark is a character like any other.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #carry: Carry;
  /** Whole lines that came and were not taken. */
  #blocks: string[] = [];
  #at = 0;
  /** What ends the input after the lines in #blocks; nothing is taken in any more. */
  #fault: PeerError | undefined;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
    // One more than the longest line: it may be a CR.
    this.#carry = new Carry(maxLineBytes + 1);
  }

  push(chunk: Uint8Array): void {
    if (this.#fault !== undefined) return;
    const end = chunk.lastIndexOf(LF) + 1;
    if (end > 0) this.#decode(this.#carry.takeWith(chunk.subarray(0, end)));
    if (!this.#carry.append(chunk.subarray(end))) this.#fault ??= tooLong();
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
