/** Holds the file of an sqlite log against other writers (docs/decisions/0012). */

import { createServer, type Server } from 'node:net';

import Database from 'better-sqlite3';

import { locked } from './sqlite-errors.ts';
import { fileIdentity, makeFile } from './sqlite-place.ts';

export interface Lock {
  release(): void;
}

/**
 * Two locks, since neither sees everything: the name of a socket, by device and inode, sees hard links and a lock file that
 * was removed, but only within one network namespace of Linux; the lock file sees other namespaces and other systems.
 * The system lifts both however the process ends. Readers of the database are not shut out.
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

/** Undefined where the system has no such names, or forbids them: then the lock file must do. */
async function lockIdentity(path: string, identity: string): Promise<Server | undefined> {
  if (process.platform !== 'linux') return undefined;
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if ('code' in error && error.code === 'EADDRINUSE') reject(locked(path));
      else resolve(undefined);
    });
    // `exclusive`: else the workers of a cluster would share the name. Unreferenced: a lock keeps no process alive.
    server.listen({ path: `\0rowcast-log-${identity}`, exclusive: true }, () => resolve(server));
    server.unref();
  });
}

/** Nobody may open this file other than through SQLite: closing any descriptor of it would lift the lock. */
function lockBeside(path: string): Database.Database {
  makeFile(`${path}.lock`);
  const lock = new Database(`${path}.lock`, { timeout: 0 });
  try {
    // Nothing is ever written to it, so nothing need be rolled back from a file after a crash.
    lock.pragma('journal_mode = MEMORY');
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    throw error;
  }
}
