/**
 * The way of an append: waits with its neighbours, is committed with them, announced, resolved. Knows no storage.
 *
 *   append ─┐
 *   append ─┼─▶ one commit ─▶ one hint per stream ─▶ all resolve
 *   append ─┘
 */

import type { Millis } from '../base/clock.ts';
import { encodeBatch } from '../model/batch.ts';
import type { RowText } from '../model/row.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Chunk } from './chunk.ts';
import type { Hint, HintListener } from './log.ts';

/** Large enough that catch-up moves few records, small enough that a page of a few hundred KiB is not far exceeded. A larger batch is one chunk. */
const MAX_CHUNK_BYTES = 256 * 1024;

/** The rows of each batch that waits, in order. */
export type WaitingBatches = ReadonlyMap<StreamName, readonly (readonly RowText[])[]>;

export interface AppendsOptions {
  /** Makes all of it durable or none, and says what became of it; each batch has taken the next token of its stream. */
  readonly commit: (batches: WaitingBatches) => readonly Committed[];
  /** Calls back soon: what is appended until then shares a commit. */
  readonly soon: (flush: () => void) => void;
}

export interface Committed {
  readonly stream: StreamName;
  readonly latest: Token;
  readonly chunks: readonly Chunk[];
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly resolve: (token: Token) => void;
  readonly reject: (error: unknown) => void;
}

export class Appends {
  readonly #commit: AppendsOptions['commit'];
  readonly #soon: AppendsOptions['soon'];
  readonly #watches = new Set<{ readonly listener: HintListener }>();
  #waiting: Waiting[] = [];

  constructor({ commit, soon }: AppendsOptions) {
    this.#commit = commit;
    this.#soon = soon;
  }

  watch(listener: HintListener): () => void {
    // An object of its own, so that a listener that watches twice is told twice and each end ends one.
    const watch = { listener };
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  append(stream: StreamName, rows: readonly RowText[]): Promise<Token> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ stream, rows, resolve, reject });
      if (this.#waiting.length === 1) this.#soon(() => this.flush());
    });
  }

  flush(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    let committed: readonly Committed[];
    try {
      committed = this.#commit(byStream(waiting));
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    try {
      for (const hint of committed) this.#announce(hint);
    } finally {
      resolveAll(waiting, committed);
    }
  }

  #announce(hint: Hint): void {
    for (const { listener } of this.#watches) listener(hint);
  }
}

function byStream(waiting: readonly Waiting[]): WaitingBatches {
  const batches = new Map<StreamName, (readonly RowText[])[]>();
  for (const { stream, rows } of waiting) {
    const ofStream = batches.get(stream);
    if (ofStream === undefined) batches.set(stream, [rows]);
    else ofStream.push(rows);
  }
  return batches;
}

function resolveAll(waiting: readonly Waiting[], committed: readonly Committed[]): void {
  const reached = new Map(committed.map(({ stream, chunks }) => [stream, chunks[0]!.after]));
  for (const { stream, resolve } of waiting) {
    const token = reached.get(stream)! + 1;
    reached.set(stream, token);
    resolve(token);
  }
}

export interface EncodeOptions {
  readonly stream: StreamName;
  readonly latest: Token;
  readonly batches: readonly (readonly RowText[])[];
  readonly now: Millis;
}

/** Gives the batches the tokens after `latest` and writes their lines: the one place where a row becomes bytes. */
export function encodeChunks({ stream, latest, batches, now }: EncodeOptions): Chunk[] {
  const chunks: Chunk[] = [];
  let after = latest;
  let upTo = latest;
  let rows = 0;
  let bytes = 0;
  let lines: string[] = [];
  const finishChunk = (): void => {
    chunks.push({ after, upTo, rows, atMs: now, lines: Buffer.from(lines.join('')) });
    after = upTo;
    rows = 0;
    bytes = 0;
    lines = [];
  };
  for (const batch of batches) {
    const text = encodeBatch(stream, upTo + 1, batch);
    const textBytes = Buffer.byteLength(text);
    if (rows > 0 && bytes + textBytes > MAX_CHUNK_BYTES) finishChunk();
    lines.push(text);
    upTo++;
    rows += batch.length;
    bytes += textBytes;
  }
  finishChunk();
  return chunks;
}
