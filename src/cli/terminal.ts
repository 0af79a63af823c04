/** What a command is given of the outside world, so that a test can give it another one. */

import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../base/clock.ts';

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Results only: what another program reads. */
  readonly stdout: Writable;
  /** Everything that is said to people. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Aborted by SIGINT and SIGTERM: finish, then end. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

export type ExitCode = 0 | 1 | 2;

/** Fine, failed, called in a wrong way. */
export const exitCodes: { readonly fine: 0; readonly failed: 1; readonly usage: 2 } = Object.freeze({ fine: 0, failed: 1, usage: 2 });

/** One line to the person at the terminal. */
export function say(terminal: Pick<Terminal, 'stderr'>, text: string): void {
  terminal.stderr.write(`rowcast: ${printable(text)}\n`);
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** What came from elsewhere cannot move the cursor, colour the screen or make lines of its own. JSON stays JSON by it. */
export function printable(text: string): string {
  return text.replace(CONTROL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Resolves when the signal is aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
}
