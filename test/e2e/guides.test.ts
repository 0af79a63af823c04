/** The programs of the guides do what the guides say. */

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts, type RunningProcess, runNode } from '../support/processes.ts';

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

/** Writes the programs of a guide, with another port. A program is the code block after its name. */
async function writePrograms(guide: string, names: readonly string[], port: number): Promise<void> {
  const text = await readFile(new URL(`../../docs/guides/${guide}`, import.meta.url), 'utf8');
  for (const name of names) {
    const code = new RegExp(`^\`${name}\` [^\`]*\`\`\`js\n(.*?)^\`\`\``, 'ms').exec(text)?.[1];
    if (code === undefined) throw new Error(`${guide} has no program ${name}`);
    await writeFile(join(folder, name), code.replaceAll('9092', String(port)));
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
