/** A backup that is read once and leaves no file, for a client elsewhere. */

import { type FileHandle, open, rm } from 'node:fs/promises';

import { UsageError } from '../core/model/errors.ts';
import type { BackupOptions, Log } from '../log/log.ts';
import { temporaryBackupPath } from '../log/temporary-backup.ts';

/**
 * Makes a copy of a log beside its file, and opens it. The copy is gone once it is closed.
 * @throws UsageError NOT_SUPPORTED; LogError; the signal's reason
 */
export async function temporaryBackup(log: Log, options: BackupOptions): Promise<FileHandle> {
  if (log.backup === undefined || log.path === undefined) throw noBackup(log);
  const copy = temporaryBackupPath(log.path);
  try {
    await log.backup(copy, options);
    return await open(copy, 'r');
  } finally {
    await rm(copy, { force: true });
  }
}

export function noBackup(log: Log): UsageError {
  return new UsageError('NOT_SUPPORTED', `log ${log.name} makes no backups: it keeps nothing, or has tools of its own`);
}
