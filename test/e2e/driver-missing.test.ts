/** Installations in which better-sqlite3, the driver of the SQLite log, cannot be loaded. */

import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runNode } from '../support/processes.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DRIVER = 'better-sqlite3';
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-driver-'));
  const rowcast = join(folder, 'node_modules', 'rowcast');
  for (const part of ['bin', 'dist', 'package.json'])
    await cp(join(ROOT, part), join(rowcast, part), { recursive: true });
  for (const name of ['commander', 'lru-cache']) await symlink(join(ROOT, 'node_modules', name), inModules(name));
  await writeFile(
    join(folder, 'open.mjs'),
    `import { createPrimary } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';
try {
  await createPrimary({ name: 'example.com', log: sqliteLog({ path: 'rows.db' }), streams: [] });
} catch (error) {
  console.log(JSON.stringify([error.code, error.message]));
}`,
  );
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const inModules = (name: string): string => join(folder, 'node_modules', name);

/** The JavaScript of the driver, without its native part. */
async function installDriverWithoutBinary(): Promise<void> {
  for (const part of ['lib', 'package.json'])
    await cp(join(ROOT, 'node_modules', DRIVER, part), join(inModules(DRIVER), part), { recursive: true });
  for (const name of ['bindings', 'file-uri-to-path'])
    await cp(join(ROOT, 'node_modules', name), inModules(name), { recursive: true });
}

async function installForeignBinary(): Promise<void> {
  const place = join(inModules(DRIVER), 'build', 'Release');
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'better_sqlite3.node'), 'made for another machine');
}

async function openLog(): Promise<[code: string, message: string]> {
  const lines: string[] = [];
  const run = runNode(['open.mjs'], { cwd: folder, onLine: (line) => lines.push(line) });
  expect(await run.ended, run.stderr()).toBe(0);
  return JSON.parse(lines[0]!) as [string, string];
}

// SPEC N4
test('a driver that is not there, not built or foreign is an error of the log that says what to run', async () => {
  expect(await openLog()).toEqual([
    'LOG_DRIVER_MISSING',
    'cannot open rows.db: better-sqlite3 is not installed: run npm install better-sqlite3',
  ]);
  await installDriverWithoutBinary();
  expect(await openLog()).toEqual([
    'LOG_DRIVER_MISSING',
    expect.stringMatching(/is not built: .*npm rebuild better-sqlite3 --ignore-scripts=false, pnpm approve-builds/),
  ]);
  await installForeignBinary();
  expect(await openLog()).toEqual([
    'LOG_DRIVER_MISSING',
    expect.stringMatching(/is not of Node v\S+ on \S+ \S+: run npm rebuild better-sqlite3 here$/),
  ]);
});

test('the command line says the same in one line, and runs without the driver where it needs none', async () => {
  const bin = join('node_modules', 'rowcast', 'bin', 'rowcast.js');
  const serve = runNode([bin, 'serve', '--log', 'sqlite:rows.db', '--admin', 'none'], { cwd: folder });
  expect(await serve.ended).toBe(1);
  expect(serve.stderr()).toBe(
    'rowcast: LOG_DRIVER_MISSING: cannot open rows.db: better-sqlite3 is not installed: run npm install better-sqlite3\n',
  );
  const renew = runNode([bin, 'log', 'new-history', 'rows.db'], { cwd: folder });
  expect(await renew.ended).toBe(1);
  expect(renew.stderr()).toContain('better-sqlite3 is not installed');
  const memory = runNode([bin, 'serve', '--log', 'memory:', '--listen', '127.0.0.1:0', '--admin', 'none'], {
    cwd: folder,
  });
  await memory.saw(/Try next/);
  await memory.kill('SIGTERM');
  expect(await memory.ended).toBe(0);
});
