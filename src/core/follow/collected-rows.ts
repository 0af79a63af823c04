/** The rows of one stream until their batch is whole, and the attributes that came before them. */

import { ownText } from '../../base/bytes.ts';
import type { RowText } from '../model/row.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { UnreadableRow } from '../model/unreadable-row.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import { RDATA } from '../wire/row-decoder.ts';
import type { UnfinishedRows } from './row-cost.ts';

/** The content of an ATTR line. */
export interface Attributes {
  readonly token: Token;
  readonly attributes: object;
}

export interface WholeBatch {
  readonly rows: unknown[];
  /** The rows as they came. Undefined where they are not kept. */
  readonly texts: RowText[] | undefined;
  /** A row of it is an UnreadableRow. */
  readonly isUnreadable: boolean;
  readonly attributes: Attributes | undefined;
  readonly cost: number;
}

export class CollectedRows {
  readonly #stream: StreamName;
  readonly #host: { readonly unfinished: UnfinishedRows };
  readonly #keepsTexts: boolean;
  #rows: unknown[] = [];
  #texts: RowText[] | undefined;
  #isUnreadable = false;
  /** The batch is too large, so its further rows are dropped. */
  #isOver = false;
  #attributes: Attributes | undefined;
  #characters = 0;
  #cost = 0;

  constructor(stream: StreamName, host: { readonly unfinished: UnfinishedRows }, keepsTexts: boolean) {
    this.#stream = stream;
    this.#keepsTexts = keepsTexts;
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#attributes === undefined;
  }

  /** @throws PeerError BATCH_TOO_LARGE when the unfinished batches of other streams leave no room */
  addAttributes(attributes: Attributes, line: LineInText): void {
    if (this.#count(line)) this.#attributes = attributes;
  }

  /** @throws PeerError BATCH_TOO_LARGE when the unfinished batches of other streams leave no room */
  add(row: unknown, line: LineInText): void {
    if (!this.#count(line)) return;
    // Most batches have one row, so no room is made for more.
    if (this.#rows.length === 0) this.#rows = [row];
    else this.#rows.push(row);
    if (row instanceof UnreadableRow) this.#isUnreadable = true;
    if (this.#keepsTexts) (this.#texts ??= []).push(this.#textOf(row, line));
  }

  /**
   * A batch of one small row, as most batches are, which costs no bookkeeping. Undefined when it is
   * part of a larger batch, or must be counted.
   */
  takeOne(row: unknown, line: LineInText): WholeBatch | undefined {
    if (!this.isEmpty || !this.#host.unfinished.isSmall(line)) return undefined;
    const length = line.end - line.start;
    return {
      rows: [row],
      texts: this.#keepsTexts ? [this.#textOf(row, line)] : undefined,
      isUnreadable: row instanceof UnreadableRow,
      attributes: undefined,
      cost: this.#keepsTexts ? 2 * length : length,
    };
  }

  /** Takes the rows: the batch is whole. */
  take(): WholeBatch {
    const taken = {
      rows: this.#rows,
      texts: this.#texts,
      isUnreadable: this.#isUnreadable,
      attributes: this.#attributes,
      cost: this.#cost + (this.#keepsTexts ? this.#characters : 0),
    };
    this.drop();
    return taken;
  }

  /** Drops the rows, because the batch is whole or will not be whole on this connection. */
  drop(): void {
    this.#host.unfinished.remove(this.#characters, this.#cost);
    this.#rows = [];
    this.#texts = undefined;
    this.#isUnreadable = false;
    this.#isOver = false;
    this.#attributes = undefined;
    this.#characters = 0;
    this.#cost = 0;
  }

  /** Returns false when the batch is too large to be kept. */
  #count(line: LineInText): boolean {
    if (this.#isOver) return false;
    const { unfinished } = this.#host;
    const cost = unfinished.add(this.#stream, line, this.#cost);
    if (cost === undefined) {
      // It would be too large on every connection, so the fault is the batch's.
      this.drop();
      const facts = { limit: unfinished.maxBytes, option: 'maxBatchBytes' };
      const text = `it takes over maxBatchBytes ${unfinished.maxBytes} of this worker in memory`;
      this.#rows = [new UnreadableRow({ code: 'BATCH_TOO_LARGE', text, facts }, '')];
      if (this.#keepsTexts) this.#texts = [''];
      this.#isUnreadable = true;
      this.#isOver = true;
      return false;
    }
    this.#characters += line.end - line.start;
    this.#cost += cost;
    return true;
  }

  /** A copy of the row as it came, because a part of it would keep everything that came with it. */
  #textOf(row: unknown, { text, start, end }: LineInText): RowText {
    if (row instanceof UnreadableRow) return row.text;
    const tokenAt = start + RDATA.length + this.#stream.length + 1;
    return ownText(text.slice(text.indexOf(' ', tokenAt) + 1, end));
  }
}
