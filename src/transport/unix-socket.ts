/**
 * The file of a Unix-domain socket: made with the right mode, taken over when stale, removed at the
 * end. Knows no connection.
 *
 * The socket is made in a private directory beside its path, gets its mode there, and is then
 * hard-linked to its path:
 *
 *     mkdtemp .r?????? (0700) ─▶ listen at .r??????/s ─▶ chmod
 *       ─▶ link to the path ─▶ remove .r??????
 *
 * So the file is never open to more users than requested. (A umask would do for that, but it
 * belongs to the whole process and cannot be set in a worker thread.) A link never replaces an
 * existing file, so of two processes that start at once only one gets the path.
 */

import type { BigIntStats } from 'node:fs';
import { chmod, link, lstat, mkdtemp, rename, rmdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { UsageError, systemCode } from '../core/model/errors.ts';
import { listenError } from './socket-errors.ts';

export const defaultSocketMode = 0o600;

/** The most bytes of a socket's path, without its NUL. The system refuses or cuts longer ones. */
export const maxSocketPathBytes: number = process.platform === 'linux' ? 107 : 103;

const privateDirectoryPrefix = '.r';
const privateNameBytes = '/.r??????/s'.length;

/** A socket's file that is ours. */
export interface SocketFile {
  /**
   * Removes the file, but not one that a successor put in its place. Call it while the server still
   * listens.
   */
  remove(): Promise<void>;
}

/**
 * Makes `server` listen at `path`.
 * @throws UsageError ADDRESS_IN_USE, ADDRESS_UNAVAILABLE
 */
export async function listenAtPath(
  server: Server,
  path: string,
  mode: number,
  startListening: (path: string) => Promise<void>,
): Promise<SocketFile> {
  checkPathLength(path);
  const directory = await attempt(path, mkdtemp(join(dirname(path), privateDirectoryPrefix)));
  const made = join(directory, 's');
  try {
    await startListening(made);
    try {
      await attempt(path, chmod(made, mode));
      // While the server listens the system keeps the inode, so its number cannot come to name
      // another file.
      const ours = await attempt(path, lstat(made, { bigint: true }));
      await takePath(path, made, join(directory, 'o'));
      return { remove: () => removeOurs(path, ours) };
    } catch (error) {
      server.close();
      throw error;
    }
  } finally {
    await succeeds(path, unlink(made), 'ENOENT');
    // Never recursively: a file that could not be put back is better found here than lost.
    await attempt(path, rmdir(directory));
  }
}

function checkPathLength(path: string): void {
  const bytes = Buffer.byteLength(path);
  const directoryBytes = Buffer.byteLength(dirname(path));
  if (bytes <= maxSocketPathBytes && directoryBytes + privateNameBytes <= maxSocketPathBytes) return;
  throw new UsageError(
    'ADDRESS_UNAVAILABLE',
    `cannot listen at unix:${path}: the path is too long; it has ${bytes} bytes of at most ${maxSocketPathBytes}, ` +
      `its directory ${directoryBytes} of at most ${maxSocketPathBytes - privateNameBytes}; choose a shorter one`,
  );
}

// Each further round means that another process changed the file meanwhile. After so many the path
// counts as in use.
const maxRounds = 20;

/** Links `made` to `path`, and first moves a stale file out of the way. */
async function takePath(path: string, made: string, aside: string): Promise<void> {
  for (let round = 0; round < maxRounds; round++) {
    if (await succeeds(path, link(made, path), 'EEXIST')) return;
    const state = await stateOf(path, path);
    if (state === 'live') throw inUse(path);
    if (state === 'stale') await removeStale(path, aside);
  }
  throw inUse(path);
}

/**
 * Between the check of the stale file and its removal, another process may put a live socket in its
 * place. So the file is moved to where no other process reaches it, checked again there, and put
 * back when it is live.
 */
async function removeStale(path: string, aside: string): Promise<void> {
  if (!(await succeeds(path, rename(path, aside), 'ENOENT'))) return;
  let isStale = false;
  try {
    isStale = (await stateOf(path, aside)) === 'stale';
  } finally {
    if (!isStale) await attempt(path, link(aside, path));
    await attempt(path, unlink(aside));
  }
}

/** Whether a process listens behind the socket file `at`. Errors name `path`. */
async function stateOf(path: string, at: string): Promise<'live' | 'stale' | 'gone'> {
  const stats = await attempt(path, lstatIfThere(at));
  if (stats === undefined) return 'gone';
  if (!stats.isSocket()) {
    throw new UsageError(
      'ADDRESS_UNAVAILABLE',
      `cannot listen at unix:${path}: a file that is not a socket is there; remove it or choose another path`,
    );
  }
  const failure = await tryToConnect(at);
  if (failure === undefined) return 'live';
  switch (systemCode(failure)) {
    case 'EAGAIN': // Its queue of connections is full: someone listens.
      return 'live';
    case 'ECONNREFUSED':
      return 'stale';
    case 'ENOENT':
      return 'gone';
    default:
      throw new UsageError(
        'ADDRESS_UNAVAILABLE',
        `cannot listen at unix:${path}: a socket is there and does not tell whether it is in use (${systemCode(failure)}); remove it or choose another path`,
        { cause: failure },
      );
  }
}

/** Resolves to the error, or to undefined when a process listens. */
function tryToConnect(path: string): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', resolve);
  });
}

async function removeOurs(path: string, ours: BigIntStats): Promise<void> {
  const there = await attempt(path, lstatIfThere(path));
  if (there?.ino === ours.ino && there.dev === ours.dev) await attempt(path, unlink(path));
}

function inUse(path: string): UsageError {
  return listenError({ path }, Object.assign(new Error('something listens there already'), { code: 'EADDRINUSE' }));
}

async function lstatIfThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns false when the operation failed with `expected`. */
async function succeeds(path: string, operation: Promise<void>, expected: string): Promise<boolean> {
  try {
    await operation;
    return true;
  } catch (error) {
    if (systemCode(error) === expected) return false;
    throw listenError({ path }, error);
  }
}

async function attempt<T>(path: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    throw listenError({ path }, error);
  }
}
