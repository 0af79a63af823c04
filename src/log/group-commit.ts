/**
 * Group commit of appends: they queue, share one commit, are announced and resolve. Knows no
 * storage.
 *
 *   append ─┐
 *   append ─┼─▶ one commit ─▶ one hint per stream ─▶ all resolve
 *   append ─┘
 */

import { LONGEST_UTF8_BYTES_PER_UNIT } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { Queue } from '../base/queue.ts';
import { encodeBatch } from '../core/model/batch.ts';
import type { AttributesText } from '../core/model/attributes.ts';
import type { History } from '../core/model/history.ts';
import type { BatchAttributes } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Chunk } from './chunk.ts';
import type { AppendOptions, RowsEvent, SourceEvent, SourceListener } from './log.ts';

/**
 * Large enough that catch-up moves few records, small enough that a page of a few hundred KiB is
 * not exceeded by much. A larger batch is one chunk.
 */
const MAX_CHUNK_BYTES = 256 * 1024;

/**
 * The most that one commit takes, in characters. The rest is committed after a turn of the event
 * loop, so that a flood of appends does not block other work. Measured with sqlite: encoding and
 * commit take about 5 ms together.
 */
const MAX_COMMIT_UNITS = 512 * 1024;
/** The overhead of a row in characters, added to its length. */
const ROW_UNITS = 64;

/** The batches that are queued for one stream. */
export interface WaitingBatches {
  /** The rows of each batch, in order. */
  readonly batches: readonly (readonly RowText[])[];
  /** By the place of their batch in `batches`; left out where none has some. */
  readonly attributes?: ReadonlyMap<number, AttributesText>;
}

export type WaitingStreams = ReadonlyMap<StreamName, WaitingBatches>;

export interface GroupCommitOptions {
  /** Throws when a batch must not be appended. */
  readonly check: (stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined) => void;
  /** Makes all batches durable, or none. Each batch gets the next token of its stream. */
  readonly commit: (waiting: WaitingStreams) => readonly Committed[];
  /** Calls `flush` soon. Appends until then share the first commit. */
  readonly soon: (flush: () => void) => void;
}

/** The result of a commit for one stream, as announced. */
export interface Committed extends RowsEvent {
  /** At least one chunk, all of this commit's era. */
  readonly chunks: readonly Chunk[];
}

interface Waiting {
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly attributes: AttributesText | undefined;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #check: GroupCommitOptions['check'];
  readonly #commit: GroupCommitOptions['commit'];
  readonly #soon: GroupCommitOptions['soon'];
  readonly #watches = new Set<{ readonly listener: SourceListener }>();
  readonly #waiting = new Queue<Waiting>();
  #isScheduled = false;

  constructor({ check, commit, soon }: GroupCommitOptions) {
    this.#check = check;
    this.#commit = commit;
    this.#soon = soon;
  }

  watch(listener: SourceListener): () => void {
    // A new object for each watch: a listener that watches twice is called twice, and each end ends
    // one watch.
    const watch = { listener };
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return new Promise((resolve, reject) => {
      // An error of the check rejects the promise.
      this.#check(stream, rows, options);
      this.#waiting.push({ stream, rows, attributes: options?.attributes, resolve, reject });
      this.#schedule(this.#soon);
    });
  }

  /**
   * Commits everything queued now, not what listeners append meanwhile. Rethrows the first listener
   * error at the end.
   */
  flush(): void {
    const thrown: unknown[] = [];
    for (let waiting = this.#waiting.length; waiting > 0; ) {
      const group = this.#takeGroup(waiting);
      // A listener may have called flush.
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
      // When a listener throws, the remaining appends must still be committed.
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
      for (const event of committed) this.#announce(event);
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
      if (waiting.attributes !== undefined) units += waiting.attributes.length;
    }
    return group;
  }

  #announce(event: SourceEvent): void {
    for (const { listener } of this.#watches) listener(event);
  }
}

function byStream(group: readonly Waiting[]): WaitingStreams {
  const streams = new Map<StreamName, { batches: (readonly RowText[])[]; attributes?: Map<number, AttributesText> }>();
  for (const { stream, rows, attributes } of group) {
    let waiting = streams.get(stream);
    if (waiting === undefined) {
      waiting = { batches: [] };
      streams.set(stream, waiting);
    }
    if (attributes !== undefined) (waiting.attributes ??= new Map()).set(waiting.batches.length, attributes);
    waiting.batches.push(rows);
  }
  return streams;
}

function resolveAll(group: readonly Waiting[], committed: readonly Committed[]): void {
  const reached = new Map(
    committed.map(({ stream, chunks }) => [stream, { token: chunks[0]!.after, history: chunks[0]!.history }]),
  );
  for (const { stream, resolve } of group) {
    const at = reached.get(stream)!;
    resolve({ stream, token: ++at.token, history: at.history });
  }
}

export interface EncodeOptions {
  readonly stream: StreamName;
  readonly waiting: WaitingBatches;
  /** The last token, and the rows up to it, before these batches. */
  readonly latest: Token;
  readonly rowsUpTo: number;
  readonly history: History;
  readonly atMs: Millis;
  readonly logMs: Millis;
}

/** Reused for the lines of a chunk while their size is unknown. Each chunk gets its own copy. */
const scratch = Buffer.allocUnsafeSlow(MAX_CHUNK_BYTES);

/**
 * Gives the batches the tokens after `latest` and writes their lines. This is the only place where
 * a row becomes bytes.
 */
export function encodeChunks(options: EncodeOptions): Chunk[] {
  const { stream, waiting, latest, history, atMs, logMs } = options;
  const { batches } = waiting;
  const chunks: Chunk[] = [];
  let { rowsUpTo } = options;
  let after = latest;
  let upTo = latest;
  let rows = 0;
  let bytes = 0;
  let attributes: BatchAttributes[] | undefined;
  const finishChunk = (lines: Uint8Array): void => {
    rowsUpTo += rows;
    chunks.push({ after, upTo, rows, rowsUpTo, history, atMs, logMs, lines, attributes });
    after = upTo;
    rows = 0;
    bytes = 0;
    attributes = undefined;
  };
  for (let i = 0; i < batches.length; i++) {
    const batch = batches[i]!;
    const text = encodeBatch(stream, upTo + 1, batch);
    // The exact size is computed only when the upper bound exceeds the limit: counting costs as
    // much as writing.
    const isCountNeeded = bytes + text.length * LONGEST_UTF8_BYTES_PER_UNIT > MAX_CHUNK_BYTES;
    const textBytes = isCountNeeded ? Buffer.byteLength(text) : 0;
    if (rows > 0 && bytes + textBytes > MAX_CHUNK_BYTES) finishChunk(Buffer.from(scratch.subarray(0, bytes)));
    upTo++;
    rows += batch.length;
    const json = waiting.attributes?.get(i);
    if (json !== undefined) (attributes ??= []).push({ token: upTo, at: bytes, json });
    if (textBytes > MAX_CHUNK_BYTES) finishChunk(Buffer.from(text));
    else bytes += scratch.write(text, bytes);
  }
  if (rows > 0) finishChunk(Buffer.from(scratch.subarray(0, bytes)));
  return chunks;
}
