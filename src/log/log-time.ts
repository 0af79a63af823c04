/**
 * The time by which rows age on disk: it counts only time that has surely passed. The system's clock may be set, by hours
 * or by years, while rows are kept; no row may be dropped before its time for that. So a log has a time of its own: it
 * goes on with the monotonic clock while the log is open, and with the uptime of the machine from one process to the next.
 * Over a reboot, and where the system does not say how long it is up, it stands still: more is kept then, never less.
 */

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

import type { Clock, Millis } from '../base/clock.ts';

/** One run of the machine, and how long it has lasted. */
export interface Boot {
  readonly id: string;
  readonly uptimeMs: Millis;
}

/** An instant by all clocks: what is stored, so that the next process can go on from there. */
export interface TimeMark {
  readonly logMs: Millis;
  readonly wallMs: Millis;
  readonly boot: Boot | null;
}

/** What the uptime may be off by: it is read in hundredths of a second. */
const UPTIME_GRAIN_MS: Millis = 20;

export class LogTime {
  readonly #clock: Clock;
  readonly #startMs: Millis;
  readonly #startedAt: Millis;

  constructor(startMs: Millis, clock: Clock) {
    this.#clock = clock;
    this.#startMs = startMs;
    this.#startedAt = clock.now();
  }

  /** Whole milliseconds, for the person at the shell. */
  now(): Millis {
    return Math.floor(this.#startMs + this.#clock.now() - this.#startedAt);
  }

  mark(boot: Boot | undefined): TimeMark {
    return { logMs: this.now(), wallMs: Math.floor(this.#clock.wallNow()), boot: boot ?? null };
  }
}

export interface Resumption {
  readonly mark: TimeMark | undefined;
  /** Of the newest row that was found: the log's time was at least that. */
  readonly newestMs: Millis;
  readonly wallMs: Millis;
  readonly boot: Boot | undefined;
}

/** The log's time of a process that starts. */
export function resumedMs({ mark, newestMs, wallMs, boot }: Resumption): Millis {
  if (mark === undefined) return newestMs;
  return Math.max(newestMs, mark.logMs + surelyPassedMs(mark, wallMs, boot));
}

/** Where two clocks disagree, the one that says less is believed: containers may be told an uptime of their own. */
function surelyPassedMs(mark: TimeMark, wallMs: Millis, boot: Boot | undefined): Millis {
  if (boot === undefined || mark.boot?.id !== boot.id) return 0;
  return Math.max(0, Math.min(boot.uptimeMs - mark.boot.uptimeMs - UPTIME_GRAIN_MS, wallMs - mark.wallMs));
}

/** Undefined where the system does not tell its boots apart: everywhere but on Linux. */
export function systemBoot(): Boot | undefined {
  try {
    const id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { id, uptimeMs: Math.floor(uptime() * 1_000) };
  } catch {
    return undefined;
  }
}

export function parseMark(text: string): TimeMark | undefined {
  try {
    const mark = JSON.parse(text) as TimeMark;
    return [mark.logMs, mark.wallMs, mark.boot === null ? 0 : mark.boot.uptimeMs].every(Number.isFinite)
      ? mark
      : undefined;
  } catch {
    return undefined;
  }
}
