/** The names of copies that are made for one client and removed again. */

import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const MARK = '.backup-';
const RANDOM_BYTES = 8;
/**
 * What follows the mark, also while the copy is not whole (whole-file.ts). A backup that a person
 * made, `log.db.backup-2026-12-01`, is another name.
 */
const RANDOM_PART = new RegExp(`^[0-9a-f]{${RANDOM_BYTES * 2}}(\\.[0-9a-f]+\\.part)?(-journal)?$`);

/** Where a copy for one client is made: beside the log, where there is room for one if anywhere. */
export function temporaryBackupPath(path: string): string {
  return `${path}${MARK}${randomBytes(RANDOM_BYTES).toString('hex')}`;
}

/** Removes copies whose process was killed. Call it where no other process has the log open. */
export async function removeStaleBackups(path: string): Promise<void> {
  const directory = dirname(path);
  const start = `${basename(path)}${MARK}`;
  // A directory may be used and not listed. That keeps nobody from opening the log.
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    if (name.startsWith(start) && RANDOM_PART.test(name.slice(start.length)))
      await rm(join(directory, name), { force: true });
  }
}
