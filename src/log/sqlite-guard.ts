/**
 * Checks that the files under an open sqlite log are still those that were opened. Uses `stat`
 * alone: closing any descriptor of them would release SQLite's locks. Costs about 3 µs a file.
 */

import { statSync, type Stats } from 'node:fs';

export class FileGuard {
  readonly #path: string;
  readonly #walPath: string;
  readonly #file: Stats;
  readonly #wal: Stats;
  /** The modification time of the file when its content was last known to be ours. */
  #lookedAtMs: number;
  /** The size of the WAL in bytes, as last seen. The WAL does not shrink by itself. */
  walBytes: number;

  /** Create it after the first write: before that there is no WAL. */
  constructor(path: string) {
    this.#path = path;
    this.#walPath = `${path}-wal`;
    this.#file = statSync(path);
    this.#wal = statSync(this.#walPath);
    this.#lookedAtMs = this.#file.mtimeMs;
    this.walBytes = this.#wal.size;
  }

  /** The fault, or undefined when commits go to the file at the path. */
  fault(): string | undefined {
    const wal = statSync(this.#walPath, { throwIfNoEntry: false });
    this.walBytes = wal?.size ?? 0;
    return (
      faultOf(this.#path, statSync(this.#path, { throwIfNoEntry: false }), this.#file) ??
      faultOf(this.#walPath, wal, this.#wal)
    );
  }

  /** Whether anyone, ourselves included, wrote to the database file since the last call. */
  wasWritten(): boolean {
    const mtimeMs = statSync(this.#path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const was = mtimeMs !== this.#lookedAtMs;
    this.#lookedAtMs = mtimeMs;
    return was;
  }
}

function faultOf(path: string, now: Stats | undefined, opened: Stats): string | undefined {
  if (now === undefined) return `${path} was deleted or moved`;
  return now.ino === opened.ino && now.dev === opened.dev ? undefined : `${path} was replaced`;
}
