/** Builds recorder.c and runs processes under it. Linux only: it needs LD_PRELOAD. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compilePreload } from '../../support/preload.ts';

const SOURCE = fileURLToPath(new URL('recorder.c', import.meta.url));

/** Compiles the recorder into the folder. @throws Error that says what to install */
export function buildRecorder(folder: string): string {
  return compilePreload(SOURCE, folder);
}

export interface RecordedRun {
  readonly recorder: string;
  /** The recorded folder, without symbolic links. */
  readonly root: string;
  /** The trace. This run appends to it. */
  readonly trace: string;
  readonly argv: readonly string[];
  /**
   * SIGKILL replaces this change of the folder, counted from 1. No kill when there are fewer
   * changes.
   */
  readonly killAt: number;
  /** This sync of a file, counted from 1, fails. */
  readonly failAt?: number;
}

/** Runs a Node program to its end. @throws Error with its stderr when it failed */
export function runRecorded({ recorder, root, trace, argv, killAt, failAt }: RecordedRun): void {
  const { status, signal, stderr } = spawnSync(process.execPath, [...argv], {
    encoding: 'utf8',
    env: {
      ...process.env,
      LD_PRELOAD: recorder,
      RECORDER_ROOT: root,
      RECORDER_TRACE: trace,
      RECORDER_KILL_AT: String(killAt),
      ...(failAt !== undefined && { RECORDER_FAIL_AT: String(failAt) }),
      // Makes file operations go through libc, where the recorder sees them.
      UV_USE_IO_URING: '0',
    },
  });
  if (status !== 0 && signal !== 'SIGKILL')
    throw new Error(`${argv.join(' ')} ended with ${signal ?? `exit code ${status}`}:\n${stderr}`);
}
