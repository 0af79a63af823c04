/** Where Rowcast reports what happens: the part of pino's interface that it calls. */

import type { Clock, Millis } from '../../base/clock.ts';
import { callGuarded } from '../../base/uncaught.ts';
import { cutText, escapeControl } from './errors.ts';
import { LineRate } from './line-rate.ts';
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
  readonly leftOut?: number;
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
  leftOut: 'how many lines were not written, because the other side caused too many',
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

/** Where Rowcast logs. Pino fits, and so does a few lines around console. */
export interface Logger {
  /** For finding faults of Rowcast or the network. */
  debug(fields: LogFields, text: string): void;
  /** What happens in ordinary operation. */
  info(fields: LogFields, text: string): void;
  /** A peer or the network misbehaves; Rowcast goes on. */
  warn(fields: LogFields, text: string): void;
  /** Something failed that a person has to mend. */
  error(fields: LogFields, text: string): void;
}

const silence = (): void => {};

export const silentLogger: Logger = Object.freeze({ debug: silence, info: silence, warn: silence, error: silence });

/** A field or a text of a log line is at most this long. */
const LONGEST_LOG_TEXT = 1_000;

/**
 * The application's logger. What it throws cuts nothing of our work short: it stays uncaught. It
 * gets no text that is longer than a line of a log should be, or that moves a cursor.
 */
export function guardLogger(logger: Logger, clock: Clock): Logger {
  const guarded =
    (level: keyof Logger) =>
    (fields: LogFields, text: string): void =>
      callGuarded(clock, () => logger[level](boundFields(fields), bound(text)));
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn'), error: guarded('error') };
}

function boundFields(fields: LogFields): LogFields {
  const entries = Object.entries(fields).map(([name, value]: [string, unknown]) => [
    name,
    typeof value === 'string' ? bound(value) : value,
  ]);
  return Object.fromEntries(entries) as LogFields;
}

function bound(text: string): string {
  return escapeControl(text.length > LONGEST_LOG_TEXT ? `${cutText(text, LONGEST_LOG_TEXT)}…` : text);
}

/**
 * A logger for what a peer causes, with a bounded rate of lines (line-rate.ts). The next line that
 * is written says how many were left out. `debug` has no bound: it is for looking closely.
 */
export class PeerLogger implements Logger {
  readonly #logger: Logger;
  readonly #now: () => Millis;
  readonly #rate = new LineRate();

  constructor(logger: Logger, now: () => Millis) {
    this.#logger = logger;
    this.#now = now;
  }

  debug(fields: LogFields, text: string): void {
    this.#logger.debug(fields, text);
  }

  info(fields: LogFields, text: string): void {
    this.#log('info', fields, text);
  }

  warn(fields: LogFields, text: string): void {
    this.#log('warn', fields, text);
  }

  error(fields: LogFields, text: string): void {
    this.#log('error', fields, text);
  }

  /** The connection has ended: says what was left out last, and writes a line without fail. */
  end(fields: LogFields, text: string): void {
    this.#tellLeftOut(fields);
    this.#logger.info(fields, text);
  }

  #log(level: 'info' | 'warn' | 'error', fields: LogFields, text: string): void {
    if (!this.#rate.take(this.#now())) return;
    this.#tellLeftOut(fields);
    this.#logger[level](fields, text);
  }

  #tellLeftOut({ worker, workerName, peer }: LogFields): void {
    const leftOut = this.#rate.takeLeftOut();
    if (leftOut === 0) return;
    const of = { ...(worker !== undefined && { worker, workerName }), ...(peer !== undefined && { peer }) };
    this.#logger.warn({ ...of, leftOut }, `log lines left out: ${leftOut}`);
  }
}
