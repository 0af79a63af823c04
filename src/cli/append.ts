/**
 * `rowcast append`: sends rows from stdin to a running primary. Only the server checks them, so
 * that there is one definition of a row.
 */

import type { Millis } from '../base/clock.ts';
import type { Appended } from '../admin/answers.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { HostAndPort } from './addresses.ts';
import { type AdminAnswer, askAdmin, errorOf, notOurs } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, fail, say, type Terminal } from './terminal.ts';
import { UnsettledRows } from './unsettled-rows.ts';

export interface AppendOptions {
  readonly admin: HostAndPort;
  /** Rows in a batch. */
  readonly batch: number;
  /** Batch n of the rows is appended once, however often it is sent with this prefix. */
  readonly idPrefix?: string;
  readonly json?: true;
}

/** @throws ConnectionError, errors of stdin */
export async function append(
  stream: StreamName,
  { admin, batch, idPrefix, json }: AppendOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const { stdin, stdout, signal } = terminal;
  if (stdin.isTTY === true)
    say(
      terminal,
      `type rows of ${stream}, one JSON value a line, and end with Ctrl-D; or pipe them in: rowcast append ${stream} < rows.ndjson`,
    );
  const progress = new Progress(terminal, batch);
  const unsettled = new UnsettledRows(stdin, progress.handleChunk);
  let before: Appended = { position: null, rows: 0 };
  try {
    const send = async (): Promise<AdminAnswer> => {
      const firstBatch = Math.ceil(before.rows / batch) + 1;
      const query = `batch=${batch}&firstLine=${unsettled.firstLine}&firstBatch=${firstBatch}`;
      const answer = await askAdmin({
        admin,
        path: `/streams/${encodeURIComponent(stream)}/rows?${query}`,
        signal,
        rows: unsettled.body(),
        idempotencyKey: idPrefix,
        onProgress: (durable) => {
          unsettled.handleAppended(durable.rows);
          progress.handleDurable(together(before, durable));
        },
      });
      // Any HTTP server may say 200.
      const { rows } = (answer.body ?? {}) as Partial<Appended>;
      if (answer.status === 200 && typeof rows !== 'number') throw notOurs(admin);
      return answer;
    };
    let answer = await send();
    let error = errorOf(answer, admin);
    let isTold = false;
    while (error?.retryAfterMs !== undefined) {
      const { rows } = answer.body as Appended;
      unsettled.handleAppended(rows);
      before = together(before, answer.body as Appended);
      progress.handleDurable(before);
      if (!isTold) say(terminal, `${error.message.split(';')[0]}: waiting for room`);
      isTold = true;
      await waited(terminal, error.retryAfterMs);
      answer = await send();
      error = errorOf(answer, admin);
    }
    progress.end();
    const { position, rows, repeatedRows } = together(before, answer.body as Appended);
    const tellRepeated = (): void => {
      if (repeatedRows !== undefined && repeatedRows > 0) say(terminal, repeated(repeatedRows, rows));
    };
    if (error === undefined) {
      tellRepeated();
      if (position === null) say(terminal, 'stdin had no rows: nothing was appended');
      if (json === true) await print(stdout, `${JSON.stringify({ position, rows, repeatedRows })}\n`);
      else if (position !== null) await print(stdout, `${position}\n`);
      return exitCodes.fine;
    }
    const exitCode = fail(terminal, error);
    if (rows > 0)
      say(
        terminal,
        `${rows} ${rows === 1 ? 'row' : 'rows'} before that ${rows === 1 ? 'is' : 'are'} appended, up to ${position}`,
      );
    tellRepeated();
    return exitCode;
  } catch (error) {
    throw isWithoutAnswer(error) ? unknownOutcome(error, progress, idPrefix) : error;
  } finally {
    progress.end();
    unsettled.close();
  }
}

/** What two requests have appended. */
function together(before: Appended, after: Appended): Appended {
  const repeatedRows = (before.repeatedRows ?? 0) + (after.repeatedRows ?? 0);
  return {
    position: after.position ?? before.position,
    rows: before.rows + after.rows,
    ...(after.repeatedRows !== undefined && { repeatedRows }),
  };
}

/** @throws ConnectionError when the signal is aborted meanwhile */
async function waited({ clock, signal }: Terminal, ms: Millis): Promise<void> {
  let wake = (): void => {};
  const passed = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const timer = clock.wakeIn(ms, wake);
  signal.addEventListener('abort', wake, { once: true });
  if (!signal.aborted) await passed;
  signal.removeEventListener('abort', wake);
  timer.cancel();
  if (signal.aborted) throw new ConnectionError('CONNECTION_LOST', 'interrupted', { facts: { isAnswerLost: true } });
}

function repeated(repeatedRows: number, rows: number): string {
  const were = repeatedRows === 1 ? 'was' : 'were';
  return `${repeatedRows.toLocaleString('en')} of ${count(rows)} ${were} there already, by an upload with the same --id-prefix`;
}

function count(rows: number): string {
  return `${rows.toLocaleString('en')} ${rows === 1 ? 'row' : 'rows'}`;
}

/** The connection was there, and no answer came: some rows may be appended. */
function isWithoutAnswer(error: unknown): error is ConnectionError {
  return error instanceof ConnectionError && error.facts['isAnswerLost'] === true;
}

function unknownOutcome(lost: ConnectionError, progress: Progress, idPrefix: string | undefined): ConnectionError {
  const { rows: sent, durable } = progress;
  const upTo = durable.position === null ? '' : `, up to ${durable.position}`;
  const known = `${durable.rows.toLocaleString('en')} of ${count(sent)} sent ${durable.rows === 1 ? 'is' : 'are'} surely appended${upTo}; more of them may be`;
  const advice =
    idPrefix === undefined
      ? 'with --id-prefix PREFIX the same rows can be sent again after this, and each is appended once'
      : 'run the same command with the same rows again: what is appended is not appended twice';
  const facts = { sent, durable: durable.rows, position: durable.position };
  return new ConnectionError('CONNECTION_LOST', `${lost.message}; ${known}; ${advice}`, { cause: lost, facts });
}

const LF = 0x0a;
/** Short runs show no progress. */
const FIRST_AFTER_MS: Millis = 1_000;
const INTERVAL_MS: Millis = 250;

/**
 * Knows how many rows were sent and how many of them are durable. Shows that on one line that is
 * overwritten, on a terminal only.
 */
class Progress {
  readonly #terminal: Terminal;
  readonly #rowsPerBatch: number;
  readonly #beganAt: Millis;
  /** Lines with their ends that were sent. */
  rows = 0;
  /** What the primary has told as appended. */
  durable: Appended = { position: null, rows: 0 };
  #nextAt: Millis;
  #isShown = false;

  constructor(terminal: Terminal, rowsPerBatch: number) {
    this.#terminal = terminal;
    this.#rowsPerBatch = rowsPerBatch;
    this.#beganAt = terminal.clock.now();
    this.#nextAt = this.#beganAt + FIRST_AFTER_MS;
  }

  readonly handleChunk = (bytes: Uint8Array): void => {
    for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) this.rows++;
    this.#show();
  };

  readonly handleDurable = (durable: Appended): void => {
    this.durable = durable;
    this.#show();
  };

  #show(): void {
    const { stderr, stdin, clock } = this.#terminal;
    if (stderr.isTTY !== true || stdin.isTTY === true) return;
    const now = clock.now();
    if (now < this.#nextAt) return;
    this.#nextAt = now + INTERVAL_MS;
    this.#isShown = true;
    const { rows } = this.durable;
    const appended = rows.toLocaleString('en');
    const batches = Math.ceil(rows / this.#rowsPerBatch).toLocaleString('en');
    const rate = Math.round((rows * 1_000) / (now - this.#beganAt)).toLocaleString('en');
    stderr.write(
      `\r\u001b[Krowcast: ${count(this.rows)} sent, ${appended} appended in ${batches} batches, ${rate} rows/s`,
    );
  }

  /** Clears the line. */
  end(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    this.#terminal.stderr.write('\r\u001b[K');
  }
}
