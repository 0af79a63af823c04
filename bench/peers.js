/**
 * Other buses. Each gets a private server on a free port, in a temporary directory, that is stopped
 * afterwards.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deliver } from './delivery.js';
import { withProcesses } from './processes.js';

const START_TIMEOUT_MS = 10_000;

const servers = {
  redis: {
    program: 'redis-server',
    label: 'Redis pub/sub (ioredis)',
    flags: (port, directory) => [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      directory,
      '--client-output-buffer-limit',
      'pubsub 0 0 0',
    ],
  },
  nats: { program: 'nats-server', label: 'NATS core', flags: (port) => ['-a', '127.0.0.1', '-p', String(port)] },
};

/** @throws Error for an unknown peer or one whose server is not on the PATH */
export function checkPeers(names) {
  for (const name of names) {
    if (!Object.hasOwn(servers, name))
      throw new Error(`there is no peer ${name}; there are ${Object.keys(servers).join(', ')}`);
    const { program } = servers[name];
    if (spawnSync(program, ['--version']).error !== undefined)
      throw new Error(`the peer ${name} needs ${program} on the PATH`);
  }
}

/** @returns rows a second of all subscribers together */
export async function fanOutByPeer(kind, { n, rows, warmUpRows, perMessage }) {
  return withServer(kind, (port) =>
    withProcesses(Array(n + 1).fill('peer'), async (publisher, ...subscribers) => {
      await Promise.all([
        publisher.call('publishTo', { kind, port }),
        ...subscribers.map((subscriber) => subscriber.call('subscribeTo', { kind, port })),
      ]);
      const publish = async (before, count) =>
        deliver(subscribers, { before, rows: count }, () => publisher.call('publishRows', { rows: count, perMessage }));
      await publish(0, warmUpRows);
      return (await publish(warmUpRows, rows)).rate;
    }),
  );
}

export const peerLabel = (kind) => servers[kind].label;

async function withServer(kind, use) {
  const directory = mkdtempSync(path.join(tmpdir(), 'rowcast-bench-'));
  const port = await freePort();
  const { program, flags } = servers[kind];
  const server = spawn(program, flags(port, directory), { stdio: 'ignore' });
  try {
    await untilListening(port, program);
    return await use(port);
  } finally {
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function freePort() {
  const server = createServer().listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function untilListening(port, program) {
  const until = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < until) {
    const socket = connect({ host: '127.0.0.1', port });
    const isOpen = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  throw new Error(`${program} did not listen on port ${port} within ${START_TIMEOUT_MS} ms`);
}
