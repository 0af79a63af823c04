/** Streams as plain arrays, and pages of them: what a primary's session may ask about, without a log. */

import { encodeBatch } from '../../src/core/model/batch.ts';
import { originOf } from '../../src/core/model/history.ts';
import type { Page } from '../../src/core/model/page.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import type { Histories } from '../../src/core/wire/greeting.ts';
import type { StreamState, StreamTable } from '../../src/core/sessions/stream-table.ts';

export interface MemoryBatch {
  readonly token: Token;
  readonly rows: readonly unknown[];
}

export class MemoryStream implements StreamState {
  readonly name: StreamName;
  batches: MemoryBatch[] = [];
  latest: Token = 0;
  earliest: Token = 1;
  appendedRows = 0;

  constructor(name: StreamName) {
    this.name = name;
  }
}

export class MemoryStreams implements StreamTable {
  readonly #streams: Map<StreamName, MemoryStream>;

  constructor(...names: readonly StreamName[]) {
    this.#streams = new Map(names.map((name) => [name, new MemoryStream(name)]));
  }

  get histories(): Histories {
    return { durable: { logId: 'abc', streams: [...this.names()] } };
  }

  names(): Iterable<StreamName> {
    return this.#streams.keys();
  }

  get(stream: StreamName): MemoryStream | undefined {
    return this.#streams.get(stream);
  }

  /** One batch with the next token. */
  append(stream: StreamName, ...rows: readonly unknown[]): Token {
    const state = this.#streams.get(stream)!;
    state.latest++;
    state.batches.push({ token: state.latest, rows });
    state.appendedRows += rows.length;
    return state.latest;
  }

  /** The stream stands there, with no rows kept. */
  standAt(stream: StreamName, token: Token): void {
    const state = this.#streams.get(stream)!;
    state.latest = token;
    state.earliest = token + 1;
  }

  trim(stream: StreamName, upTo: Token): void {
    const state = this.#streams.get(stream)!;
    state.batches = state.batches.filter(({ token }) => token > upTo);
    state.earliest = upTo + 1;
  }
}

export function pageOf({ name, batches, latest }: MemoryStream, after: Token, maxBytes: number): Page {
  const page = { stream: name, history: originOf('abcdef0123456789') };
  const lines: Buffer[] = [];
  let bytes = 0;
  let rows = 0;
  for (const batch of batches) {
    if (batch.token <= after) continue;
    const line = Buffer.from(
      encodeBatch(
        name,
        batch.token,
        batch.rows.map((row) => JSON.stringify(row)),
      ),
    );
    lines.push(line);
    bytes += line.length;
    rows += batch.rows.length;
    if (bytes >= maxBytes)
      return { ...page, lines: Buffer.concat(lines), rows, upTo: batch.token, hasMore: batch.token < latest };
  }
  return { ...page, lines: Buffer.concat(lines), rows, upTo: latest, hasMore: false };
}
