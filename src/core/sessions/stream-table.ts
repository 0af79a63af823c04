/** What a primary's sessions may ask about its streams at any instant. */

import type { Bounds } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { PrimaryEras } from '../wire/greeting.ts';

/** The primary's streams as they stand; the same table serves every session. */
export interface StreamTable {
  readonly eras: PrimaryEras;
  /** The streams that every peer may see. The logs' own streams (`$streams`) are not among them. */
  names(): Iterable<StreamName>;
  get(stream: StreamName): StreamState | undefined;
}

export interface StreamState {
  readonly bounds: Bounds;
  /** Rows appended since the process started: the difference of two readings is a lag in rows. */
  readonly appendedRows: number;
  /** How many rows have a higher token. */
  rowsAfter(after: Token): number;
}
