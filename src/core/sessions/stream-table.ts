/** What a primary's sessions may ask about its streams at any instant. */

import type { Bounds } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { PrimaryEras } from '../wire/greeting.ts';

/** The primary's streams as they stand; the same table serves every session. */
export interface StreamTable {
  readonly eras: PrimaryEras;
  /**
   * The streams that every peer may see: declared by name, or made. The logs' own streams
   * (`$streams`) are not among them. A stream that is made or deleted during an iteration may be in
   * it or not.
   */
  names(): Iterable<StreamName>;
  /**
   * Looks a stream up for one replication. Undefined when no stream of this name is declared. The
   * table forgets what it counts of a stream when everyone who follows it has left.
   */
  follow(stream: StreamName): StreamState | undefined;
  /** Ends one `follow`. */
  leave(state: StreamState): void;
}

/** A stream as it stands, made or not. */
export interface StreamState {
  readonly stream: StreamName;
  /** Tells the sources apart, so that one which does not answer holds up only its own streams. */
  readonly source: object;
  readonly bounds: Bounds;
  /** Rows appended since someone follows: the difference of two readings is a lag in rows. */
  readonly appendedRows: number;
  /** How many rows have a higher token. */
  rowsAfter(after: Token): number;
}
