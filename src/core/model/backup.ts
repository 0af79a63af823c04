/** Backups of a log: what may be said of one, and how far it is. */

/** Options of `Log.backup`. */
export interface BackupOptions {
  /** Ends the backup and removes what was written. */
  readonly signal?: AbortSignal;
  /** Called as it goes on. Both numbers are in bytes, about. */
  readonly onProgress?: (progress: BackupProgress) => void;
}

export interface BackupProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}
