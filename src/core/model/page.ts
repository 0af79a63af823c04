/** A page: what one read of a log returns; and how far a stream reaches. */

import type { History } from './history.ts';
import type { StreamName } from './stream.ts';
import type { Token } from './token.ts';

/** Whole batches of one stream and one history, in order, as ready lines of the wire. */
export interface Page {
  readonly stream: StreamName;
  /** RDATA lines, each with its LF. Shared by every session that reads here: nobody may write to it. */
  readonly lines: Uint8Array;
  readonly rows: number;
  /** Inclusive: everything up to here is in this page or before it. */
  readonly upTo: Token;
  readonly hasMore: boolean;
  /** Of every row of the page; of the row at `upTo` where it has none. */
  readonly history: History;
  /** Of the batches of this page that have some, in order. */
  readonly attributes?: readonly BatchAttributes[] | undefined;
}

export interface BatchAttributes {
  readonly token: Token;
  /** Where the batch's first line starts in the lines, in bytes. */
  readonly at: number;
  /** The JSON of an object, on one line. */
  readonly json: string;
}

/** How far a stream reaches. */
export interface Bounds {
  /** Every row with this token or a higher one is kept. `latest + 1` when nothing is kept. */
  readonly earliest: Token;
  /** Settled: no row with this token or a lower one will appear any more. 0 before the first append. */
  readonly latest: Token;
  /** Of the row at `latest`. */
  readonly history: History;
  /** Of the row at `earliest - 1`: of the last row that was dropped; the origin of the log where none was. */
  readonly base: History;
}

/** Whether a position is on the present history of a stream (docs/protocol.md, "Histories"). */
export type Verdict = 'on' | 'gap' | 'reset' | 'ahead';
