/**
 * Turns the body of a request into batches of a stream. Holds a few batches in memory, for a body
 * of any length. Knows no HTTP.
 */

import { ConnectionError, RowcastError, UsageError } from '../core/model/errors.ts';
import type { Stream } from '../core/model/stream.ts';
import type { Position } from '../core/model/position.ts';
import type { Primary } from '../primary/primary.ts';
import type { BatchOptions } from '../primary/options.ts';
import type { Appended } from './answers.ts';
import { type BodyLine, BodyLines } from './body-lines.ts';
import { LineError } from './line-error.ts';
import { PendingAppends } from './pending-appends.ts';
import { type RowBatch, RowBatches } from './row-batches.ts';

export interface AppendRowsOptions {
  readonly primary: Primary;
  readonly stream: Stream;
  readonly rowsPerBatch: number;
  readonly body: ReadableStream<Uint8Array>;
  /** Batch n of the body is appended with the id `KEY/n`. */
  readonly idempotencyKey: string | undefined;
  /** Aborted when the server stops: lines that have come are finished, and no more are read. */
  readonly signal: AbortSignal | undefined;
}

/** The part of the body that became durable and, when that is not all, why. */
export interface AppendRowsResult {
  readonly appended: Appended;
  readonly error: RowcastError | undefined;
  readonly line: number | undefined;
  /** The batch that was refused, counted from 1. Undefined where a line was. */
  readonly batch: number | undefined;
}

const MAX_PENDING_ROWS = 4_096;
const MAX_PENDING_BYTES = 1024 * 1024;
/** How much a refused client may still send, so that it gets to read the reason. */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;

export async function appendRows({
  primary,
  stream,
  rowsPerBatch,
  body,
  idempotencyKey,
  signal,
}: AppendRowsOptions): Promise<AppendRowsResult> {
  const { limits } = primary;
  const batches = new RowBatches({ stream: stream.name, limits, rowsPerBatch });
  const upload = new Upload(primary, stream, idempotencyKey);
  const pending = new PendingAppends({
    append: async (batch) => upload.append(batch),
    isOneByOne: () => upload.mayRefuse,
    maxRows: MAX_PENDING_ROWS,
    maxBytes: MAX_PENDING_BYTES,
  });
  const reader = body.getReader();
  try {
    for await (const lines of readLines(reader, limits.maxLineBytes, signal)) {
      // No await between the batches of a chunk while there is room: they share a commit.
      for (const line of lines) {
        const batch = batches.add(line);
        if (batch === undefined) continue;
        if (pending.isFull) await pending.room();
        if (pending.failure !== undefined) return await finish(pending);
        pending.add(batch);
      }
    }
    const rest = batches.take();
    if (rest !== undefined) {
      await pending.room();
      if (pending.failure === undefined) pending.add(rest);
    }
    return await finish(pending);
  } catch (error) {
    return await finish(pending, error);
  } finally {
    void discard(reader);
  }
}

/** The appends of one body. */
class Upload {
  readonly #primary: Primary;
  readonly #stream: Stream;
  readonly #key: string | undefined;
  /** The batches so far were appended before, by an upload with the same key. */
  #isRepeat: boolean;

  constructor(primary: Primary, stream: Stream, key: string | undefined) {
    this.#primary = primary;
    this.#stream = stream;
    this.#key = key;
    this.#isRepeat = key !== undefined;
  }

  /**
   * Whether the next batch may be refused for what it holds. It then goes alone, so that nothing is
   * appended after a refused one: a validator says no late, and in a repeated upload other rows may
   * have taken the id.
   */
  get mayRefuse(): boolean {
    return this.#stream.row !== undefined || this.#isRepeat;
  }

  async append({ rows, number }: RowBatch): Promise<Position> {
    const options: BatchOptions | undefined = this.#key === undefined ? undefined : { id: `${this.#key}/${number}` };
    const { token } = this.#primary.position(this.#stream);
    const position = await this.#primary.appendKeptTexts(this.#stream, rows, options);
    if (position.token > token) this.#isRepeat = false;
    return position;
  }
}

async function finish(pending: PendingAppends, later?: unknown): Promise<AppendRowsResult> {
  await pending.settled();
  const { appended, failure } = pending;
  const error = failure === undefined ? later : failure.error;
  if (error === undefined) return { appended, error: undefined, line: undefined, batch: undefined };
  if (!(error instanceof RowcastError)) throw error;
  const line = failure?.batch.line ?? (error instanceof LineError ? error.line : undefined);
  return { appended, error, line, batch: failure?.batch.number };
}

/** The lines of each chunk, cut on demand. */
async function* readLines(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  maxLineBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Iterable<BodyLine>, void, void> {
  const lines = new BodyLines(maxLineBytes);
  // Ends a pending read as if the body had ended; the signal tells the two apart.
  const stop = (): void => void reader.cancel();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      const chunk = await read(reader);
      if (signal?.aborted === true)
        throw new UsageError('CLOSED', 'the primary stops; rows that were not appended yet must be sent again');
      if (chunk === undefined) break;
      yield lines.push(chunk);
    }
    yield lines.end();
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    return (await reader.read()).value;
  } catch (cause) {
    throw new ConnectionError('CONNECTION_LOST', 'the client went away before it had sent all rows', { cause });
  }
}

/**
 * Reads and drops the rest of an upload. A server that closes during an upload makes the system
 * discard our answer.
 */
async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    for (let discarded = 0; discarded < MAX_DISCARDED_BYTES; ) {
      const { value } = await reader.read();
      if (value === undefined) return;
      discarded += value.length;
    }
    await reader.cancel();
  } catch {
    // The client went away: it has its answer or does not want it.
  }
}
