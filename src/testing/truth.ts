/** What was really committed, in which history: what the checkers compare with. Knows the lines of a log and no session. */

import type { Chunk } from '../log/chunk.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { WorldRow } from './happening.ts';

export interface TrueBatch {
  readonly number: number;
  readonly stream: StreamName;
  readonly logId: string;
  readonly token: Token;
  readonly rows: number;
}

export interface TrueStream {
  readonly logId: string;
  readonly earliest: Token;
  readonly latest: Token;
}

export class Truth {
  readonly #histories = new Map<string, TrueBatch[]>();
  readonly #batches = new Map<number, TrueBatch>();
  /** Answers for the present; set by whoever owns the logs. */
  readonly #now: (stream: StreamName) => TrueStream;

  constructor(now: (stream: StreamName) => TrueStream) {
    this.#now = now;
  }

  handleCommitted(logId: string, stream: StreamName, chunks: readonly Chunk[]): void {
    const history = this.#history(logId, stream);
    for (const { lines } of chunks) {
      for (const { token, rows } of batchesOf(lines)) {
        const batch: TrueBatch = { number: rows[0]!.batch, stream, logId, token, rows: rows.length };
        history.push(batch);
        this.#batches.set(batch.number, batch);
      }
    }
  }

  /** Undefined: no log ever had it. */
  batch(number: number): TrueBatch | undefined {
    return this.#batches.get(number);
  }

  now(stream: StreamName): TrueStream {
    return this.#now(stream);
  }

  isEnded(stream: StreamName, logId: string): boolean {
    return this.#now(stream).logId !== logId;
  }

  /** The first batch with token > after. */
  next(logId: string, stream: StreamName, after: Token): TrueBatch | undefined {
    const history = this.#history(logId, stream);
    let low = 0;
    let high = history.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (history[middle]!.token > after) high = middle;
      else low = middle + 1;
    }
    return history[low];
  }

  /** How many rows there are with token > after. */
  rowsAfter(logId: string, stream: StreamName, after: Token): number {
    let rows = 0;
    for (const batch of this.#history(logId, stream)) if (batch.token > after) rows += batch.rows;
    return rows;
  }

  #history(logId: string, stream: StreamName): TrueBatch[] {
    const key = `${logId} ${stream}`;
    let history = this.#histories.get(key);
    if (history === undefined) {
      history = [];
      this.#histories.set(key, history);
    }
    return history;
  }
}

/** Lines taken apart by another way than the protocol's own. */
export function batchesOf(lines: Uint8Array): { token: Token; rows: WorldRow[] }[] {
  const batches: { token: Token; rows: WorldRow[] }[] = [];
  let rows: WorldRow[] = [];
  for (const line of Buffer.from(lines.buffer, lines.byteOffset, lines.length).toString('utf8').split('\n')) {
    if (line === '') continue;
    const [, , token] = line.split(' ', 3);
    rows.push(JSON.parse(line.slice(line.indexOf('{'))) as WorldRow);
    if (token === 'batch') continue;
    batches.push({ token: Number(token), rows });
    rows = [];
  }
  return batches;
}
