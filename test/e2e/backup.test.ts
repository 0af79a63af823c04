/** `rowcast backup` of a running primary, as processes of the system, and what its copy is worth. */

import { existsSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { freePorts, type RunningProcess, runRowcast } from '../support/processes.ts';

const running = new Set<RunningProcess>();
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-backup-'));
});

afterEach(async () => {
  await Promise.all([...running].map(async (process) => process.kill('SIGKILL')));
  running.clear();
  await rm(folder, { recursive: true });
});

function start(...args: Parameters<typeof runRowcast>): RunningProcess {
  const process = runRowcast(...args);
  running.add(process);
  return process;
}

async function serve(log: string): Promise<{ connect: string; admin: string; primary: RunningProcess }> {
  const [port, adminPort] = await freePorts(2);
  const [connect, admin] = [`127.0.0.1:${port}`, `127.0.0.1:${adminPort}`];
  const primary = start(['serve', '--listen', connect, '--admin', admin, '--log', log]);
  await primary.saw(/Try next.*\| nc /s);
  return { connect, admin, primary };
}

test('the copy of a running primary has every row of before, is for its owner alone, and can be served', async () => {
  const { admin } = await serve(`sqlite:${join(folder, 'data', 'rowcast.db')}`);
  const rows = Array.from({ length: 5_000 }, (_, id) => JSON.stringify({ id, text: 'x'.repeat(200) })).join('\n');
  expect(await start(['append', 'events', '--admin', admin], { input: rows }).ended).toBe(0);
  // Appends all the while, so that the copy is made of a log that moves.
  const appending = start(['append', 'receipts', '--admin', admin], { input: rows });
  const copy = join(folder, 'copy.db');
  const printed: string[] = [];
  const backup = start(['backup', copy, '--admin', admin], { onLine: (line) => printed.push(line) });
  expect(await backup.ended, backup.stderr()).toBe(0);
  expect(printed).toEqual([copy]);
  expect(await appending.ended).toBe(0);
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  expect(await readdir(join(folder, 'data')), 'nothing is left beside the log').toEqual([
    'rowcast.db',
    'rowcast.db-shm',
    'rowcast.db-wal',
    'rowcast.db.lock',
    'rowcast.db.reserve',
  ]);
  const restored = await serve(`sqlite:${copy}`);
  const followed: string[] = [];
  let reachEnd = (): void => {};
  const isThere = new Promise<void>((resolve) => (reachEnd = resolve));
  const onLine = (line: string): void => {
    followed.push(line);
    if (line.includes('"id":4999,')) reachEnd();
  };
  start(['follow', 'events', '--from', 'start', '--json', '--connect', restored.connect], { onLine });
  await isThere;
  expect(followed).toHaveLength(5_000);
});

test('a file that exists is refused and stays as it is', async () => {
  const { admin } = await serve(`sqlite:${join(folder, 'data', 'rowcast.db')}`);
  const copy = join(folder, 'copy.db');
  await writeFile(copy, 'mine');
  const backup = start(['backup', copy, '--admin', admin]);
  expect(await backup.ended).toBe(2);
  expect(backup.stderr()).toContain('exists already');
  expect(statSync(copy).size).toBe(4);
});

test('a primary that keeps nothing, or none at all, leaves no file behind', async () => {
  const { admin } = await serve('memory:');
  const copy = join(folder, 'copy.db');
  const backup = start(['backup', copy, '--admin', admin]);
  expect(await backup.ended).toBe(1);
  expect(backup.stderr()).toContain('makes no backups');
  const [port] = await freePorts(1);
  const nobody = start(['backup', copy, '--admin', `127.0.0.1:${port}`]);
  expect(await nobody.ended).toBe(1);
  expect(nobody.stderr()).toContain('cannot reach the admin port');
  expect(existsSync(copy)).toBe(false);
  expect(await readdir(folder)).toEqual([]);
});

test('a command that is killed leaves no file that could be taken for a backup, and one can be made again', async () => {
  const { admin } = await serve(`sqlite:${join(folder, 'data', 'rowcast.db')}`);
  const rows = Array.from({ length: 20_000 }, (_, id) => JSON.stringify({ id, text: 'x'.repeat(1_000) })).join('\n');
  expect(await start(['append', 'events', '--batch', '100', '--admin', admin], { input: rows }).ended).toBe(0);
  const copy = join(folder, 'copy.db');
  const backup = start(['backup', copy, '--admin', admin]);
  // Something is there as soon as it has begun.
  await vi.waitFor(async () => expect(await readdir(folder)).toHaveLength(2), { timeout: 10_000, interval: 5 });
  await backup.kill('SIGKILL');
  expect(existsSync(copy)).toBe(false);
  await vi.waitFor(async () => {
    const again = start(['backup', copy, '--admin', admin]);
    expect(await again.ended, again.stderr()).toBe(0);
  });
  expect(statSync(copy).size).toBeGreaterThan(20_000_000);
});
