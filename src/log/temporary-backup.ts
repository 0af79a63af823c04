/** A backup that is read once and leaves no file, for a client elsewhere. */

import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { UsageError } from '../core/model/errors.ts';
import type { BackupOptions, Log } from './log.ts';

const MARK = '.backup-';
const RANDOM_BYTES = 8;

/**
 * Makes a copy of the log beside its file, where there is room for one if anywhere, and opens it.
 * The copy is gone once it is closed.
 * @throws UsageError NOT_SUPPORTED; LogError; the signal's reason
 */
export async function temporaryBackup(log: Log, options: BackupOptions): Promise<FileHandle> {
  if (log.backup === undefined || log.path === undefined) throw noBackup(log);
  const copy = `${log.path}${MARK}${randomBytes(RANDOM_BYTES).toString('hex')}`;
  try {
    await log.backup(copy, options);
    return await open(copy, 'r');
  } finally {
    await rm(copy, { force: true });
  }
}

/** Removes copies whose process was killed. Call it where no other process has the log open. */
export async function removeStaleBackups(path: string): Promise<void> {
  const directory = dirname(path);
  const start = `${basename(path)}${MARK}`;
  for (const name of await readdir(directory)) {
    if (name.startsWith(start)) await rm(join(directory, name), { force: true });
  }
}

export function noBackup(log: Log): UsageError {
  return new UsageError('NOT_SUPPORTED', `log ${log.name} makes no backups: it keeps nothing, or has tools of its own`);
}
