/** The keys that were invalidated during a prefill. */

import { SEPARATOR } from './keys.ts';

export class Drops {
  readonly #prefixes = new Set<string>();
  #isAll = false;

  /** Adds all the keys of an entry, or the first few, joined as one text. */
  add(prefix: string): void {
    this.#prefixes.add(prefix);
  }

  addAll(): void {
    this.#isAll = true;
  }

  /** @param key all the keys of an entry, joined as one text */
  has(key: string): boolean {
    if (this.#isAll || this.#prefixes.has(key)) return true;
    for (let end = key.indexOf(SEPARATOR); end >= 0; end = key.indexOf(SEPARATOR, end + 1)) {
      if (this.#prefixes.has(key.slice(0, end))) return true;
    }
    return false;
  }
}
