/**
 * Measures a log's commits, so that the log can say what is wrong with its disk. Reads the clock
 * twice for each commit, and never for a row.
 */

import type { Clock, Millis } from '../base/clock.ts';
import { type ErrorCode, RowcastError } from '../core/model/errors.ts';

/** A commit that takes longer counts as slow. A healthy disk needs a hundredth of it. */
export const SLOW_COMMIT_MS: Millis = 1_000;
/** How long a slow commit keeps a log's health at `slow` when the commits after it are quick. */
const SLOW_FOR_MS: Millis = 60_000;

/** What is wrong with a log whose last commit failed or took over SLOW_COMMIT_MS. */
export interface LogTrouble {
  /** The time by the system's clock since when every commit failed or was slow. */
  readonly sinceMs: Millis;
  /** How long the last commit took, or has taken so far. Undefined when none was made. */
  readonly lastCommitMs: Millis | undefined;
  /** Why the last commit failed, or the log has stopped. Undefined when it was only slow. */
  readonly code: ErrorCode | undefined;
}

/** Measures the commits of a log, and tells how its disk does. */
export class CommitWatch {
  readonly #clock: Clock;
  #trouble: LogTrouble | undefined;
  #lastCommitMs: Millis | undefined;
  #slowAt: Millis = -Infinity;
  /** When the commit began that is on its way. */
  #startedAt: Millis | undefined;
  #startedWallMs: Millis = 0;
  #isStopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined when the last commit was quick and succeeded. */
  get trouble(): LogTrouble | undefined {
    if (this.#startedAt === undefined) return this.#trouble;
    const tookMs = Math.round(this.#clock.now() - this.#startedAt);
    if (tookMs <= SLOW_COMMIT_MS) return this.#trouble;
    return { sinceMs: this.#trouble?.sinceMs ?? this.#startedWallMs, lastCommitMs: tookMs, code: undefined };
  }

  /** The health of a log that still takes appends. */
  get health(): 'ok' | 'slow' | 'failing' {
    const { trouble } = this;
    if (trouble?.code !== undefined) return 'failing';
    return trouble !== undefined || this.#clock.now() - this.#slowAt < SLOW_FOR_MS ? 'slow' : 'ok';
  }

  /** Makes one commit. It may take time; the next one comes after it. */
  measure<T>(commit: () => T): T {
    // A log that has stopped makes none: it refuses.
    if (this.#isStopped) return commit();
    this.#startedAt = this.#clock.now();
    this.#startedWallMs = Math.floor(this.#clock.wallNow());
    let made: T;
    try {
      made = commit();
    } catch (error) {
      this.#end(error);
      throw error;
    }
    if (!(made instanceof Promise)) {
      this.#end(undefined);
      return made;
    }
    return made.then(
      (value: unknown) => {
        this.#end(undefined);
        return value;
      },
      (error: unknown) => {
        this.#end(error);
        throw error;
      },
    ) as T;
  }

  /** The log takes no more appends, because of a commit or for another reason. */
  handleStopped({ code }: RowcastError): void {
    this.#isStopped = true;
    this.#trouble = { sinceMs: Math.floor(this.#clock.wallNow()), lastCommitMs: this.#lastCommitMs, code };
  }

  /** The log is opened again. */
  forget(): void {
    this.#isStopped = false;
    this.#trouble = undefined;
    this.#lastCommitMs = undefined;
    this.#slowAt = -Infinity;
  }

  #end(thrown: unknown): void {
    const now = this.#clock.now();
    this.#lastCommitMs = Math.round(now - this.#startedAt!);
    this.#startedAt = undefined;
    const isSlow = this.#lastCommitMs > SLOW_COMMIT_MS;
    if (isSlow) this.#slowAt = now;
    if (!isSlow && thrown === undefined) {
      this.#trouble = undefined;
      return;
    }
    const { sinceMs } = this.#trouble ?? { sinceMs: this.#startedWallMs };
    this.#trouble = { sinceMs, lastCommitMs: this.#lastCommitMs, code: codeOf(thrown) };
  }
}

function codeOf(thrown: unknown): ErrorCode | undefined {
  if (thrown === undefined) return undefined;
  return thrown instanceof RowcastError ? thrown.code : 'LOG_OUTCOME_UNKNOWN';
}
