/** The outputs of a session in order, with transmitted lines as text. Time is an argument. */

import type { Millis } from '../../src/base/clock.ts';

export const T0: Millis = 1_490_197_665_618;

export function bytesOf(...lines: readonly string[]): Buffer {
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

export class SessionOutputs<Kept extends { readonly kind: string }> {
  readonly #kept: Kept[] = [];
  #bytes: Buffer[] = [];
  /** All outputs in order, transmitted lines as text. */
  readonly story: string[] = [];

  keep(output: Kept): void {
    this.#kept.push(output);
    if (!isTransmit(output)) {
      this.story.push(output.kind);
      return;
    }
    const bytes = Buffer.from(output.bytes);
    this.#bytes.push(bytes);
    this.story.push(...splitLines(bytes));
  }

  of<Kind extends Kept['kind']>(kind: Kind): Extract<Kept, { kind: Kind }>[] {
    return this.#kept.filter((output): output is Extract<Kept, { kind: Kind }> => output.kind === kind);
  }

  get all(): readonly Kept[] {
    return this.#kept;
  }

  /** The lines transmitted since the last call. */
  takeLines(): string[] {
    const lines = splitLines(Buffer.concat(this.#bytes));
    this.#bytes = [];
    return lines;
  }
}

interface Machine {
  nextTimeout(): Millis | undefined;
  handleTimeout(now: Millis): void;
}

/** Lets time pass, and wakes the machine whenever it wants. */
export function wakeUntil(end: { now: Millis; poll: () => void }, machine: Machine, until: Millis): void {
  for (let wakes = 0; ; wakes++) {
    if (wakes > 10_000) throw new Error('the machine wakes for ever');
    const at = machine.nextTimeout();
    if (at === undefined || at > until) break;
    end.now = Math.max(at, end.now);
    machine.handleTimeout(end.now);
    end.poll();
  }
  end.now = until;
}

/** Wakes a machine that asks for it at once, as an event loop does. Returns false when it does not. */
export function takeTurn(machine: Machine, now: Millis): boolean {
  const at = machine.nextTimeout();
  if (at === undefined || at > now) return false;
  machine.handleTimeout(now);
  return true;
}

function isTransmit(output: { readonly kind: string }): output is { readonly kind: 'transmit'; bytes: Uint8Array } {
  return output.kind === 'transmit';
}

function splitLines(bytes: Buffer): string[] {
  const text = bytes.toString();
  if (text !== '' && !text.endsWith('\n'))
    throw new Error(`what was transmitted does not end with LF: ${JSON.stringify(text)}`);
  return text.split('\n').slice(0, -1);
}
