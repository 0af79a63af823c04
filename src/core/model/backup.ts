/** How far a backup of a log is. */

/** Both are about right. */
export interface BackupProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}
