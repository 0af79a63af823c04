/**
 * Sees that the files under an open sqlite log are still those that were opened. By `stat` alone: closing any descriptor of
 * them would lift the locks of SQLite. As a rule one `stat` of their directory tells, in some 3 µs: while it has not
 * changed, nothing in it was deleted, moved or replaced.
 */

import { type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';

import type { Millis } from '../base/clock.ts';

/** A directory that changed so shortly before the last look may have changed after it without another time: some file systems count in two seconds. */
const TIME_GRAIN_MS: Millis = 2_500;
/** How many commits there are from one look at the size of the WAL to the next. */
const COMMITS_PER_SIZE = 16;

const ifThere = { throwIfNoEntry: false } as const;

export class FileGuard {
  readonly #path: string;
  readonly #walPath: string;
  readonly #directoryPath: string;
  readonly #file: Stats;
  readonly #wal: Stats;
  #directory: Stats | undefined;
  #lookedAt: Millis = 0;
  #commitsUntilSize = 0;
  #contentMs: number;
  /** What the file of the WAL occupies, as last seen. */
  walBytes: number;

  /** Create it after the first write: before that there is no WAL. */
  constructor(path: string) {
    this.#path = path;
    this.#walPath = `${path}-wal`;
    this.#directoryPath = dirname(path);
    this.#file = statSync(path);
    this.#wal = statSync(this.#walPath);
    this.#contentMs = this.#file.mtimeMs;
    this.walBytes = this.#wal.size;
  }

  /** What is wrong, or undefined when commits go to where the path leads. Call it before each commit. */
  fault(): string | undefined {
    const directory = statSync(this.#directoryPath, ifThere);
    const isUnchanged = directory !== undefined && this.#isUnchanged(directory);
    if (isUnchanged && this.#commitsUntilSize-- > 0) return undefined;
    this.#commitsUntilSize = COMMITS_PER_SIZE - 1;
    this.#directory = directory;
    this.#lookedAt = Date.now();
    const wal = statSync(this.#walPath, ifThere);
    this.walBytes = wal?.size ?? 0;
    return faultOf(this.#path, statSync(this.#path, ifThere), this.#file) ?? faultOf(this.#walPath, wal, this.#wal);
  }

  /** Whether anyone, ourselves included, wrote to the database file since the last call. */
  wasWritten(): boolean {
    const mtimeMs = statSync(this.#path, ifThere)?.mtimeMs ?? 0;
    const was = mtimeMs !== this.#contentMs;
    this.#contentMs = mtimeMs;
    return was;
  }

  #isUnchanged({ ino, dev, mtimeMs }: Stats): boolean {
    const before = this.#directory;
    if (before === undefined || mtimeMs > this.#lookedAt - TIME_GRAIN_MS) return false;
    return mtimeMs === before.mtimeMs && ino === before.ino && dev === before.dev;
  }
}

function faultOf(path: string, now: Stats | undefined, opened: Stats): string | undefined {
  if (now === undefined) return `${path} was deleted or moved`;
  return now.ino === opened.ino && now.dev === opened.dev ? undefined : `${path} was replaced`;
}
