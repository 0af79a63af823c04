/** The errors of misuse that all logs share, in the same words. */

import { quote, UsageError } from '../core/model/errors.ts';
import type { Bounds } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/** For every use of a log before its open and after its close. */
export function notOpen(log: string): UsageError {
  return new UsageError('CLOSED', `log ${log} is not open: open it first, and use it no more once closed`);
}

/** For a second open. */
export function logIsOpen(log: string): UsageError {
  return new UsageError('INVALID_OPTION', `log ${log} is open already: give each primary a log of its own`);
}

/** For a name that the log does not serve. */
export function noSuchStream(log: string, stream: StreamName): UsageError {
  return new UsageError(
    'NO_SUCH_STREAM',
    `log ${log} was opened without stream ${quote(stream)}: declare it among the streams`,
  );
}

/**
 * Checks that rows after the token can be taken back.
 * @throws UsageError INVALID_TOKEN
 */
export function checkStoredToken(stream: StreamName, token: Token, { earliest, latest }: Bounds): void {
  if (token >= earliest - 1 && token <= latest) return;
  throw new UsageError(
    'INVALID_TOKEN',
    `stream ${stream} cannot be truncated after ${token}: it reaches from ${earliest} to ${latest}`,
    { facts: { stream, token, earliest, latest } },
  );
}
