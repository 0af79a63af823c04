/** The examples do what they say. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type RunningProcess, runNode } from '../test/support/processes.ts';

let folder: string;
const running: RunningProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-examples-'));
});

afterEach(async () => {
  await Promise.all(running.splice(0).map(async (process) => process.kill('SIGKILL')));
  await rm(folder, { recursive: true, force: true });
});

/** An example with its lines, each of which can be waited for. */
function run(name: string, ...args: string[]): RunningProcess & { line: (text: string | RegExp) => Promise<string> } {
  const lines: string[] = [];
  let handleLine: (() => void) | undefined;
  const process = runNode([fileURLToPath(new URL(name, import.meta.url)), ...args], {
    cwd: folder,
    onLine: (line) => {
      lines.push(line);
      handleLine?.();
    },
  });
  running.push(process);
  const line = async (text: string | RegExp): Promise<string> =>
    new Promise((resolve) => {
      handleLine = () => {
        const found = lines.find((l) => (typeof text === 'string' ? l === text : text.test(l)));
        if (found !== undefined) resolve(found);
      };
      handleLine();
    });
  return { ...process, line };
}

test('a worker with a checkpoint is stopped, misses rows, and gets only those when it comes back', async () => {
  const primary = run('primary.js', '0', 'notes.db');
  const port = (await primary.line(/^listening on/)).split(':')[1]!;
  primary.child.stdin!.write('one\ntwo\n');
  await primary.line(/^notes=2@/);

  const first = run('follow.js', port, 'checkpoint.json');
  await first.line('1 one');
  await first.line('2 two');
  await first.kill('SIGTERM');
  primary.child.stdin!.write('three\n');
  await primary.line(/^notes=3@/);

  const second = run('follow.js', port, 'checkpoint.json');
  const seen = second.line(/./);
  expect(await seen).toBe('3 three');
  await second.kill('SIGTERM');
  primary.child.stdin!.end();
  expect(await primary.ended, primary.stderr()).toBe(0);
});

test('a batch goes over a Unix socket and is read back by who wrote it', async () => {
  const example = run('unix-socket.js');
  expect(await example.line(/./)).toBe('tea costs 3, cake 4');
  expect(await example.ended, example.stderr()).toBe(0);
});

test('a user directory reads stale users without the middleware, and none with it', async () => {
  const example = run('user-directory/run.js', '300');
  await example.line(/^without the middleware: \d+ of 300 reads were stale/);
  expect(await example.line(/^with the middleware/)).toMatch(/: 0 of 300 reads were stale/);
  expect(await example.ended, example.stderr()).toBe(0);
});
