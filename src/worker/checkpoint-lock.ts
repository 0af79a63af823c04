/**
 * Locks a checkpoint file against other workers of this machine (docs/decisions/0016). The lock is a
 * socket that the system closes with its process, and that tells who holds it.
 */

import { createHash } from 'node:crypto';
import { stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** Who has a checkpoint file open. */
export interface CheckpointOwner {
  readonly workerName: string;
  readonly host: string;
  readonly pid: number;
}

export interface CheckpointLock {
  release(): void;
}

/** How long the holder may take to say who it is. */
const ASK_TIMEOUT_MS = 1_000;

/** @returns the lock, or the owner that has it (undefined when that one does not say) */
export async function lockCheckpoint(
  path: string,
  owner: CheckpointOwner,
): Promise<CheckpointLock | { readonly heldBy: Partial<CheckpointOwner> }> {
  const address = await addressOf(path);
  for (let attempt = 1; ; attempt++) {
    const server = await listen(address, owner);
    if (server !== 'taken') return { release: () => void server?.close() };
    const heldBy = await ask(address);
    if (heldBy !== 'nobody' || attempt > 1) return { heldBy: heldBy === 'nobody' ? {} : heldBy };
    // Where the socket is a file, a killed process leaves it behind.
    if (!address.startsWith('\0')) await unlink(address).catch(() => {});
  }
}

/** The file is replaced again and again, so its directory and name say which it is. */
async function addressOf(path: string): Promise<string> {
  const { dev, ino } = await stat(dirname(path));
  const hash = createHash('sha256')
    .update(`${dev} ${ino} ${basename(path)}`)
    .digest('hex');
  return socketAddress(process.platform, tmpdir(), hash);
}

/** Exported for its test. The path of a socket has at most 103 bytes on macOS. */
export function socketAddress(platform: NodeJS.Platform, temporary: string, hash: string): string {
  const name = `rowcast-${hash.slice(0, 32)}`;
  switch (platform) {
    case 'linux':
      return `\0${name}`;
    case 'win32':
      return `\\\\.\\pipe\\${name}`;
    default:
      return join(temporary, `${name}.sock`);
  }
}

/** Undefined where the system forbids such sockets. The owner in the file then has to do. */
async function listen(address: string, owner: CheckpointOwner): Promise<Server | 'taken' | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(JSON.stringify(owner));
    });
    server.on('error', (error) => {
      resolve('code' in error && error.code === 'EADDRINUSE' ? 'taken' : undefined);
    });
    // `exclusive`: otherwise the workers of a cluster would share the name. Unreferenced: a lock
    // must not keep the process alive.
    server.listen({ path: address, exclusive: true }, () => resolve(server));
    server.unref();
  });
}

async function ask(address: string): Promise<Partial<CheckpointOwner> | 'nobody'> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect({ path: address });
    const done = (): void => {
      socket.destroy();
      try {
        const { workerName, host, pid } = JSON.parse(text) as Partial<CheckpointOwner>;
        resolve({ workerName: String(workerName), host: String(host), pid: Number(pid) });
      } catch {
        resolve({});
      }
    };
    socket.setTimeout(ASK_TIMEOUT_MS, done);
    socket.setEncoding('utf8').on('data', (piece) => {
      text += String(piece);
      if (text.length > 4_096) done();
    });
    socket.once('end', done);
    socket.once('error', () => resolve('nobody'));
  });
}
