/**
 * Reads RDATA lines (docs/protocol.md, "Commands"), which are nearly all that a worker receives.
 */

import { ownText } from '../../base/bytes.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { UnreadableRow } from '../model/unreadable-row.ts';
import type { Dialect } from './command.ts';
import type { UnreadableLine } from './lines.ts';
import { asPeerError, Fault, readJsonAt, readStream, readToken } from './read-arguments.ts';

export const RDATA = 'RDATA ';
const BATCH = codesOf('batch ');
const SPACE = 0x20;
const DIGIT_0 = 0x30;
/** Every number with so many digits is a safe integer. */
const SAFE_DIGITS = 15;

/**
 * Reads RDATA lines where they stand in a longer text, one after the other. The row's JSON is the
 * only string made from a line, and one decoder serves all lines.
 */
export class RowDecoder {
  /** The stream of the row that was read last. */
  stream: StreamName = '';
  /** Undefined when the line says `batch`. */
  token: Token | undefined;
  /** An UnreadableRow where the line has no JSON. */
  row: unknown;
  /**
   * Set it once both sides have greeted. The dialects differ only in the meaning of a negative
   * token.
   */
  dialect: Dialect;
  /**
   * The characters of `RDATA <stream> `. The next row is nearly always of the same stream, and then
   * its name is neither copied nor checked again.
   */
  #head = new Uint16Array();

  constructor(dialect: Dialect = 'seed') {
    this.dialect = dialect;
  }

  /**
   * Reads the line from `start` to `end`. Returns false, and reads nothing, when it is not an RDATA
   * line.
   * @throws PeerError INVALID_ARGUMENTS
   */
  decode(text: string, start: number, end: number): boolean {
    const isSameStream = this.#head.length > 0 && isAt(text, start, this.#head);
    if (!isSameStream && !text.startsWith(RDATA, start)) return false;
    try {
      const rowAt = isSameStream
        ? this.#readToken(text, start + this.#head.length, end)
        : this.#readStreamAndToken(text, start, end);
      this.row = readRow(text, rowAt, end);
    } catch (thrown) {
      throw asPeerError('RDATA', thrown);
    }
    return true;
  }

  /**
   * Reads an RDATA line whose row cannot be read.
   * @throws PeerError INVALID_ARGUMENTS
   */
  decodeUnreadable({ code, text, bytes }: UnreadableLine, maxLineBytes: number): void {
    try {
      const rowAt = this.#readStreamAndToken(text, 0, text.length);
      this.row =
        code === 'INVALID_UTF8'
          ? new UnreadableRow({ code, text: 'it is not UTF-8' }, text.slice(rowAt))
          : new UnreadableRow(
              {
                code,
                text: `its line of ${bytes} bytes is over maxLineBytes ${maxLineBytes} of this worker`,
                facts: { bytes, limit: maxLineBytes, option: 'maxLineBytes' },
              },
              '',
            );
    } catch (thrown) {
      throw asPeerError('RDATA', thrown);
    }
  }

  #readStreamAndToken(text: string, start: number, end: number): number {
    const at = start + RDATA.length;
    const streamEnd = indexOfSpace(text, at, end);
    const tokenEnd = indexOfSpace(text, streamEnd + 1, end);
    if (streamEnd === end || tokenEnd === end) throw new Fault('expected <stream> <token|batch> <row_json>');
    this.stream = readStream(text.slice(at, streamEnd));
    this.#head = codesOf(text.slice(start, streamEnd + 1));
    return this.#readToken(text, streamEnd + 1, end);
  }

  /** @returns where the row starts */
  #readToken(text: string, at: number, end: number): number {
    let tokenEnd = at;
    let value = 0;
    for (
      let digit = text.charCodeAt(at) - DIGIT_0;
      digit >= 0 && digit <= 9;
      digit = text.charCodeAt(++tokenEnd) - DIGIT_0
    )
      value = value * 10 + digit;
    const digits = tokenEnd - at;
    if (digits > 0 && digits <= SAFE_DIGITS && text.charCodeAt(tokenEnd) === SPACE) {
      this.token = value;
      return tokenEnd + 1;
    }
    if (isAt(text, at, BATCH)) {
      this.token = undefined;
      return at + BATCH.length;
    }
    // Anything else: negative, very large, or wrong.
    tokenEnd = indexOfSpace(text, at, end);
    if (tokenEnd === end) throw new Fault('expected <stream> <token|batch> <row_json>');
    this.token = readToken(text.slice(at, tokenEnd), this.dialect);
    return tokenEnd + 1;
  }
}

function readRow(text: string, start: number, end: number): unknown {
  try {
    return readJsonAt(text, start, end);
  } catch {
    // Its text may be private, so the fault does not repeat it. A copy, because a part would keep
    // everything that came with it.
    const row = ownText(text.slice(start, end));
    return new UnreadableRow({ code: 'INVALID_ROW', text: 'it is not JSON, or nested too deeply' }, row);
  }
}

function codesOf(text: string): Uint16Array<ArrayBuffer> {
  // Uint16Array.from is slower, and rows of two streams that alternate read a name each time.
  const codes = new Uint16Array(text.length);
  for (let i = 0; i < codes.length; i++) codes[i] = text.charCodeAt(i);
  return codes;
}

/** Gives the result of `text.startsWith` in half the time. */
function isAt(text: string, at: number, codes: Uint16Array): boolean {
  for (let i = 0; i < codes.length; i++) if (text.charCodeAt(at + i) !== codes[i]) return false;
  return true;
}

function indexOfSpace(text: string, at: number, end: number): number {
  const space = text.indexOf(' ', at);
  return space < 0 || space > end ? end : space;
}
