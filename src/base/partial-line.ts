/** The beginning of a line whose end has not come: copied, so that the socket's large chunk is not kept for it, and bounded. */

// A buffer that one long line has grown is not kept for the next, short one.
const KEPT_BYTES = 4 * 1024;

export class PartialLine {
  readonly #maxBytes: number;
  #buffer: Buffer = Buffer.alloc(0);
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** False when it would be over the bound: then nothing is kept any more. */
  append(piece: Uint8Array): boolean {
    const bytes = this.#bytes + piece.length;
    if (bytes > this.#maxBytes) {
      this.#buffer = Buffer.alloc(0);
      this.#bytes = 0;
      return false;
    }
    if (bytes > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes * 2, 256), this.#maxBytes));
      this.#buffer.copy(grown, 0, 0, this.#bytes);
      this.#buffer = grown;
    }
    this.#buffer.set(piece, this.#bytes);
    this.#bytes = bytes;
    return true;
  }

  /** What was kept, with `rest` behind it; nothing is kept then. `rest` itself where nothing was. */
  takeWith(rest: Uint8Array): Uint8Array {
    if (this.#bytes === 0) return rest;
    const whole = Buffer.concat([this.#buffer.subarray(0, this.#bytes), rest]);
    this.#bytes = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.alloc(0);
    return whole;
  }
}
