/**
 * The streams of an sqlite log that need a write apart from the commits of their rows: their holders
 * have changed, or rows of theirs can be dropped. What a worker has saved moves each second for each
 * stream, so it is done in steps, between which appends have their turn.
 */

import type { Millis } from '../base/clock.ts';
import { LogError } from '../core/model/errors.ts';
import type { SqliteStream } from './sqlite-stream.ts';

/** What was saved is written this much later: all that moved meanwhile costs one write. */
const INTERVAL_MS: Millis = 1_000;
/** The most streams of one step, which takes a few milliseconds. */
const MAX_STEP_STREAMS = 100;
/** From step to step. */
const PAUSE_MS: Millis = 10;

const PASSING_CODES: ReadonlySet<string> = new Set(['LOG_LOCKED', 'LOG_FULL']);

export class StreamUpkeep {
  readonly #write: (streams: readonly SqliteStream[]) => void;
  readonly #waiting = new Set<SqliteStream>();
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Infinity;

  /** `write` does what some streams need in a transaction, and throws when it cannot. */
  constructor(write: (streams: readonly SqliteStream[]) => void) {
    this.#write = write;
  }

  /** The holders of a stream have changed, or more of its rows can be dropped. */
  add(stream: SqliteStream, isUrgent: boolean = stream.holders?.isUrgent === true): void {
    this.#waiting.add(stream);
    this.#continueIn(isUrgent ? 0 : INTERVAL_MS);
  }

  /** The stream is gone. */
  forget(stream: SqliteStream): void {
    this.#waiting.delete(stream);
  }

  /** Everything that waits, which the caller writes. */
  takeAll(): SqliteStream[] {
    const all = [...this.#waiting];
    this.#waiting.clear();
    return all;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueMs = Infinity;
  }

  // Not the injected clock: its timers keep a process alive, and these must not.
  #continueIn(ms: Millis): void {
    if (ms >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = ms;
    this.#timer = setTimeout(() => this.#goOn(), ms).unref();
  }

  #goOn(): void {
    this.stop();
    const step = [...this.#waiting].slice(0, MAX_STEP_STREAMS);
    for (const stream of step) this.#waiting.delete(stream);
    try {
      this.#write(step);
      if (this.#waiting.size > 0) this.#continueIn(PAUSE_MS);
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      // Anything else is met by appends and reads too, and the log has stopped.
      if (!PASSING_CODES.has(error.code)) return;
      for (const stream of step) this.#waiting.add(stream);
      this.#continueIn(INTERVAL_MS);
    }
  }
}
