/**
 * Streams as plain arrays, and their pages: the answers for a primary's session without a log.
 * Synchronous.
 */

import { encodeBatch } from '../../src/core/model/batch.ts';
import { formatHistory, type History, originOf } from '../../src/core/model/history.ts';
import type { BatchAttributes, Bounds, Page, Verdict } from '../../src/core/model/page.ts';
import type { Position } from '../../src/core/model/position.ts';
import { DURABLE_CATALOG, type StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import type { StreamState, StreamTable } from '../../src/core/sessions/stream-table.ts';
import type { PrimaryEras } from '../../src/core/wire/greeting.ts';
import { refuseGap } from '../../src/log/chunk-page.ts';
import { judgePosition } from '../../src/log/judge.ts';

const LOG_ID = '8f3c1d2e4b5a6978';
const VOLATILE_ERA = '0123456789abcdef.1.00c0ffee';

/** The history of rows written in the era of this number. */
export function era(number: number): History {
  return formatHistory({ logId: LOG_ID, number, random: 'a1b2c3d4' });
}

/** The history of token 0. */
export const ORIGIN: History = originOf(LOG_ID);

export interface MemoryBatch {
  readonly token: Token;
  readonly rows: readonly unknown[];
  /** Default: era 1. */
  readonly history?: History;
  readonly attributes?: object;
}

export class MemoryStream implements StreamState {
  readonly name: StreamName;
  batches: MemoryBatch[] = [];
  latest: Token = 0;
  earliest: Token = 1;
  /** The history of the row at `earliest - 1`. */
  base: History = ORIGIN;
  appendedRows = 0;

  constructor(name: StreamName) {
    this.name = name;
  }

  get bounds(): Bounds {
    const { earliest, latest, base } = this;
    return { earliest, latest, base, history: this.#historyAt(latest) };
  }

  rowsAfter(after: Token): number {
    let rows = 0;
    for (const batch of this.batches) if (batch.token > after) rows += batch.rows.length;
    return rows;
  }

  judge(position: Position): Verdict {
    return judgePosition(position, {
      logId: LOG_ID,
      bounds: this.bounds,
      historyAt: (token) => this.#historyAt(token),
    });
  }

  /** @throws LogError LOG_GAP */
  read(after: Token, maxBytes: number): Page {
    const { name, latest, bounds } = this;
    refuseGap('memory', name, after, bounds);
    const lines: Buffer[] = [];
    const attributes: BatchAttributes[] = [];
    let [bytes, rows, upTo, history] = [0, 0, latest, bounds.history];
    for (const batch of this.batches) {
      if (batch.token <= after) continue;
      const ofBatch = batch.history ?? era(1);
      // A page ends at the border of an era.
      if (rows > 0 && (bytes >= maxBytes || ofBatch !== history)) break;
      if (batch.attributes) attributes.push({ token: batch.token, at: bytes, json: JSON.stringify(batch.attributes) });
      const texts = batch.rows.map((row) => JSON.stringify(row));
      const line = Buffer.from(encodeBatch(name, batch.token, texts));
      lines.push(line);
      bytes += line.length;
      rows += batch.rows.length;
      upTo = batch.token;
      history = ofBatch;
    }
    // If the last batch is below it, the stream has moved on without rows.
    if (upTo === this.batches.at(-1)?.token) upTo = latest;
    const page = { stream: name, lines: Buffer.concat(lines), rows, upTo, hasMore: upTo < latest, history };
    return attributes.length > 0 ? { ...page, attributes } : page;
  }

  #historyAt(token: Token): History {
    const batch = this.batches.findLast((candidate) => candidate.token <= token);
    return batch === undefined ? this.base : (batch.history ?? era(1));
  }
}

export class MemoryStreams implements StreamTable {
  readonly #streams: Map<StreamName, MemoryStream>;
  readonly #catalog = new MemoryStream(DURABLE_CATALOG);
  /** The era of new rows. */
  era: History = era(1);

  constructor(...names: readonly StreamName[]) {
    this.#streams = new Map(names.map((name) => [name, new MemoryStream(name)]));
  }

  get eras(): PrimaryEras {
    return { durable: this.era, volatile: VOLATILE_ERA, others: [] };
  }

  names(): Iterable<StreamName> {
    return this.#streams.keys();
  }

  get(stream: StreamName): MemoryStream | undefined {
    return stream === DURABLE_CATALOG ? this.#catalog : this.#streams.get(stream);
  }

  /** One batch with the next token. */
  append(stream: StreamName, ...rows: readonly unknown[]): Token {
    return this.#append(stream, rows, {});
  }

  appendWith(attributes: object, stream: StreamName, ...rows: readonly unknown[]): Token {
    return this.#append(stream, rows, { attributes });
  }

  /** Puts the stream at this token, with no rows kept. */
  standAt(stream: StreamName, token: Token): void {
    const state = this.get(stream)!;
    state.latest = token;
    state.earliest = token + 1;
    state.base = this.era;
  }

  trim(stream: StreamName, upTo: Token): void {
    const state = this.get(stream)!;
    const gone = state.batches.filter(({ token }) => token <= upTo);
    state.base = gone.at(-1)?.history ?? state.base;
    state.batches = state.batches.slice(gone.length);
    state.earliest = upTo + 1;
  }

  #append(stream: StreamName, rows: readonly unknown[], more: { readonly attributes?: object }): Token {
    const state = this.get(stream)!;
    state.latest++;
    state.batches.push({ token: state.latest, rows, history: this.era, ...more });
    state.appendedRows += rows.length;
    return state.latest;
  }
}
