/** Where Rowcast reports what happens: the part of pino's interface that it calls. */

import type { Clock, Millis } from '../../base/clock.ts';
import { callGuarded } from '../../base/uncaught.ts';
import type { StreamName, WorkerName } from './stream.ts';
import type { Token } from './token.ts';

/**
 * Fields of log lines. None has a name that a logger sets itself: pino's are `level`, `time`,
 * `pid`, `hostname`, `name` and `msg`. docs/operations.md lists the same fields, and a test
 * compares.
 */
export interface LogFields {
  readonly address?: string;
  readonly code?: string;
  readonly command?: string;
  /** What was thrown: the field that pino serializes with its stack. */
  readonly err?: Error;
  readonly from?: Token | 'START' | 'NOW';
  readonly isRowcast?: boolean;
  readonly lagRows?: number;
  readonly method?: string;
  readonly path?: string;
  readonly peer?: string;
  readonly primary?: string;
  readonly reason?: string;
  readonly retryInMs?: Millis;
  readonly saved?: Token | undefined;
  readonly stream?: StreamName;
  readonly streams?: number;
  readonly token?: Token;
  readonly upTo?: Token;
  readonly worker?: number;
  readonly workerName?: WorkerName | undefined;
}

/** What each field means. */
export const logFields: Readonly<Record<keyof LogFields, string>> = Object.freeze({
  address: 'where the primary listens',
  code: 'the code of the error (errors.md)',
  command: 'the name of the command that was dropped',
  err: 'the error itself, with its stack: a fault of Rowcast',
  from: 'the token after which a worker asked for rows, START or NOW',
  isRowcast: 'whether the primary is Rowcast',
  lagRows: 'how many rows of the stream the worker has not saved',
  method: 'the method of a request to the admin port',
  path: 'the path of a request to the admin port',
  peer: "the other end of a worker's connection",
  primary: 'the address of the primary that the worker follows',
  reason: 'why a connection ended',
  retryInMs: 'when the worker tries again, in whole milliseconds',
  saved: 'the token up to which the worker has saved the stream',
  stream: 'the name of the stream',
  streams: 'how many streams',
  token: 'the token at which a worker became live, or of the batch that was skipped',
  upTo: 'the token up to which rows are dropped',
  worker: "the number of a worker's connection, as in status",
  workerName: 'the name that the worker gave itself',
});

export interface Logger {
  debug(fields: LogFields, text: string): void;
  info(fields: LogFields, text: string): void;
  warn(fields: LogFields, text: string): void;
  error(fields: LogFields, text: string): void;
}

const silence = (): void => {};

export const silentLogger: Logger = Object.freeze({ debug: silence, info: silence, warn: silence, error: silence });

/** The application's logger, whose errors cut nothing of our work short: they stay uncaught. */
export function guardLogger(logger: Logger, clock: Clock): Logger {
  return {
    debug: (fields, text) => callGuarded(clock, () => logger.debug(fields, text)),
    info: (fields, text) => callGuarded(clock, () => logger.info(fields, text)),
    warn: (fields, text) => callGuarded(clock, () => logger.warn(fields, text)),
    error: (fields, text) => callGuarded(clock, () => logger.error(fields, text)),
  };
}
