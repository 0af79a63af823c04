/**
 * Turns the body of a request into batches of a stream. Holds a few batches in memory, for a body
 * of any length. Knows no HTTP.
 */

import { ConnectionError, RowcastError, UsageError } from '../core/model/errors.ts';
import type { Stream } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import type { Appended } from './answers.ts';
import { type BodyLine, BodyLines } from './body-lines.ts';
import { LineError } from './line-error.ts';
import { PendingAppends } from './pending-appends.ts';
import { RowBatches } from './row-batches.ts';

export interface AppendRowsOptions {
  readonly primary: Primary;
  readonly stream: Stream;
  readonly rowsPerBatch: number;
  readonly body: ReadableStream<Uint8Array>;
  /** Aborted when the server stops: lines that have come are finished, and no more are read. */
  readonly signal: AbortSignal | undefined;
}

/** The part of the body that became durable and, when that is not all, why. */
export interface AppendRowsResult {
  readonly appended: Appended;
  readonly error: RowcastError | undefined;
  readonly line: number | undefined;
}

const MAX_PENDING_ROWS = 4_096;
const MAX_PENDING_BYTES = 1024 * 1024;
/** JSON may use six bytes for a character that we write with one. */
const LONGEST_ESCAPE_BYTES = 6;
/** How much a refused client may still send, so that it gets to read the reason. */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;

export async function appendRows({
  primary,
  stream,
  rowsPerBatch,
  body,
  signal,
}: AppendRowsOptions): Promise<AppendRowsResult> {
  const { limits } = primary;
  const batches = new RowBatches({ stream: stream.name, limits, rowsPerBatch });
  const pending = new PendingAppends({
    append: async (rows) => primary.append(stream, rows),
    // A validator refuses a batch late. One batch at a time means that nothing is appended after a
    // refused one.
    maxRows: stream.row === undefined ? MAX_PENDING_ROWS : 1,
    maxBytes: MAX_PENDING_BYTES,
  });
  const reader = body.getReader();
  try {
    for await (const lines of readLines(reader, limits.maxLineBytes * LONGEST_ESCAPE_BYTES, signal)) {
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
    return await finish(pending, { error, line: error instanceof LineError ? error.line : undefined });
  } finally {
    void discard(reader);
  }
}

interface Failure {
  readonly error: unknown;
  readonly line: number | undefined;
}

async function finish(pending: PendingAppends, later?: Failure): Promise<AppendRowsResult> {
  await pending.settled();
  const failure = pending.failure ?? later;
  const { appended } = pending;
  if (failure === undefined) return { appended, error: undefined, line: undefined };
  if (!(failure.error instanceof RowcastError)) throw failure.error;
  return { appended, error: failure.error, line: failure.line };
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
