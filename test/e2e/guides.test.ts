/** The programs of the guides do what the guides say. */

import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GuideFolder } from '../support/guide-folder.ts';
import { freePorts, runNode, runRowcast } from '../support/processes.ts';

test('many streams: rooms are made, deleted, made again, and followed by a worker that was away', async () => {
  const [port] = await freePorts(1);
  const folder = await GuideFolder.make();
  await folder.write('many-streams.md', ['primary.mjs', 'worker.mjs'], port!);
  const primary = folder.run('primary.mjs');
  await primary.next(/please/);
  const worker = folder.run('worker.mjs');
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
  const later = folder.run('worker.mjs');
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
  const folder = await GuideFolder.make();
  await folder.write('failing-handlers.md', ['worker.mjs'], port!, adminPort);
  const admin = ['--admin', `127.0.0.1:${adminPort}`];
  const append = async (...rows: string[]): Promise<void> => {
    const appending = runRowcast(['append', 'orders', ...admin], { input: rows.join('\n') });
    expect(await appending.ended, appending.stderr()).toBe(0);
  };
  const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--log', 'memory:', ...admin];
  const primary = folder.adopt(
    runRowcast([...serve, '--stream', 'orders', '--stream', 'dead:*'], { cwd: folder.path }),
  );
  await primary.saw(/admin/);
  const worker = folder.run('worker.mjs');
  await worker.next(/^live$/);
  const poison = '{"id":2,"amount":"ten","ref":12345678901234567890}';
  await append('{"id":1,"amount":10}', poison, '{"id":3,"amount":30}');
  await worker.next(/^order 1 10$/);
  await worker.next(/^buried 1 of orders: the handler of stream orders failed at token 2: order 2 has no amount$/);
  await worker.next(/^order 3 30$/);

  await worker.kill('SIGKILL');
  await rm(join(folder.path, 'billing.checkpoint'), { force: true });
  const later = folder.run('worker.mjs');
  await later.next(/^buried/);
  await later.next(/^live$/);
  const letters: string[] = [];
  const follow = ['follow', 'dead:orders', '--from', 'start', '--json', '--connect', `127.0.0.1:${port}`];
  folder.adopt(runRowcast(follow, { onLine: (line) => void letters.push(line) }));
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
