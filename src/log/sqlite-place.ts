/**
 * Finds the real path of an sqlite log, and creates its files: readable by their owner alone, and
 * durable across a power cut.
 */

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

import { systemCode } from '../core/model/errors.ts';

const OWNER_ONLY_DIRECTORY = 0o700;
export const OWNER_ONLY_FILE = 0o600;

/**
 * Resolves all symbolic links, also when the file does not exist yet. Its directory exists
 * afterwards.
 */
export function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  // A link may lead to a file that does not exist yet; SQLite would create it there. A circle of
  // links was refused above.
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  if (isLink) return realPathOf(resolve(dirname(path), readlinkSync(path)));
  const directory = dirname(path);
  makeDirectory(directory);
  return join(realpathSync(directory), basename(path));
}

/**
 * Creates an empty file if there is none. SQLite gives the files beside it the same mode. An
 * existing file is not even opened: closing a descriptor of it would release this process's locks.
 */
export function makeFile(path: string): void {
  if (existsSync(path)) return;
  try {
    closeSync(openSync(path, 'wx', OWNER_ONLY_FILE));
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    throw error;
  }
  syncDirectory(dirname(path));
}

/**
 * Avoids mkdir's `recursive`: in Node 20 it never returns where a directory exists and nothing can
 * be made in it (`/proc`, a link to nowhere).
 */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  const parent = dirname(directory);
  if (parent !== directory) makeDirectory(parent);
  mkdirSync(directory, OWNER_ONLY_DIRECTORY);
  syncDirectory(parent);
}

/**
 * Some file systems cannot do it (EINVAL, ENOTSUP). A writable directory need not be readable
 * (EACCES). Windows opens no directory at all (EPERM, EISDIR).
 */
const toleratedCodes = new Set(['EINVAL', 'ENOTSUP', 'EACCES', 'EPERM', 'EISDIR']);

/** Makes new files of a directory survive a power cut. */
export function syncDirectory(directory: string): void {
  try {
    const descriptor = openSync(directory, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (!toleratedCodes.has(systemCode(error))) throw error;
  }
}

/** Device and inode: they identify the file under all its names. Undefined when there is none. */
export function fileIdentity(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}-${stat.ino}`;
}
