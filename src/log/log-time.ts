/**
 * The time by which rows on disk age. It counts only time that has certainly passed, because the
 * wall clock may be set by hours or years and no row may be dropped early for that.
 *
 * It follows the monotonic clock while the log is open, and the machine's uptime from one process
 * to the next. It stands still across a reboot, and where the system does not report its uptime.
 * Rows are then kept longer, never shorter.
 */

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

import type { Clock, Millis } from '../base/clock.ts';

/** One boot of the machine, and its uptime. */
export interface Boot {
  readonly id: string;
  readonly uptimeMs: Millis;
}

/** One instant on all clocks. It is stored, so that the next process can continue from it. */
export interface TimeMark {
  readonly logMs: Millis;
  readonly wallMs: Millis;
  readonly boot: Boot | null;
}

/** The error of the uptime: the system reports it in hundredths of a second. */
const UPTIME_GRAIN_MS: Millis = 20;

/** The log's own time while it is open, from where the last open left it (resumedMs). */
export class LogTime {
  readonly #clock: Clock;
  readonly #startMs: Millis;
  readonly #startedAt: Millis;

  constructor(startMs: Millis, clock: Clock) {
    this.#clock = clock;
    this.#startMs = startMs;
    this.#startedAt = clock.now();
  }

  /** Whole milliseconds, for people who read the file in the sqlite3 shell. */
  now(): Millis {
    return Math.floor(this.#startMs + this.#clock.now() - this.#startedAt);
  }

  /** The time so far, to be stored. */
  mark(boot: Boot | undefined): TimeMark {
    return { logMs: this.now(), wallMs: Math.floor(this.#clock.wallNow()), boot: boot ?? null };
  }
}

/** What is known of the time at an open. */
export interface Resumption {
  readonly mark: TimeMark | undefined;
  /** The time of the newest stored row: the log's time was at least this. */
  readonly newestMs: Millis;
  readonly wallMs: Millis;
  readonly boot: Boot | undefined;
}

/** The log's time at the start of a process. */
export function resumedMs({ mark, newestMs, wallMs, boot }: Resumption): Millis {
  if (mark === undefined) return newestMs;
  return Math.max(newestMs, mark.logMs + surelyPassedMs(mark, wallMs, boot));
}

/**
 * When two clocks disagree, the smaller difference counts: a container may report an uptime of its
 * own.
 */
function surelyPassedMs(mark: TimeMark, wallMs: Millis, boot: Boot | undefined): Millis {
  if (boot === undefined || mark.boot?.id !== boot.id) return 0;
  return Math.max(0, Math.min(boot.uptimeMs - mark.boot.uptimeMs - UPTIME_GRAIN_MS, wallMs - mark.wallMs));
}

/** Undefined where the system does not identify its boots: everywhere but on Linux. */
export function systemBoot(): Boot | undefined {
  try {
    const id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { id, uptimeMs: Math.floor(uptime() * 1_000) };
  } catch {
    return undefined;
  }
}

/** Reads a stored mark; undefined when it is none. */
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
