/**
 * A row whose line came whole and cannot be read. It stands in its batch in the place of the row, so
 * that only its stream is affected.
 */

import type { RowText } from './row.ts';

/** What is wrong with the line, or with the batch. */
export interface RowFault {
  readonly code: 'INVALID_ROW' | 'INVALID_UTF8' | 'LINE_TOO_LONG' | 'BATCH_TOO_LARGE';
  /** What is wrong, without the row itself, which may be private. */
  readonly text: string;
  /** Sizes and limits, as values. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export class UnreadableRow {
  readonly fault: RowFault;
  /** The row as it came. Empty where it was too long to be kept. */
  readonly text: RowText;

  constructor(fault: RowFault, text: RowText) {
    this.fault = fault;
    this.text = text;
  }
}
