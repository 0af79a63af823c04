/** The error of a body line that cannot be appended, with its number. */

import { type ErrorCode, RowcastError } from '../core/model/errors.ts';

export class LineError extends RowcastError {
  override readonly name = 'LineError';
  /** Counts from 1. */
  readonly line: number;

  constructor(code: ErrorCode, text: string, line: number, options?: { cause?: unknown }) {
    super(code, text, options);
    this.line = line;
  }
}
