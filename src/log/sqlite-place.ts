/** Where the file of an sqlite log really is, and what is made there: for its owner alone, and so that a power cut leaves it. */

import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

const OWNER_ONLY_DIRECTORY = 0o700;
const OWNER_ONLY_FILE = 0o600;

/** Behind all symbolic links, also where the file is still to be made; its directory is there then. */
export function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  // A link may lead to a file that is still to be made: SQLite would make it there. A circle of links was refused above.
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  if (isLink) return realPathOf(resolve(dirname(path), readlinkSync(path)));
  const directory = dirname(path);
  makeDirectory(directory);
  return join(realpathSync(directory), basename(path));
}

/**
 * Makes an empty file where there is none. SQLite gives the files beside it the same mode.
 * An existing file is not even opened: closing any descriptor of it would lift the locks that this process has on it.
 */
export function makeFile(path: string): void {
  if (existsSync(path)) return;
  try {
    closeSync(openSync(path, 'wx', OWNER_ONLY_FILE));
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Not mkdir's own `recursive`: in Node 20 it never returns where a directory exists and yet nothing can be made in it (`/proc`, a link to nowhere). */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  const parent = dirname(directory);
  if (parent !== directory) makeDirectory(parent);
  mkdirSync(directory, OWNER_ONLY_DIRECTORY);
  syncDirectory(parent);
}

/**
 * Not every file system can do it (EINVAL, ENOTSUP), and a directory that may be written need not be readable (EACCES).
 * Windows opens no directory at all (EPERM, EISDIR).
 */
const toleratedCodes = new Set(['EINVAL', 'ENOTSUP', 'EACCES', 'EPERM', 'EISDIR']);

/** Makes what was made in a directory survive a power cut. */
function syncDirectory(directory: string): void {
  try {
    const descriptor = openSync(directory, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (!toleratedCodes.has(codeOf(error))) throw error;
  }
}

/** Device and inode: the file itself, whatever names it has. Undefined where there is none. */
export function fileIdentity(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}-${stat.ino}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
