/**
 * The way of an append: waits with its neighbours, is committed with them, announced, resolved. Knows no storage.
 *
 *   append ─┐
 *   append ─┼─▶ one commit ─▶ one hint per stream ─▶ all resolve
 *   append ─┘
 */

import type { Millis } from '../base/clock.ts';
import { Queue } from '../base/queue.ts';
import { LONGEST_UTF8_BYTES_PER_UNIT } from '../base/bytes.ts';
import { encodeBatch } from '../core/model/batch.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Chunk } from './chunk.ts';
import type { Hint, HintListener } from './log.ts';

/** Large enough that catch-up moves few records, small enough that a page of a few hundred KiB is not far exceeded. A larger batch is one chunk. */
const MAX_CHUNK_BYTES = 256 * 1024;

/**
 * What waits beyond this (in characters) has the next commit, after a turn of the event loop: a flood of appends must not keep it from everyone
 * else. Measured with sqlite: about 5 ms for encoding and commit together.
 */
const MAX_COMMIT_UNITS = 512 * 1024;
/** What a row costs beside its characters, counted in characters. */
const ROW_UNITS = 64;

/** The rows of each batch that waits, in order. */
export type WaitingBatches = ReadonlyMap<StreamName, readonly (readonly RowText[])[]>;

export interface GroupCommitOptions {
  /** Throws what is wrong with a batch. */
  readonly check: (stream: StreamName, rows: readonly RowText[]) => void;
  /** Makes all of it durable or none, and says what became of it; each batch has taken the next token of its stream. */
  readonly commit: (batches: WaitingBatches) => readonly Committed[];
  /** Calls back soon: what is appended until then shares the first commit. */
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

export class GroupCommit {
  readonly #check: GroupCommitOptions['check'];
  readonly #commit: GroupCommitOptions['commit'];
  readonly #soon: GroupCommitOptions['soon'];
  readonly #watches = new Set<{ readonly listener: HintListener }>();
  readonly #waiting = new Queue<Waiting>();
  #isScheduled = false;

  constructor({ check, commit, soon }: GroupCommitOptions) {
    this.#check = check;
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
      // What it throws here rejects the promise.
      this.#check(stream, rows);
      this.#waiting.push({ stream, rows, resolve, reject });
      this.#schedule(this.#soon);
    });
  }

  /** Commits all that waits now; what those who hear of it append is not of it. What a listener throws is thrown once all is done. */
  flush(): void {
    const thrown: unknown[] = [];
    for (let waiting = this.#waiting.length; waiting > 0; ) {
      const group = this.#takeGroup(waiting);
      // A listener may have flushed.
      if (group.length === 0) break;
      waiting -= group.length;
      try {
        this.#commitGroup(group);
      } catch (error) {
        thrown.push(error);
      }
    }
    if (thrown.length > 0) throw thrown[0];
  }

  #schedule(soon: GroupCommitOptions['soon']): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(this.#flushSome);
  }

  readonly #flushSome = (): void => {
    this.#isScheduled = false;
    try {
      const group = this.#takeGroup(Infinity);
      if (group.length > 0) this.#commitGroup(group);
    } finally {
      // Whatever a listener throws, those who still wait must not wait for ever.
      if (this.#waiting.length > 0) this.#schedule(setImmediate);
    }
  };

  #commitGroup(group: readonly Waiting[]): void {
    let committed: readonly Committed[];
    try {
      committed = this.#commit(byStream(group));
    } catch (error) {
      for (const { reject } of group) reject(error);
      return;
    }
    try {
      for (const hint of committed) this.#announce(hint);
    } finally {
      resolveAll(group, committed);
    }
  }

  #takeGroup(most: number): Waiting[] {
    const group: Waiting[] = [];
    for (let units = 0; units < MAX_COMMIT_UNITS && group.length < most; ) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) break;
      group.push(waiting);
      for (let i = 0; i < waiting.rows.length; i++) units += waiting.rows[i]!.length + ROW_UNITS;
    }
    return group;
  }

  #announce(hint: Hint): void {
    for (const { listener } of this.#watches) listener(hint);
  }
}

function byStream(group: readonly Waiting[]): WaitingBatches {
  const batches = new Map<StreamName, (readonly RowText[])[]>();
  for (const { stream, rows } of group) {
    const ofStream = batches.get(stream);
    if (ofStream === undefined) batches.set(stream, [rows]);
    else ofStream.push(rows);
  }
  return batches;
}

function resolveAll(group: readonly Waiting[], committed: readonly Committed[]): void {
  const reached = new Map(committed.map(({ stream, chunks }) => [stream, { token: chunks[0]!.after }]));
  for (const { stream, resolve } of group) resolve(++reached.get(stream)!.token);
}

export interface EncodeOptions {
  readonly stream: StreamName;
  readonly latest: Token;
  readonly batches: readonly (readonly RowText[])[];
  readonly now: Millis;
}

/** Where the lines of a chunk are written before its size is known; a chunk gets bytes of its own. */
const scratch = Buffer.allocUnsafeSlow(MAX_CHUNK_BYTES);

/** Gives the batches the tokens after `latest` and writes their lines: the one place where a row becomes bytes. */
export function encodeChunks({ stream, latest, batches, now }: EncodeOptions): Chunk[] {
  const chunks: Chunk[] = [];
  let after = latest;
  let upTo = latest;
  let rows = 0;
  let bytes = 0;
  const finishChunk = (lines: Uint8Array): void => {
    chunks.push({ after, upTo, rows, atMs: now, lines });
    after = upTo;
    rows = 0;
    bytes = 0;
  };
  for (const batch of batches) {
    const text = encodeBatch(stream, upTo + 1, batch);
    // Bytes are counted only where they might be too many: counting costs as much as writing.
    const isCountNeeded = bytes + text.length * LONGEST_UTF8_BYTES_PER_UNIT > MAX_CHUNK_BYTES;
    const textBytes = isCountNeeded ? Buffer.byteLength(text) : 0;
    if (rows > 0 && bytes + textBytes > MAX_CHUNK_BYTES) finishChunk(Buffer.from(scratch.subarray(0, bytes)));
    upTo++;
    rows += batch.length;
    if (textBytes > MAX_CHUNK_BYTES) finishChunk(Buffer.from(text));
    else bytes += scratch.write(text, bytes);
  }
  if (rows > 0) finishChunk(Buffer.from(scratch.subarray(0, bytes)));
  return chunks;
}
