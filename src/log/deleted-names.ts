/**
 * The names of streams that were deleted in the present era. One of them that is made again needs a
 * new era first: positions of the deleted stream would else seem to be of the new one.
 */

import type { StreamName } from '../core/model/stream.ts';

/** Over this many names the next commit begins an era, which makes all of them harmless. */
const MAX_DELETED_NAMES = 10_000;

/** The names of one era. A log adds to it in `delete`, and asks it before it makes streams. */
export class DeletedNames {
  readonly #names = new Set<StreamName>();

  /** Remembers a stream that was deleted. */
  add(name: StreamName): void {
    this.#names.add(name);
  }

  /** Whether a commit that makes these streams needs another era. */
  needEra(made: readonly StreamName[]): boolean {
    return this.#names.size > MAX_DELETED_NAMES || made.some((name) => this.#names.has(name));
  }

  /** Another era has begun. */
  clear(): void {
    this.#names.clear();
  }
}
