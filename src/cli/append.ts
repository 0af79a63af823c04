/**
 * `rowcast append`: sends rows from stdin to a running primary. Only the server checks them, so
 * that there is one definition of a row.
 */

import type { Millis } from '../base/clock.ts';
import type { Appended } from '../admin/answers.ts';
import { ConnectionError } from '../core/model/errors.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin, errorOf } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, say, type Terminal } from './terminal.ts';

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
  const progress = new Progress(terminal);
  stdin.on('data', progress.handleChunk);
  try {
    const path = `/streams/${encodeURIComponent(stream)}/rows?batch=${batch}`;
    const answer = await askAdmin({ admin, path, signal, rows: stdin, idempotencyKey: idPrefix });
    progress.end();
    const error = errorOf(answer, admin);
    const { position, rows } = answer.body as Appended;
    if (error === undefined) {
      if (position === null) say(terminal, 'stdin had no rows: nothing was appended');
      if (json === true) await print(stdout, `${JSON.stringify({ position, rows })}\n`);
      else if (position !== null) await print(stdout, `${position}\n`);
      return exitCodes.fine;
    }
    say(terminal, error.message);
    if (rows > 0)
      say(
        terminal,
        `${rows} ${rows === 1 ? 'row' : 'rows'} before that ${rows === 1 ? 'is' : 'are'} appended, up to ${position}`,
      );
    return exitCodes.failed;
  } catch (error) {
    throw isWithoutAnswer(error) ? unknownOutcome(error, progress.rows, idPrefix) : error;
  } finally {
    progress.end();
    stdin.off('data', progress.handleChunk);
  }
}

/** The connection was there, and no answer came: some rows may be appended. */
function isWithoutAnswer(error: unknown): error is ConnectionError {
  return error instanceof ConnectionError && error.facts['isAnswerLost'] === true;
}

function unknownOutcome(lost: ConnectionError, rows: number, idPrefix: string | undefined): ConnectionError {
  const sent = `${rows.toLocaleString('en')} ${rows === 1 ? 'row was' : 'rows were'} sent`;
  const advice =
    idPrefix === undefined
      ? 'with --id-prefix PREFIX the same rows can be sent again after this, and each is appended once'
      : 'run the same command with the same rows again: what is appended is not appended twice';
  const text = `${lost.message}; ${sent}, and 0 of them are known to be appended: no answer came; ${advice}`;
  return new ConnectionError('CONNECTION_LOST', text, { cause: lost });
}

const LF = 0x0a;
/** Short runs show no progress. */
const FIRST_AFTER_MS: Millis = 1_000;
const INTERVAL_MS: Millis = 250;

/** Counts the rows sent, and shows them on one line that is overwritten, on a terminal only. */
class Progress {
  readonly #terminal: Terminal;
  /** Lines with their ends. */
  rows = 0;
  #nextAt: Millis;
  #isShown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#nextAt = terminal.clock.now() + FIRST_AFTER_MS;
  }

  readonly handleChunk = (chunk: Uint8Array | string): void => {
    const { stderr, stdin, clock } = this.#terminal;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) this.rows++;
    if (stderr.isTTY !== true || stdin.isTTY === true) return;
    const now = clock.now();
    if (now < this.#nextAt) return;
    this.#nextAt = now + INTERVAL_MS;
    this.#isShown = true;
    stderr.write(`\rrowcast: ${this.rows.toLocaleString('en')} rows sent`);
  };

  /** Clears the line. */
  end(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    this.#terminal.stderr.write('\r\u001b[K');
  }
}
