/** A page, which is what one read of a log returns, and the bounds of a stream. */

import type { Chunk } from './chunk.ts';
import { type History, originOf } from './history.ts';
import type { StreamName } from './stream.ts';
import type { Token } from './token.ts';

/** Whole batches of one stream and one history, in order. Sessions share pages and their bytes. */
export interface Page {
  readonly stream: StreamName;
  /** Neighbouring chunks. None: there is nothing after the position that was asked for. */
  readonly chunks: readonly Chunk[];
  readonly rows: number;
  /** Inclusive: this page and those before it cover everything up to here. */
  readonly upTo: Token;
  readonly hasMore: boolean;
  /** The history of every row of the page. Without rows, the history of the row at `upTo`. */
  readonly history: History;
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

/** The bounds of a stream that is not made yet. */
export function emptyBounds(logId: string): Bounds {
  const origin = originOf(logId);
  return { earliest: 1, latest: 0, history: origin, base: origin };
}

/** Whether a position is on the present history of a stream (docs/protocol.md, "On a history"). */
export type Verdict = 'on' | 'gap' | 'reset' | 'ahead';
