/**
 * Streams as plain arrays, and their pages: the answers for a primary's session without a log.
 * Synchronous.
 */

import { type Chunk, chunkBytes } from '../../src/core/model/chunk.ts';
import { formatHistory, type History, originOf } from '../../src/core/model/history.ts';
import type { Bounds, Page, Verdict } from '../../src/core/model/page.ts';
import type { Position } from '../../src/core/model/position.ts';
import { DURABLE_CATALOG, type StreamName } from '../../src/core/model/stream.ts';
import { isPattern, matchesPattern, type NamePattern } from '../../src/core/model/pattern.ts';
import type { Token } from '../../src/core/model/token.ts';
import type { StreamState, StreamTable } from '../../src/core/sessions/stream-table.ts';
import type { PrimaryEras } from '../../src/core/wire/greeting.ts';
import { pageOf, refuseGap } from '../../src/log/chunk-page.ts';
import { encodeChunks } from '../../src/log/encode-chunks.ts';
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
  readonly stream: StreamName;
  readonly source: object;
  /** How many replications follow it. */
  followers = 0;
  batches: MemoryBatch[] = [];
  latest: Token = 0;
  earliest: Token = 1;
  /** The history of the row at `earliest - 1`. */
  base: History = ORIGIN;
  appendedRows = 0;

  constructor(stream: StreamName, source: object) {
    this.stream = stream;
    this.source = source;
  }

  get isMade(): boolean {
    return this.latest > 0;
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
      bounds: this.bounds,
      historyAt: (token) => this.#historyAt(token),
    });
  }

  /** @throws LogError LOG_GAP */
  read(after: Token, maxBytes: number): Page {
    const { stream: name, latest, bounds } = this;
    refuseGap('memory', name, after, bounds);
    const chunks: Chunk[] = [];
    let bytes = 0;
    for (const batch of this.batches) {
      if (batch.token <= after) continue;
      const history = batch.history ?? era(1);
      // A page ends at the border of an era.
      if (chunks.length > 0 && (bytes >= maxBytes || history !== chunks[0]!.history)) break;
      const chunk = this.#chunkOf(batch, chunks.at(-1)?.upTo ?? after, history);
      chunks.push(chunk);
      bytes += chunkBytes(chunk);
    }
    const page = pageOf(name, chunks, bounds);
    // If the last batch is below it, the stream has moved on without rows.
    return page.upTo === this.batches.at(-1)?.token ? { ...page, upTo: latest, hasMore: false } : page;
  }

  #chunkOf({ token, rows, attributes }: MemoryBatch, after: Token, history: History): Chunk {
    const texts = rows.map((row) => JSON.stringify(row));
    const planned = { stream: this.stream, after, batches: [texts], tokens: [token] };
    const more = attributes === undefined ? {} : { attributes: new Map([[0, JSON.stringify(attributes)]]) };
    return encodeChunks({ planned: { ...planned, ...more }, rowsUpTo: 0, history, atMs: 0, logMs: 0 })[0]!;
  }

  #historyAt(token: Token): History {
    const batch = this.batches.findLast((candidate) => candidate.token <= token);
    return batch === undefined ? this.base : (batch.history ?? era(1));
  }
}

export class MemoryStreams implements StreamTable {
  readonly #streams: Map<StreamName, MemoryStream>;
  readonly #source = { name: 'memory' };
  readonly #catalog = new MemoryStream(DURABLE_CATALOG, this.#source);
  readonly #pattern: NamePattern | undefined;
  /** The era of new rows. */
  era: History = era(1);

  constructor(...names: readonly StreamName[]) {
    this.#pattern = names.find(isPattern);
    const declared = names.filter((name) => !isPattern(name));
    this.#streams = new Map(declared.map((name) => [name, new MemoryStream(name, this.#source)]));
  }

  get eras(): PrimaryEras {
    return { durable: this.era, volatile: VOLATILE_ERA, others: [] };
  }

  /** A stream of the pattern is there only once it is made. */
  *names(): IterableIterator<StreamName> {
    for (const [name, { isMade }] of this.#streams) {
      if (isMade || this.#pattern === undefined || !matchesPattern(this.#pattern, name)) yield name;
    }
  }

  /** A stream of the pattern is there from when it is looked at. */
  get(stream: StreamName): MemoryStream | undefined {
    if (stream === DURABLE_CATALOG) return this.#catalog;
    const isOfPattern = this.#pattern !== undefined && matchesPattern(this.#pattern, stream);
    if (isOfPattern && !this.#streams.has(stream)) this.add(stream, this.#source);
    return this.#streams.get(stream);
  }

  /** Adds a stream of a source of its own, or of the one that is given. */
  add(stream: StreamName, source: object = {}): void {
    this.#streams.set(stream, new MemoryStream(stream, source));
  }

  follow(stream: StreamName): MemoryStream | undefined {
    const state = this.get(stream);
    if (state !== undefined) state.followers++;
    return state;
  }

  leave(state: MemoryStream): void {
    state.followers--;
  }

  /** How many replications there are of all streams. */
  get followers(): number {
    return [...this.#streams.values()].reduce((sum, { followers }) => sum + followers, this.#catalog.followers);
  }

  /** The stream is as if it was never made. */
  delete(stream: StreamName): void {
    Object.assign(this.get(stream)!, { batches: [], latest: 0, earliest: 1, base: ORIGIN });
  }

  /** Drops every row after the token. */
  truncate(stream: StreamName, token: Token): void {
    const state = this.get(stream)!;
    state.batches = state.batches.filter((batch) => batch.token <= token);
    state.latest = token;
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
