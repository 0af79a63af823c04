/**
 * Turns the body of a request into batches of a stream. Holds a few batches in memory, for a body
 * of any length. Knows no HTTP.
 */

import type { Readable } from 'node:stream';
import { RowcastError, UsageError } from '../core/model/errors.ts';
import type { Stream } from '../core/model/stream.ts';
import type { Position } from '../core/model/position.ts';
import type { Primary } from '../primary/primary.ts';
import type { BatchOptions } from '../primary/options.ts';
import type { Appended } from './answers.ts';
import { BodyLines } from './body-lines.ts';
import { BodyReader } from './body-reader.ts';
import { LineError } from './line-error.ts';
import { PendingAppends } from './pending-appends.ts';
import { type RowBatch, RowBatches } from './row-batches.ts';
import type { UploadBudget, UploadShare } from './upload-budget.ts';

export interface AppendRowsOptions {
  readonly primary: Primary;
  readonly stream: Stream;
  readonly rowsPerBatch: number;
  /** The numbers of the body's first line and first batch, where it goes on with an upload. */
  readonly firstLine: number;
  readonly firstBatch: number;
  readonly body: Readable;
  readonly budget: UploadBudget;
  /** Batch n is appended with the id `KEY/n`. */
  readonly idempotencyKey: string | undefined;
  /** Aborted when the server stops: lines that have come are finished, and no more are read. */
  readonly signal: AbortSignal | undefined;
  /** Gets the function that tells what is durable by now. */
  readonly onBegin?: (durable: () => Appended) => void;
}

/** The part of the body that became durable and, when that is not all, why. */
export interface AppendRowsResult {
  readonly appended: Appended;
  readonly error: RowcastError | undefined;
  /** The faulty line, or the first line that is not appended. */
  readonly line: number | undefined;
  /** The batch that was refused, counted from 1. Undefined where a line was. */
  readonly batch: number | undefined;
}

const MAX_PENDING_ROWS = 4_096;
const MAX_PENDING_BYTES = 1024 * 1024;

export async function appendRows(options: AppendRowsOptions): Promise<AppendRowsResult> {
  const { primary, stream, idempotencyKey, body, budget, signal } = options;
  const reader = new BodyReader(body);
  const upload = new Upload(primary, stream, idempotencyKey);
  const pending = new PendingAppends({
    append: async (batch) => upload.append(batch),
    isOneByOne: () => upload.mayRefuse,
    maxRows: MAX_PENDING_ROWS,
    maxBytes: MAX_PENDING_BYTES,
  });
  const durable = (): Appended => ({ ...pending.appended, ...upload.repeated });
  options.onBegin?.(durable);
  let share: UploadShare;
  try {
    share = budget.open({
      isIdle: () => reader.isWaiting && pending.isEmpty,
      handleEnded: () => reader.interrupt(),
    });
  } catch (error) {
    reader.release();
    return await finish(pending, error, options.firstLine);
  }
  if (signal?.aborted === true) reader.interrupt();
  try {
    return { ...(await appendBatches({ ...options, reader, share, pending })), appended: durable() };
  } finally {
    reader.release();
    budget.close(share);
  }
}

interface OpenUpload extends AppendRowsOptions {
  readonly reader: BodyReader;
  readonly share: UploadShare;
  readonly pending: PendingAppends;
}

async function appendBatches(open: OpenUpload): Promise<AppendRowsResult> {
  const { primary, stream, rowsPerBatch, firstLine, firstBatch, signal, budget, reader, share, pending } = open;
  const { limits } = primary;
  const lines = new BodyLines(limits.maxLineBytes, firstLine);
  const batches = new RowBatches({ stream: stream.name, limits, rowsPerBatch, firstBatch });
  /** Waits for what is on its way first, so that only what one batch needs can be too much. */
  const hold = async (bytes: number): Promise<void> => {
    if (!budget.tryHold(share, bytes)) await pending.settled();
    budget.hold(share, bytes);
  };
  const append = (batch: RowBatch): void => pending.add(batch, () => budget.free(share, batch.bytes));
  let carried = 0;
  try {
    for (let isEnded = false; !isEnded; ) {
      const chunk = await reader.read();
      budget.check(share);
      if (signal?.aborted === true)
        throw new UsageError('CLOSED', 'the primary stops; rows that were not appended yet must be sent again');
      isEnded = chunk === undefined;
      // No await between the batches of a chunk while there is room: they share a commit.
      for (const line of isEnded ? lines.end() : lines.push(chunk!)) {
        const held = batches.bytes;
        const batch = batches.add(line);
        const added = (batch ?? batches).bytes - held;
        // An await for each row would cost more than the row.
        if (!budget.tryHold(share, added)) await hold(added);
        if (batch === undefined) continue;
        budget.handleWhole(share);
        if (pending.isFull) await pending.room();
        if (pending.failure !== undefined) return await finish(pending);
        append(batch);
      }
      await hold(lines.carriedBytes - carried);
      carried = lines.carriedBytes;
    }
    const rest = batches.take();
    if (rest !== undefined) {
      await pending.room();
      if (pending.failure === undefined) append(rest);
    }
    return await finish(pending);
  } catch (error) {
    return await finish(pending, error, batches.line ?? lines.nextLine);
  }
}

/** The appends of one body. */
class Upload {
  readonly #primary: Primary;
  readonly #stream: Stream;
  readonly #key: string | undefined;
  /** The batches so far were appended before, by an upload with the same key. */
  #isRepeat: boolean;
  #repeatedRows = 0;

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
    else this.#repeatedRows += rows.length;
    return position;
  }

  /** Without a key no row can be there already. */
  get repeated(): { readonly repeatedRows?: number } {
    return this.#key === undefined ? {} : { repeatedRows: this.#repeatedRows };
  }
}

async function finish(pending: PendingAppends, later?: unknown, unfinishedLine?: number): Promise<AppendRowsResult> {
  await pending.settled();
  const { appended, failure } = pending;
  const error = failure === undefined ? later : failure.error;
  if (error === undefined) return { appended, error: undefined, line: undefined, batch: undefined };
  if (!(error instanceof RowcastError)) throw error;
  const line = failure?.batch.line ?? (error instanceof LineError ? error.line : unfinishedLine);
  return { appended, error, line, batch: failure?.batch.number };
}
