/** The outside world of a command. A test passes a fake one. */

import type { Readable, Writable } from 'node:stream';
import type { Clock, Millis } from '../base/clock.ts';
import { type ErrorCode, escapeControl } from '../core/model/errors.ts';
import { LineRate } from '../core/model/line-rate.ts';

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Results only, for other programs. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Everything for people. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Aborted by SIGINT and SIGTERM: finish, then end. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

export type ExitCode = 0 | 1 | 2;

/** Success, failure, wrong usage. */
export const exitCodes: { readonly fine: 0; readonly failed: 1; readonly usage: 2 } = Object.freeze({
  fine: 0,
  failed: 1,
  usage: 2,
});

/** The most characters of a line for people. Texts of peers and of files may be of any length. */
const MAX_SAID_LENGTH = 4_096;

/** Prints one line for the person at the terminal. */
export function say(terminal: Pick<Terminal, 'stderr'>, text: string): void {
  const cut = text.length > MAX_SAID_LENGTH ? `${text.slice(0, MAX_SAID_LENGTH)}…` : text;
  terminal.stderr.write(`rowcast: ${escapeControl(cut)}\n`);
}

/** Errors that a different command line avoids. */
const usageCodes: ReadonlySet<string> = new Set<ErrorCode>([
  'INVALID_OPTION',
  'INVALID_COMMAND',
  'INVALID_STREAM_NAME',
  'INVALID_TOKEN',
  'INVALID_POSITION',
  'DUPLICATE_STREAM',
  'PLAINTEXT_REFUSED',
]);

/** An error of Rowcast, or of the system: ENOSPC. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/**
 * Prints why a command failed: `rowcast: CODE: text`, the same for every command. Returns the exit
 * code that belongs to it.
 */
export function fail(terminal: Pick<Terminal, 'stderr'>, { code, message }: Failure): ExitCode {
  say(terminal, `${code}: ${message.replace('allowPlaintext: true', '--allow-plaintext')}`);
  return usageCodes.has(code) ? exitCodes.usage : exitCodes.failed;
}

/** Prints what peers cause, with a bounded rate of lines for each `of` (core/model/line-rate.ts). */
export function sayAtRate(terminal: Pick<Terminal, 'stderr' | 'clock'>): (of: object, text: string) => void {
  const rates = new WeakMap<object, LineRate>();
  return (of, text) => {
    const rate = rates.get(of) ?? new LineRate();
    rates.set(of, rate);
    if (!rate.take(terminal.clock.now())) return;
    const leftOut = rate.takeLeftOut();
    if (leftOut > 0) say(terminal, `lines left out: ${leftOut}`);
    say(terminal, text);
  };
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
}

/** Resolves after the time, or when the signal is aborted. */
export async function slept(delayMs: Millis, { clock, signal }: Pick<Terminal, 'clock' | 'signal'>): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.wakeIn(delayMs, end);
    signal.addEventListener('abort', end);
  });
}
