/** The outside world of a command. A test passes a fake one. */

import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { escapeControl } from '../core/model/errors.ts';

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Results only, for other programs. */
  readonly stdout: Writable;
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

/** Prints one line for the person at the terminal. */
export function say(terminal: Pick<Terminal, 'stderr'>, text: string): void {
  terminal.stderr.write(`rowcast: ${escapeControl(text)}\n`);
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
}
