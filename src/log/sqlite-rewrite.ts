/** Repairs a WAL that the system took for written after a failed sync: see rewriteWal. */

import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';

const STEP_BYTES = 1024 * 1024;

/**
 * Writes a WAL left by a crash again, byte for byte, and syncs it. Call it before SQLite reads the
 * WAL.
 *
 * After a failed sync the system treats the unwritten pages as written. Processes read them, no
 * later sync writes them, and a power cut loses them with every acknowledged row behind them. Pages
 * that are written again are synced.
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
    // SQLite's locks are on the database and the shared memory, so closing this descriptor releases
    // none.
    closeSync(wal);
  }
}

/**
 * Undefined when there is no WAL, as after a clean close, or when it may not be written: SQLite
 * reports that more clearly.
 */
function openWal(path: string): number | undefined {
  try {
    return openSync(path, 'r+');
  } catch {
    return undefined;
  }
}
