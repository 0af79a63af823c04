/** Finds the keys that begin with given keys without scanning the others. */

import { SEPARATOR } from './keys.ts';

export class PrefixIndex {
  /** One map for each number of leading keys, smallest number first. */
  readonly #levels: readonly Map<string, Set<string>>[];

  /** @param depth up to how many leading keys are indexed */
  constructor(depth: number) {
    this.#levels = Array.from({ length: depth }, () => new Map<string, Set<string>>());
  }

  add(key: string): void {
    let end = -1;
    for (const level of this.#levels) {
      end = key.indexOf(SEPARATOR, end + 1);
      const prefix = key.slice(0, end);
      const keys = level.get(prefix);
      if (keys === undefined) level.set(prefix, new Set([key]));
      else keys.add(key);
    }
  }

  delete(key: string): void {
    let end = -1;
    for (const level of this.#levels) {
      end = key.indexOf(SEPARATOR, end + 1);
      const prefix = key.slice(0, end);
      const keys = level.get(prefix);
      if (keys?.delete(key) === true && keys.size === 0) level.delete(prefix);
    }
  }

  /** @param depth how many keys the prefix has, at most the depth of the index */
  under(prefix: string, depth: number): Iterable<string> {
    return this.#levels[depth - 1]!.get(prefix) ?? [];
  }

  clear(): void {
    for (const level of this.#levels) level.clear();
  }
}
