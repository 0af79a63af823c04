/** A batch: rows that share one token, and their lines on the wire. */

import { LONGEST_UTF8_BYTES_PER_UNIT, utf8Length } from '../../base/bytes.ts';
import { UsageError } from './errors.ts';
import type { Position } from './position.ts';
import type { RowText } from './row.ts';
import { MAX_BYTES_PER_CHARACTER, memoryOf } from './row-memory.ts';
import type { StreamName } from './stream.ts';
import type { Token } from './token.ts';

/** Rows that share one token and are applied together. */
export interface Batch<Row = unknown> {
  readonly stream: StreamName;
  readonly token: Token;
  /** The position of this batch: it stands for the batch and everything before it. */
  readonly position: Position;
  readonly rows: readonly Row[];
  /**
   * What the appender added beside the rows (a trace context, say). Present only when the worker
   * asked for attributes.
   */
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/** How large a batch may be. */
export interface BatchLimits {
  /** The longest line, in bytes without its LF. */
  readonly maxLineBytes: number;
  /**
   * The most that the rows of one batch may take in a worker's memory, in bytes (row-memory.ts).
   */
  readonly maxBatchBytes: number;
}

/** docs/protocol.md, "Limits", gives the reasons. */
export const defaultBatchLimits: BatchLimits = Object.freeze({
  maxLineBytes: 1024 * 1024,
  maxBatchBytes: 64 * 1024 * 1024,
});

/**
 * One RDATA line without its LF; `batch` on all but the last row of a batch (docs/protocol.md,
 * "Commands").
 */
export function rowLine(stream: StreamName, token: Token | 'batch', row: RowText): string {
  return `RDATA ${stream} ${token} ${row}`;
}

/**
 * One ATTR line without its LF. It stands before the first row of its batch (docs/protocol.md,
 * "ATTR").
 */
export function attributesLine(stream: StreamName, token: Token, json: string): string {
  return `ATTR ${stream} ${token} ${json}`;
}

const LONGEST_TOKEN: Token = Number.MAX_SAFE_INTEGER;

/**
 * Checks that a batch can be sent, with any token.
 * @throws UsageError INVALID_ROW (no rows), ROW_TOO_LARGE, BATCH_TOO_LARGE
 */
export function checkBatch(stream: StreamName, rows: readonly RowText[], limits: BatchLimits): void {
  if (rows.length === 0) throw new UsageError('INVALID_ROW', `a batch of stream ${stream} has at least one row`);
  if (isSurelyWithin(stream, rows, limits)) return;
  const head = rowLine(stream, LONGEST_TOKEN, '');
  const headBytes = utf8Length(head);
  let memory = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    const lineBytes = headBytes + utf8Length(row);
    memory += memoryOf(head) + memoryOf(row);
    if (lineBytes > limits.maxLineBytes) {
      throw new UsageError(
        'ROW_TOO_LARGE',
        `row ${i} of the batch for stream ${stream} makes a line of ${lineBytes} bytes, over maxLineBytes ${limits.maxLineBytes}`,
        { facts: { stream, row: i, lineBytes } },
      );
    }
  }
  if (memory > limits.maxBatchBytes) {
    throw new UsageError(
      'BATCH_TOO_LARGE',
      `a batch of ${rows.length} rows for stream ${stream} takes ${memory} bytes of a worker's memory, over maxBatchBytes ${limits.maxBatchBytes}`,
      { facts: { stream, rows: rows.length, memory } },
    );
  }
}

/** What a row counts against maxBatchBytes: its line, as a worker has it in memory. */
export function memoryOfRow(stream: StreamName, row: RowText): number {
  return memoryOf(rowLine(stream, LONGEST_TOKEN, '')) + memoryOf(row);
}

/**
 * Skips the count of bytes, the most expensive step here, when the batch would fit even with the
 * longest characters.
 */
function isSurelyWithin(
  stream: StreamName,
  rows: readonly RowText[],
  { maxLineBytes, maxBatchBytes }: BatchLimits,
): boolean {
  let units = 0;
  let longest = 0;
  for (let i = 0; i < rows.length; i++) {
    const { length } = rows[i]!;
    units += length;
    if (length > longest) longest = length;
  }
  const headUnits = rowLine(stream, LONGEST_TOKEN, '').length;
  return (
    (headUnits + longest) * LONGEST_UTF8_BYTES_PER_UNIT <= maxLineBytes &&
    (headUnits * rows.length + units) * MAX_BYTES_PER_CHARACTER <= maxBatchBytes
  );
}
