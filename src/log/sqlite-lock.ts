/** Locks the file of an sqlite log against other writers (docs/decisions/0012). */

import { createServer, type Server } from 'node:net';

import Database from 'better-sqlite3';

import { locked } from './sqlite-errors.ts';
import { fileIdentity, makeFile } from './sqlite-place.ts';

export interface Lock {
  release(): void;
}

/**
 * Takes two locks, because neither covers every case. A socket name made of device and inode covers
 * hard links and a removed lock file, but only within one network namespace of Linux. The lock file
 * covers other namespaces and other systems. The system releases both however the process ends.
 * Readers of the database are not locked out.
 */
export async function lockFile(path: string): Promise<Lock> {
  const identity = fileIdentity(path);
  const socket = identity === undefined ? undefined : await lockIdentity(path, identity);
  try {
    const file = lockBeside(path);
    return {
      release() {
        file.close();
        socket?.close();
      },
    };
  } catch (error) {
    socket?.close();
    throw error;
  }
}

/** Undefined where the system has no such names or forbids them. The lock file then has to do. */
async function lockIdentity(path: string, identity: string): Promise<Server | undefined> {
  if (process.platform !== 'linux') return undefined;
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if ('code' in error && error.code === 'EADDRINUSE') reject(locked(path));
      else resolve(undefined);
    });
    // `exclusive`: otherwise the workers of a cluster would share the name. Unreferenced: a lock
    // must not keep the process alive.
    server.listen({ path: `\0rowcast-log-${identity}`, exclusive: true }, () => resolve(server));
    server.unref();
  });
}

/**
 * Open this file only through SQLite: closing any other descriptor of it would release the lock.
 */
function lockBeside(path: string): Database.Database {
  makeFile(`${path}.lock`);
  const lock = new Database(`${path}.lock`, { timeout: 0 });
  try {
    // Nothing is ever written to it, so no crash leaves anything to roll back.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    throw error;
  }
}
