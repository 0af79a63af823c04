/** Looks up by which pattern a stream is followed. */

import { EVERY_NAME, matchesPattern, type NamePattern } from './pattern.ts';
import type { StreamName } from './stream.ts';

export class PatternTable<Value> {
  readonly #values = new Map<NamePattern, Value>();
  /** Patterns that were given up. EVERY_NAME does not stand for their names. */
  readonly #givenUp = new Set<NamePattern>();

  get size(): number {
    return this.#values.size;
  }

  keys(): Iterable<NamePattern> {
    return this.#values.keys();
  }

  get(pattern: NamePattern): Value | undefined {
    return this.#values.get(pattern);
  }

  set(pattern: NamePattern, value: Value): void {
    this.#givenUp.delete(pattern);
    this.#values.set(pattern, value);
  }

  giveUp(pattern: NamePattern): void {
    if (this.#values.delete(pattern) && pattern !== EVERY_NAME) this.#givenUp.add(pattern);
  }

  /** The value of the pattern that stands for the name. Any pattern wins over EVERY_NAME. */
  find(name: StreamName): Value | undefined {
    for (const [pattern, value] of this.#values) {
      if (pattern !== EVERY_NAME && matchesPattern(pattern, name)) return value;
    }
    for (const pattern of this.#givenUp) if (matchesPattern(pattern, name)) return undefined;
    return matchesPattern(EVERY_NAME, name) ? this.#values.get(EVERY_NAME) : undefined;
  }
}
