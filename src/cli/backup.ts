/** `rowcast backup`: a copy of a running primary's log, in a file of its own. */

import { type FileHandle, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import type { BackupProgress } from '../core/model/backup.ts';
import { LogError, messageOf, UsageError, systemCode } from '../core/model/errors.ts';
import { syncDirectory } from '../log/sqlite-place.ts';
import { nameWhole, partPath, refuseExisting } from '../log/whole-file.ts';
import type { HostAndPort } from './addresses.ts';
import { askAdmin, download, errorOf } from './admin-client.ts';
import { print } from './row-output.ts';
import { type ExitCode, exitCodes, fail, say, type Terminal } from './terminal.ts';

export interface BackupOptions {
  readonly admin: HostAndPort;
}

const MIB = 1024 * 1024;
const PROGRESS_INTERVAL_MS = 500;

/** @throws UsageError INVALID_OPTION when the file exists; LogError LOG_UNAVAILABLE; ConnectionError */
export async function backup(path: string, { admin }: BackupOptions, terminal: Terminal): Promise<ExitCode> {
  const { signal } = terminal;
  // Checked first, so that nothing is copied in vain. The file itself comes last and is whole: an empty
  // one that a killed command left would be taken for a backup, and be served as a new log.
  await refuseExisting(path).catch((error: unknown) => {
    throw unwritable(path, error);
  });
  const part = partPath(path);
  const file = await create(part, path);
  const line = new ProgressLine(terminal);
  const stopWatching = watchProgress(admin, line, terminal);
  try {
    const answer = await download({ admin, path: '/backup', signal }, async (body, bytes) => {
      stopWatching();
      await receive({ file, path }, body, bytes, line);
    });
    stopWatching();
    line.end();
    if (answer !== undefined) {
      return fail(
        terminal,
        errorOf(answer, admin) ?? { code: 'LOG_UNAVAILABLE', message: 'the primary made no backup' },
      );
    }
    await nameWhole(part, path).catch((error: unknown) => {
      throw unwritable(path, error);
    });
    syncDirectory(dirname(path));
    say(
      terminal,
      `the log is copied to ${path}; to restore it, stop the primary, move its file, -wal and -shm away, and put the copy in the place of the file`,
    );
    await print(terminal.stdout, `${path}\n`);
    return exitCodes.fine;
  } finally {
    stopWatching();
    line.end();
    await file.close();
    await rm(part, { force: true });
  }
}

/** The file is for its owner alone, as the log itself is. */
async function create(part: string, path: string): Promise<FileHandle> {
  try {
    return await open(part, 'wx', 0o600);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

async function receive(
  { file, path }: { readonly file: FileHandle; readonly path: string },
  body: Readable,
  bytes: number,
  line: ProgressLine,
): Promise<void> {
  let done = 0;
  for await (const part of body as AsyncIterable<Uint8Array>) {
    await writeTo(file, path, part);
    done += part.length;
    line.show(`receiving ${done / bytes < 1 ? percentOf(done, bytes) : 'the end'} of ${mebibytes(bytes)}`);
  }
  await file.sync();
  if (done === bytes) return;
  throw new LogError(
    'LOG_UNAVAILABLE',
    `only ${done} of ${bytes} bytes of the backup came: the primary ended, or its disk failed`,
  );
}

async function writeTo(file: FileHandle, path: string, part: Uint8Array): Promise<void> {
  try {
    await file.writeFile(part);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): LogError | UsageError {
  if (systemCode(cause) === 'EEXIST')
    return new UsageError('INVALID_OPTION', `${path} exists already: give the backup a file of its own`, { cause });
  return new LogError('LOG_UNAVAILABLE', `cannot write ${path}: ${messageOf(cause)}`, { cause });
}

/** Asks the primary how far its copy is, on a terminal only. Returns the function that ends it. */
function watchProgress(admin: HostAndPort, line: ProgressLine, { signal, stderr }: Terminal): () => void {
  if (stderr.isTTY !== true) return () => {};
  const stopped = new AbortController();
  const timer = setInterval(() => {
    askAdmin({ admin, path: '/backup', signal: AbortSignal.any([signal, stopped.signal]) }).then(
      ({ status, body }) => {
        if (status !== 200 || stopped.signal.aborted) return;
        const { doneBytes, totalBytes } = body as BackupProgress;
        line.show(`the primary has copied ${percentOf(doneBytes, totalBytes)} of ${mebibytes(totalBytes)}`);
      },
      // The request for the backup itself tells what is wrong.
      () => {},
    );
  }, PROGRESS_INTERVAL_MS);
  return () => {
    clearInterval(timer);
    stopped.abort();
  };
}

function percentOf(done: number, all: number): string {
  return `${all === 0 ? 0 : Math.floor((done / all) * 100)} %`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** One line that is overwritten, on a terminal only. */
class ProgressLine {
  readonly #terminal: Terminal;
  #isShown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(text: string): void {
    const { stderr } = this.#terminal;
    if (stderr.isTTY !== true) return;
    this.#isShown = true;
    stderr.write(`\r\u001b[Krowcast: ${text}`);
  }

  end(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    this.#terminal.stderr.write('\r\u001b[K');
  }
}
