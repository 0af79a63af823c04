/** First in, first out. An entry needs no allocation: on the hot path it costs two writes. */

/**
 * Free slots at the front are given back once they number this many and half of all slots. An empty
 * queue keeps at most this many.
 */
const SLOTS_WORTH_MOVING = 1_024;

export class Queue<T> {
  #slots: (T | undefined)[] = [];
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  /** The entry that `shift` gives next. */
  peek(): T | undefined {
    return this.#start === this.#end ? undefined : this.#slots[this.#start];
  }

  push(entry: T): void {
    this.#slots[this.#end++] = entry;
  }

  /** Clears the slot: a queue that never empties must not keep every entry that went through it. */
  shift(): T | undefined {
    if (this.#start === this.#end) return undefined;
    const entry = this.#slots[this.#start];
    this.#slots[this.#start++] = undefined;
    if (this.#start === this.#end) this.#rewind();
    else if (this.#start >= SLOTS_WORTH_MOVING && this.#start * 2 >= this.#end) this.#move();
    return entry;
  }

  clear(): void {
    this.#slots = [];
    this.#start = 0;
    this.#end = 0;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let i = this.#start; i < this.#end; i++) yield this.#slots[i]!;
  }

  #rewind(): void {
    if (this.#slots.length > SLOTS_WORTH_MOVING) this.#slots = [];
    this.#start = 0;
    this.#end = 0;
  }

  #move(): void {
    this.#slots = this.#slots.slice(this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }
}
