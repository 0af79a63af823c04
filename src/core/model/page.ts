/** A page, which is what one read of a log returns, and the bounds of a stream. */

import type { History } from './history.ts';
import type { StreamName } from './stream.ts';
import type { Token } from './token.ts';

/** Whole batches of one stream and one history, in order, as lines that are ready to send. */
export interface Page {
  readonly stream: StreamName;
  /**
   * RDATA lines, each with its LF. All sessions that read here share the bytes: never write to
   * them.
   */
  readonly lines: Uint8Array;
  readonly rows: number;
  /** Inclusive: this page and those before it cover everything up to here. */
  readonly upTo: Token;
  readonly hasMore: boolean;
  /** The history of every row of the page. Without rows, the history of the row at `upTo`. */
  readonly history: History;
  /** Attributes of this page's batches, in order. Batches without attributes are left out. */
  readonly attributes?: readonly BatchAttributes[] | undefined;
}

export interface BatchAttributes {
  readonly token: Token;
  /** Where the batch's first line starts in `lines`, in bytes. */
  readonly at: number;
  /** The JSON text of an object, on one line. */
  readonly json: string;
}

/** How far a stream reaches. */
export interface Bounds {
  /** Every row with this token or a higher one is kept. `latest + 1` when nothing is kept. */
  readonly earliest: Token;
  /**
   * Settled: no row with this token or a lower one will still appear. 0 before the first append.
   */
  readonly latest: Token;
  /** The history of the row at `latest`. */
  readonly history: History;
  /**
   * The history of the row at `earliest - 1`, the last row that was dropped. The origin of the log
   * when none was dropped.
   */
  readonly base: History;
}

/** Whether a position is on the present history of a stream (docs/protocol.md, "On a history"). */
export type Verdict = 'on' | 'gap' | 'reset' | 'ahead';
