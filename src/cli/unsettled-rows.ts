/**
 * The rows of stdin on their way to a primary. What is not known to be appended is kept, so that a
 * primary without room for it gets it again. Knows no HTTP.
 */

import { Readable } from 'node:stream';

const LF = 0x0a;
const BLANK: ReadonlySet<number> = new Set([0x20, 0x09, 0x0d]);

export class UnsettledRows {
  readonly #stdin: Readable;
  readonly #onSent: (chunk: Uint8Array) => void;
  /** Came from stdin, and no body has taken it. */
  #came: Uint8Array[] = [];
  /** Taken by a body, and not known to be appended. */
  #kept: Uint8Array[] = [];
  /** Rows of the present body that are dropped from #kept. */
  #settled = 0;
  #body = 0;
  #isEnded = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;
  /** The number of the first line that is kept. */
  firstLine = 1;

  /** @param onSent gets each piece when a body takes it for the first time */
  constructor(stdin: Readable, onSent: (chunk: Uint8Array) => void) {
    this.#stdin = stdin;
    this.#onSent = onSent;
    stdin.on('data', this.#handleData).on('end', this.#handleEnd).on('error', this.#handleError);
    stdin.pause();
  }

  /** The body of one more request: what is kept, then what comes. Earlier bodies end. */
  body(): Readable {
    this.#settled = 0;
    this.#wake?.();
    return Readable.from(this.#pieces(++this.#body), { objectMode: false });
  }

  /** So many rows of the present body are appended. */
  handleAppended(rows: number): void {
    while (this.#settled < rows && this.#kept.length > 0) {
      const text = this.#kept.length === 1 ? this.#kept[0]! : Buffer.concat(this.#kept);
      let at = 0;
      for (let end = text.indexOf(LF); end !== -1 && this.#settled < rows; end = text.indexOf(LF, at)) {
        if (!isBlank(text, at, end)) this.#settled++;
        this.firstLine++;
        at = end + 1;
      }
      this.#kept = at < text.length ? [text.subarray(at)] : [];
      // The last line has no end: it is appended, too.
      if (at === 0) return;
    }
  }

  /** Leaves stdin alone. */
  close(): void {
    this.#body++;
    this.#wake?.();
    this.#stdin.off('data', this.#handleData).off('end', this.#handleEnd).off('error', this.#handleError);
    this.#stdin.pause();
  }

  async *#pieces(body: number): AsyncGenerator<Uint8Array, void, void> {
    yield* this.#kept;
    for (;;) {
      const chunk = await this.#next(body);
      if (chunk === undefined) return;
      this.#kept.push(chunk);
      this.#onSent(chunk);
      yield chunk;
    }
  }

  /** Undefined at the end of stdin, and when another body has begun. */
  async #next(body: number): Promise<Uint8Array | undefined> {
    while (body === this.#body) {
      const chunk = this.#came.shift();
      if (chunk !== undefined) return chunk;
      if (this.#error !== undefined) throw this.#error;
      if (this.#isEnded) return undefined;
      this.#stdin.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return undefined;
  }

  readonly #handleData = (chunk: Uint8Array | string): void => {
    this.#came.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    this.#stdin.pause();
    this.#wake?.();
  };

  readonly #handleEnd = (): void => {
    this.#isEnded = true;
    this.#wake?.();
  };

  readonly #handleError = (error: Error): void => {
    this.#error = error;
    this.#wake?.();
  };
}

/** A line of white space is no row. */
function isBlank(text: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (!BLANK.has(text[i]!)) return false;
  return true;
}
