/** The rows of one stream until their batch is whole, and the attributes that came before them. */

import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import type { UnfinishedRows } from './row-cost.ts';

/** The content of an ATTR line. */
export interface Attributes {
  readonly token: Token;
  readonly attributes: object;
}

export interface WholeBatch {
  readonly rows: unknown[];
  readonly attributes: Attributes | undefined;
  readonly cost: number;
}

export class CollectedRows {
  readonly #stream: StreamName;
  readonly #host: { readonly unfinished: UnfinishedRows };
  #rows: unknown[] = [];
  #attributes: Attributes | undefined;
  #characters = 0;
  #cost = 0;

  constructor(stream: StreamName, host: { readonly unfinished: UnfinishedRows }) {
    this.#stream = stream;
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#attributes === undefined;
  }

  /** @throws PeerError BATCH_TOO_LARGE */
  addAttributes(attributes: Attributes, line: LineInText): void {
    this.#attributes = attributes;
    this.#count(line);
  }

  /** @throws PeerError BATCH_TOO_LARGE */
  add(row: unknown, line: LineInText): void {
    // Most batches have one row, so no room is made for more.
    if (this.#rows.length === 0) this.#rows = [row];
    else this.#rows.push(row);
    this.#count(line);
  }

  /**
   * A batch of one small row, as most batches are, which costs no bookkeeping. Undefined when it is
   * part of a larger batch, or must be counted.
   */
  takeOne(row: unknown, line: LineInText): WholeBatch | undefined {
    if (!this.isEmpty || !this.#host.unfinished.isSmall(line)) return undefined;
    return { rows: [row], attributes: undefined, cost: line.end - line.start };
  }

  /** Takes the rows: the batch is whole. */
  take(): WholeBatch {
    const taken = { rows: this.#rows, attributes: this.#attributes, cost: this.#cost };
    this.drop();
    return taken;
  }

  /** Drops the rows, because the batch is whole or will not be whole on this connection. */
  drop(): void {
    this.#host.unfinished.remove(this.#characters, this.#cost);
    this.#rows = [];
    this.#attributes = undefined;
    this.#characters = 0;
    this.#cost = 0;
  }

  #count(line: LineInText): void {
    const cost = this.#host.unfinished.add(this.#stream, line);
    this.#characters += line.end - line.start;
    this.#cost += cost;
  }
}
