/** A page: what one read of a log returns. */

import type { StreamName } from './stream.ts';
import type { Token } from './token.ts';

/** Whole batches of one stream, in order, as ready lines of the wire. */
export interface Page {
  readonly stream: StreamName;
  /** RDATA lines, each with its LF. Shared by every session that reads here: nobody may write to it. */
  readonly lines: Uint8Array;
  readonly rows: number;
  /** Inclusive: everything up to here is in this page or before it. */
  readonly upTo: Token;
  readonly hasMore: boolean;
}

/** How far a stream reaches. */
export interface Bounds {
  /** Every row with this token or a higher one is kept. `latest + 1` when nothing is kept. */
  readonly earliest: Token;
  /** Settled: no row with this token or a lower one will appear any more. 0 before the first append. */
  readonly latest: Token;
}
