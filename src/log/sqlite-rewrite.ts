/** What SQLite leaves to the system, and the system forgets: see rewriteWal. */

import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';

const STEP_BYTES = 1024 * 1024;

/**
 * Writes the WAL that a crash has left once more, byte for byte, and syncs it. Call it before SQLite reads the WAL.
 * After a sync that failed the system takes what it could not write for written: processes read it, no later sync writes it,
 * and a power cut takes it, with every row that was acknowledged behind it. What is written again is synced.
 * @throws Errors of the system
 */
export function rewriteWal(databasePath: string): void {
  const wal = openWal(`${databasePath}-wal`);
  if (wal === undefined) return;
  try {
    const bytes = Buffer.allocUnsafe(STEP_BYTES);
    for (let at = 0; ; ) {
      const count = readSync(wal, bytes, 0, STEP_BYTES, at);
      if (count === 0) break;
      for (let written = 0; written < count; ) written += writeSync(wal, bytes, written, count - written, at + written);
      at += count;
    }
    fsyncSync(wal);
  } finally {
    // SQLite's locks are on the database and on the shared memory: this descriptor takes none of them along.
    closeSync(wal);
  }
}

/** Undefined where there is none, after a close in good order; and where we may not write, which SQLite says better. */
function openWal(path: string): number | undefined {
  try {
    return openSync(path, 'r+');
  } catch {
    return undefined;
  }
}
