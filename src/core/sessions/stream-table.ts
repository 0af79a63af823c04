/** What a primary's sessions may ask about its streams at any instant. */

import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Histories } from '../wire/greeting.ts';

/** The primary's streams as they stand; the same table serves every session. */
export interface StreamTable {
  readonly histories: Histories;
  names(): Iterable<StreamName>;
  get(stream: StreamName): StreamState | undefined;
}

export interface StreamState {
  readonly earliest: Token;
  readonly latest: Token;
  /** Rows appended since the process started: the difference of two readings is a lag in rows. */
  readonly appendedRows: number;
}
