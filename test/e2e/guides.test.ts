/** The programs of the guides do what the guides say. */

import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { freePorts, type RunningProcess, runNode, runRowcast } from '../support/processes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
const running: RunningProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-guide-'));
  await mkdir(join(folder, 'node_modules'));
  await symlink(ROOT, join(folder, 'node_modules', 'rowcast'));
});

afterEach(async () => {
  await Promise.all(running.splice(0).map(async (process) => process.kill('SIGKILL')));
  await rm(folder, { recursive: true, force: true });
});

/** Writes the programs of a guide, with other ports. A program is the code block after its name. */
async function writePrograms(guide: string, names: readonly string[], port: number, adminPort = 0): Promise<void> {
  const text = await readFile(new URL(`../../docs/guides/${guide}`, import.meta.url), 'utf8');
  for (const name of names) {
    const code = new RegExp(`^\`${name}\` [^\`]*\`\`\`js\n(.*?)^\`\`\``, 'ms').exec(text)?.[1];
    if (code === undefined) throw new Error(`${guide} has no program ${name}`);
    await writeFile(join(folder, name), code.replaceAll('9092', String(port)).replaceAll('9093', String(adminPort)));
  }
}

interface Program extends RunningProcess {
  /** Everything on stdout so far. */
  readonly lines: readonly string[];
  /** Resolves when stdout has a further matching line. */
  readonly next: (text: RegExp) => Promise<string>;
  readonly type: (line: string) => void;
}

function run(name: string): Program {
  const lines: string[] = [];
  let read = 0;
  let check = (): void => {};
  const process = runNode([join(folder, name)], {
    cwd: folder,
    onLine: (line) => {
      lines.push(line);
      check();
    },
  });
  running.push(process);
  const next = async (text: RegExp): Promise<string> =>
    new Promise((resolve) => {
      check = () => {
        const at = lines.findIndex((line, i) => i >= read && text.test(line));
        if (at < 0) return;
        read = at + 1;
        check = () => {};
        resolve(lines[at]!);
      };
      check();
    });
  return { ...process, lines, next, type: (line) => void process.child.stdin!.write(`${line}\n`) };
}

test('many streams: rooms are made, deleted, made again, and followed by a worker that was away', async () => {
  const [port] = await freePorts(1);
  await writePrograms('many-streams.md', ['primary.mjs', 'worker.mjs'], port!);
  const primary = run('primary.mjs');
  await primary.next(/please/);
  const worker = run('worker.mjs');
  await worker.next(/^live$/);

  primary.type('tea hello');
  await worker.next(/^room:tea 1 hello$/);
  const first = await primary.next(/^room%3Atea=1@/);
  primary.type('tea');
  await worker.next(/^room:tea was deleted$/);
  primary.type('tea again');
  expect(await primary.next(/^room%3Atea=1@/), 'another history').not.toBe(first);
  await worker.next(/^room:tea 1 again$/);

  await worker.kill('SIGKILL');
  for (const line of ['tea more', 'cake new', 'bread gone', 'bread']) primary.type(line);
  await primary.next(/^deleted room:bread$/);
  const later = run('worker.mjs');
  await later.next(/^live$/);
  // The kill may have come before the last positions were saved. Then what was after them comes again.
  const isRepeated = (line: string): boolean => /^room:tea (1 again|was deleted)$/.test(line);
  expect(later.lines.filter((line) => !isRepeated(line)).toSorted()).toEqual([
    'live',
    'room:cake 1 new',
    'room:tea 2 more',
  ]);
});

test('handlers that fail: what cannot be applied is buried once, also by a worker that is killed, and the rest goes on', async () => {
  const [port, adminPort] = await freePorts(2);
  await writePrograms('failing-handlers.md', ['worker.mjs'], port!, adminPort);
  const admin = ['--admin', `127.0.0.1:${adminPort}`];
  const append = async (...rows: string[]): Promise<void> => {
    const appending = runRowcast(['append', 'orders', ...admin], { input: rows.join('\n') });
    expect(await appending.ended, appending.stderr()).toBe(0);
  };
  const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--log', 'memory:', ...admin];
  const primary = runRowcast([...serve, '--stream', 'orders', '--stream', 'dead:*'], { cwd: folder });
  running.push(primary);
  await primary.saw(/admin/);
  const worker = run('worker.mjs');
  await worker.next(/^live$/);
  const poison = '{"id":2,"amount":"ten","ref":12345678901234567890}';
  await append('{"id":1,"amount":10}', poison, '{"id":3,"amount":30}');
  await worker.next(/^order 1 10$/);
  await worker.next(/^buried 1 of orders: the handler of stream orders failed at token 2: order 2 has no amount$/);
  await worker.next(/^order 3 30$/);

  await worker.kill('SIGKILL');
  await rm(join(folder, 'billing.checkpoint'), { force: true });
  const later = run('worker.mjs');
  await later.next(/^buried/);
  await later.next(/^live$/);
  const letters: string[] = [];
  const follow = ['follow', 'dead:orders', '--from', 'start', '--json', '--connect', `127.0.0.1:${port}`];
  running.push(runRowcast(follow, { onLine: (line) => void letters.push(line) }));
  await expect.poll(() => letters.length).toBe(1);
  await append('{"id":4}');
  await later.next(/^buried/);
  await expect.poll(() => letters.length).toBe(2);
  expect(JSON.parse(letters[0]!).rows).toEqual([
    { position: expect.stringMatching(/^orders=2@/), code: 'HANDLER_FAILED', rows: [poison] },
  ]);
});

test('operations: the probes of Kubernetes tell a primary that is alive, one that takes appends, and neither', async () => {
  const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const scripts = Array.from(text.matchAll(/^(\w+)Probe:.*\n {2}exec: \{ command: \[node, -e, "(.*)"\] \}$/gm));
  expect(scripts.map(([, name]) => name)).toEqual(['startup', 'liveness', 'readiness']);
  let log = 'ok';
  const server = createServer((_, response) => void response.end(JSON.stringify({ ok: true, log })));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const probe = async (): Promise<unknown[]> =>
    Promise.all(scripts.map(([, , code]) => runNode(['-e', code!.replaceAll('9093', String(port))]).ended));
  try {
    expect(await probe()).toEqual([0, 0, 0]);
    log = 'failing';
    expect(await probe()).toEqual([0, 0, 1]);
  } finally {
    server.close();
  }
  expect(await probe()).toEqual([1, 1, 1]);
});

// SPEC D14
test('exactly once: a worker that is killed at any instant applies each row once, also when the primary restarts', async () => {
  const [port, adminPort] = await freePorts(2);
  await writePrograms('exactly-once.md', ['worker.mjs'], port!);
  await symlink(join(ROOT, 'node_modules', 'better-sqlite3'), join(folder, 'node_modules', 'better-sqlite3'));
  const admin = ['--admin', `127.0.0.1:${adminPort}`];
  const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--log', 'sqlite:log.db', ...admin, '--stream', 'orders'];
  const startPrimary = async (): Promise<RunningProcess> => {
    const primary = runRowcast(serve, { cwd: folder });
    running.push(primary);
    await primary.saw(/admin/);
    return primary;
  };
  let primary = await startPrimary();
  const rows = 2_000;
  const input = Array.from({ length: rows }, (_, id) => JSON.stringify({ id })).join('\n');
  const appending = runRowcast(['append', 'orders', ...admin], { input });
  expect(await appending.ended, appending.stderr()).toBe(0);
  const database = new Database(join(folder, 'copy.db'));
  onTestFinished(() => void database.close());
  const count = (): number => {
    try {
      return database.prepare<[], { n: number }>('SELECT count(*) AS n FROM copies').get()!.n;
    } catch {
      return 0;
    }
  };
  for (let kill = 1; kill <= 5; kill++) {
    const worker = run('worker.mjs');
    await expect.poll(count, { interval: 2, timeout: 20_000 }).toBeGreaterThanOrEqual(kill * 300);
    await worker.kill('SIGKILL');
    if (kill !== 3) continue;
    await primary.kill('SIGKILL');
    primary = await startPrimary();
  }
  await run('worker.mjs').next(/^live$/);
  const all = database.prepare<[], { id: number }>('SELECT id FROM copies ORDER BY n').all();
  expect(all.map(({ id }) => id)).toEqual(Array.from({ length: rows }, (_, id) => id));
});
