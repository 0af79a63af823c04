/**
 * Copies an sqlite log into a new file while it is written. The connection that writes makes the
 * copy: SQLite then carries each commit over to it. Another connection's copy begins again at every
 * commit, and never ends.
 */

import { open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

import type Database from 'better-sqlite3';

import { LogError, UsageError, systemCode } from '../core/model/errors.ts';
import type { BackupOptions } from './log.ts';
import { sqliteLogError } from './sqlite-errors.ts';
import { OWNER_ONLY_FILE, syncDirectory } from './sqlite-place.ts';
import { nameWhole, partPath, refuseExisting } from './whole-file.ts';

/** How much is copied in one turn of the event loop: about 1 ms. */
const STEP_BYTES = 512 * 1024;

export interface CopyOptions extends BackupOptions {
  readonly database: Database.Database;
  /** The new file. */
  readonly path: string;
  /** Throws when the copy must not go on. */
  readonly check: () => void;
}

/**
 * @throws UsageError INVALID_OPTION; LogError that names the new file; the signal's reason; what
 * `check` throws
 */
export async function copyDatabase({ database, path, signal, onProgress, check }: CopyOptions): Promise<void> {
  const target = resolve(path);
  // The driver would write to the trimmed path, which may be another file.
  if (target !== target.trim()) {
    throw new UsageError('INVALID_OPTION', `the path of a backup ends without spaces, unlike '${path}'`);
  }
  signal?.throwIfAborted();
  // A part of a copy, under the name of a backup, would open as an empty log.
  const part = partPath(target);
  const file = await refuseExisting(target)
    .then(async () => open(part, 'wx', OWNER_ONLY_FILE))
    .catch((error: unknown) => {
      throw cannotMake(path, error);
    });
  let stopped: { readonly reason: unknown } | undefined;
  const stopIf = (mayGoOn: () => void): void => {
    try {
      mayGoOn();
    } catch (reason) {
      stopped = { reason };
      throw reason;
    }
  };
  const pageBytes = database.pragma('page_size', { simple: true }) as number;
  let isSyncing = false;
  try {
    const { totalPages: pages } = await database.backup(part, {
      progress: ({ totalPages, remainingPages }) => {
        stopIf(() => {
          signal?.throwIfAborted();
          check();
          const doneBytes = (totalPages - remainingPages) * pageBytes;
          onProgress?.({ doneBytes, totalBytes: totalPages * pageBytes });
        });
        // SQLite syncs the file at the end, in this thread. With this little is left to sync then.
        if (!isSyncing) {
          isSyncing = true;
          void file.datasync().then(
            () => (isSyncing = false),
            () => {},
          );
        }
        return Math.max(1, Math.floor(STEP_BYTES / pageBytes));
      },
    });
    await file.close();
    // SQLite does not tell of its last step. A small log is copied in one.
    stopIf(() => onProgress?.({ doneBytes: pages * pageBytes, totalBytes: pages * pageBytes }));
    await nameWhole(part, target);
    syncDirectory(dirname(target));
  } catch (error) {
    await file.close().catch(() => {});
    for (const suffix of ['', '-journal']) await rm(`${part}${suffix}`, { force: true }).catch(() => {});
    throw stopped === undefined ? cannotMake(path, error) : stopped.reason;
  }
}

function cannotMake(path: string, error: unknown): Error {
  if (systemCode(error) !== 'EEXIST') return sqliteLogError(path, 'write the backup', error);
  const text = `cannot write the backup ${path}: there is a file already: give another path, or remove it`;
  return new LogError('LOG_UNAVAILABLE', text, { cause: error });
}
