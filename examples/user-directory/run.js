/**
 * Writes through the primary and reads each write back through two workers, many times; counts the reads that came too early for
 * the write. First without, then with the middleware that waits for the token of the write.
 *
 *   node examples/user-directory/run.js [writes]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const writes = Number(process.argv[2] ?? 10_000);
if (!Number.isSafeInteger(writes) || writes < 1) throw new Error(`writes are a number from 1, not ${process.argv[2]}`);
/** Of each writer; few, so that most are in a cache already when they are read before a write. */
const USERS = 50;
const AT_A_TIME = 8;

const folder = mkdtempSync(join(tmpdir(), 'rowcast-user-directory-'));
const agent = new Agent({ keepAlive: true });
const children = [];
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  // With retries: a process that is being killed may still make a file.
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

const primary = await start('primary.js', folder);
let written = 0;
const isEveryReadFresh = [];
for (const options of [[], ['--read-your-writes']]) {
  const workers = await Promise.all(
    ['reader-1', 'reader-2'].map((name) => start('worker.js', name, primary.replication, folder, ...options)),
  );
  const { stale, seconds } = await measure(
    primary.http,
    workers.map(({ http }) => http),
    writes,
  );
  const stats = await Promise.all(workers.map(async ({ http }) => JSON.parse((await ask(http, 'GET', '/stats')).body)));
  const hits = stats.reduce((sum, worker) => sum + worker.hits, 0);
  const misses = stats.reduce((sum, worker) => sum + worker.misses, 0);
  console.log(
    `${options.length > 0 ? 'with' : 'without'} the middleware: ${stale} of ${writes} reads were stale (${hits} hits, ${misses} misses, ${seconds.toFixed(1)} s)`,
  );
  isEveryReadFresh.push(stale === 0);
  for (const { child } of workers) child.kill();
}
process.exit(isEveryReadFresh[1] ? 0 : 1);

/** Every writer has users of its own, so what it reads back can only be what it wrote, or older. */
async function measure(primaryPort, workerPorts, count) {
  const started = performance.now();
  let stale = 0;
  let next = 0;
  const write = async (writer) => {
    while (next < count) {
      const n = next++;
      const path = `/users/${writer}-${n % USERS}`;
      const port = workerPorts[n % workerPorts.length];
      // It is in the worker's cache when it is written.
      await ask(port, 'GET', path);
      // A name that was never there before, not even in the run without the middleware.
      const name = `name-${written++}`;
      const { token } = await ask(primaryPort, 'PUT', path, { name });
      const { body } = await ask(port, 'GET', path, undefined, token);
      if (JSON.parse(body).name !== name) stale++;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, (_, writer) => write(writer)));
  return { stale, seconds: (performance.now() - started) / 1_000 };
}

async function ask(port, method, path, body, token) {
  const headers = { 'content-type': 'application/json', ...(token && { 'rowcast-token': token }) };
  const outgoing = request({ host: '127.0.0.1', port, method, path, agent, headers });
  outgoing.end(body && JSON.stringify(body));
  const [answer] = await once(outgoing, 'response');
  let text = '';
  for await (const chunk of answer) text += chunk;
  if (answer.statusCode >= 500) throw new Error(`${method} ${path} was answered ${answer.statusCode}: ${text}`);
  return { body: text, token: answer.headers['rowcast-token'] };
}

/** Starts a process, and reads the line in which it says its ports. Its channel to us (ipc) breaks when we end, and so it ends too. */
async function start(script, ...args) {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { child, ...JSON.parse(line) };
  throw new Error(`${script} ended without a line`);
}
