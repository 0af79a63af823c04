/**
 * REPLICATE ALL: every stream that is there, one by one as the socket takes the answers, and those
 * that are made later.
 */

import type { StreamName } from '../model/stream.ts';
import type { ReplicateFrom } from './streams-host.ts';

interface Pending {
  readonly from: ReplicateFrom;
  readonly names: Iterator<StreamName>;
  /** Streams that were made meanwhile. They have begun at their first row. */
  readonly made: Set<StreamName>;
}

export class AllStreams {
  #pending: Pending | undefined;
  #isAsked = false;

  /** ALL was asked for: streams that are made later are included. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  ask(from: ReplicateFrom, names: Iterable<StreamName>): void {
    this.#isAsked = true;
    this.#pending = { from, names: names[Symbol.iterator](), made: new Set() };
  }

  /** The next stream to begin. Undefined once all have begun. */
  next(): { readonly stream: StreamName; readonly from: ReplicateFrom } | undefined {
    while (this.#pending !== undefined) {
      const { names, from, made } = this.#pending;
      const next = names.next();
      if (next.done === true) this.#pending = undefined;
      else if (!made.has(next.value)) return { stream: next.value, from };
    }
    return undefined;
  }

  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** The stream was made, and has begun. */
  handleMade(stream: StreamName): void {
    this.#pending?.made.add(stream);
  }

  clear(): void {
    this.#pending = undefined;
  }
}
