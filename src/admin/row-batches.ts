/**
 * Collects rows to batches of a given size. Refuses a bad row here, before a later batch is
 * appended.
 */

import { type BatchLimits, checkBatch } from '../core/model/batch.ts';
import { messageOf, quote, RowcastError } from '../core/model/errors.ts';
import { encodeRow } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { BodyLine } from './body-lines.ts';
import { LineError } from './line-error.ts';

export interface RowBatch {
  readonly rows: readonly unknown[];
  readonly bytes: number;
  /** The line on which the batch begins. */
  readonly line: number;
}

export interface RowBatchesOptions {
  readonly stream: StreamName;
  readonly limits: BatchLimits;
  readonly rowsPerBatch: number;
}

// `RDATA`, `batch` or a token, the spaces and the line end.
const MOST_BYTES_AROUND_ROW = 32;

export class RowBatches {
  readonly #options: RowBatchesOptions;
  #rows: unknown[] = [];
  #bytes = 0;
  #line = 0;

  constructor(options: RowBatchesOptions) {
    this.#options = options;
  }

  /**
   * Returns the batch that the line completes, if it completes one.
   * @throws LineError INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE
   */
  add(line: BodyLine): RowBatch | undefined {
    const { stream, limits, rowsPerBatch } = this.#options;
    const row = parseRow(line);
    const text = encodeRow(stream, row);
    try {
      checkBatch(stream, [text], limits);
    } catch (cause) {
      if (!(cause instanceof RowcastError)) throw cause;
      throw new LineError(
        cause.code,
        `line ${line.number} is too large a row: maxLineBytes is ${limits.maxLineBytes}`,
        line.number,
        { cause },
      );
    }
    if (this.#rows.length === 0) this.#line = line.number;
    this.#rows.push(row);
    this.#bytes += Buffer.byteLength(text) + Buffer.byteLength(stream) + MOST_BYTES_AROUND_ROW;
    if (this.#bytes > limits.maxBatchBytes) {
      throw new LineError(
        'BATCH_TOO_LARGE',
        `the batch that begins in line ${this.#line} is too large with line ${line.number}: maxBatchBytes is ${limits.maxBatchBytes}; ask for fewer rows a batch`,
        line.number,
      );
    }
    return this.#rows.length === rowsPerBatch ? this.take() : undefined;
  }

  /** Returns the collected rows, if there are any. */
  take(): RowBatch | undefined {
    if (this.#rows.length === 0) return undefined;
    const batch = { rows: this.#rows, bytes: this.#bytes, line: this.#line };
    this.#rows = [];
    this.#bytes = 0;
    return batch;
  }
}

function parseRow({ number, text }: BodyLine): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LineError('INVALID_ROW', `line ${number} is not JSON: ${quote(messageOf(cause))}`, number, { cause });
  }
}
