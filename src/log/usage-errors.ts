/** The errors of misuse that all logs share, in the same words. */

import { quote, UsageError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';

export function notOpen(log: string): UsageError {
  return new UsageError('CLOSED', `log ${log} is not open: open it first, and use it no more once closed`);
}

export function logIsOpen(log: string): UsageError {
  return new UsageError('INVALID_OPTION', `log ${log} is open already: give each primary a log of its own`);
}

export function noSuchStream(log: string, stream: StreamName): UsageError {
  return new UsageError(
    'NO_SUCH_STREAM',
    `log ${log} was opened without stream ${quote(stream)}: declare it among the streams`,
  );
}
