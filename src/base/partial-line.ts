/**
 * The beginning of a line whose end has not come. It is a bounded copy, so that the socket's large
 * chunk is not kept in memory for it.
 */

// A buffer grown by one long line is not kept for shorter lines.
const KEPT_BYTES = 4 * 1024;
const SMALLEST_BYTES = 256;

const NOTHING = new Uint8Array(0);

export class PartialLine {
  readonly #maxBytes: number;
  #buffer: Uint8Array = NOTHING;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** The memory that is held, in bytes. */
  get capacity(): number {
    return this.#buffer.length;
  }

  /** The length of the line so far, in bytes. */
  get length(): number {
    return this.#bytes;
  }

  hasRoomFor(bytes: number): boolean {
    return this.#bytes + bytes <= this.#maxBytes;
  }

  /** Returns false, and forgets the line, when it would be over the bound. */
  append(piece: Uint8Array): boolean {
    if (!this.hasRoomFor(piece.length)) {
      this.#buffer = NOTHING;
      this.#bytes = 0;
      return false;
    }
    this.#add(piece);
    return true;
  }

  /**
   * Returns the kept bytes followed by `rest`, and forgets them. Returns `rest` itself when nothing
   * was kept. The next `append` may overwrite the result.
   */
  takeWith(rest: Uint8Array): Uint8Array {
    if (this.#bytes === 0) return rest;
    this.#add(rest);
    const whole = this.#buffer.subarray(0, this.#bytes);
    this.#bytes = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = NOTHING;
    return whole;
  }

  #add(piece: Uint8Array): void {
    const bytes = this.#bytes + piece.length;
    if (bytes > this.#buffer.length) {
      const roomy = Math.min(Math.max(bytes * 2, SMALLEST_BYTES), this.#maxBytes);
      const grown = new Uint8Array(Math.max(bytes, roomy));
      grown.set(this.#buffer.subarray(0, this.#bytes));
      this.#buffer = grown;
    }
    this.#buffer.set(piece, this.#bytes);
    this.#bytes = bytes;
  }
}
