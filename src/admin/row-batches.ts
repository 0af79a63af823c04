/**
 * Collects rows to batches of a given size. Refuses a bad row here, before a later batch is
 * appended. Keeps the text of a row and not its value.
 */

import { type BatchLimits, checkBatch, memoryOfRow } from '../core/model/batch.ts';
import { RowcastError } from '../core/model/errors.ts';
import { keepText, type RowText, rowTextFault } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { BodyLine } from './body-lines.ts';
import { LineError } from './line-error.ts';

export interface RowBatch {
  readonly rows: readonly RowText[];
  /** About how much of our memory it takes. */
  readonly bytes: number;
  /** The line on which the batch begins. */
  readonly line: number;
  /** Counts the batches of the body from 1. */
  readonly number: number;
}

export interface RowBatchesOptions {
  readonly stream: StreamName;
  readonly limits: BatchLimits;
  readonly rowsPerBatch: number;
  /** The number of the first batch. */
  readonly firstBatch: number;
}

/** A string's own memory beside its characters. */
const BYTES_AROUND_ROW = 32;

export class RowBatches {
  readonly #options: RowBatchesOptions;
  #rows: RowText[] = [];
  #bytes = 0;
  #memory = 0;
  #line = 0;
  #nextNumber: number;

  constructor(options: RowBatchesOptions) {
    this.#options = options;
    this.#nextNumber = options.firstBatch;
  }

  /** About how much of our memory the rows of the unfinished batch take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The line on which the unfinished batch begins. */
  get line(): number | undefined {
    return this.#rows.length === 0 ? undefined : this.#line;
  }

  /**
   * Returns the batch that the line completes, if it completes one.
   * @throws LineError INVALID_ROW, ROW_TOO_LARGE, BATCH_TOO_LARGE
   */
  add(line: BodyLine): RowBatch | undefined {
    const { stream, limits, rowsPerBatch } = this.#options;
    const fault = rowTextFault(line.text);
    if (fault !== undefined) throw new LineError('INVALID_ROW', `line ${line.number} ${fault}`, line.number);
    const text = keepText(line.text);
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
    this.#rows.push(text);
    this.#bytes += memoryOfText(line) + BYTES_AROUND_ROW;
    this.#memory += memoryOfRow(stream, text);
    if (this.#memory > limits.maxBatchBytes) {
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
    const batch = { rows: this.#rows, bytes: this.#bytes, line: this.#line, number: this.#nextNumber++ };
    this.#rows = [];
    this.#bytes = 0;
    this.#memory = 0;
    return batch;
  }
}

/** A text of ASCII takes a byte a character, any other text may take two. */
function memoryOfText({ text, bytes }: BodyLine): number {
  return text.length === bytes ? bytes : Math.max(bytes, 2 * text.length);
}
