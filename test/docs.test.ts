/** What the docs list is what the code has. */

import { readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { defaultBatchLimits } from '../src/core/model/batch.ts';
import { subscriptionTransitions } from '../src/core/follow/subscription-state.ts';
import { errorCodes } from '../src/core/model/errors.ts';
import { replicationTransitions } from '../src/core/sessions/replication.ts';
import { type CommandName, senders } from '../src/core/wire/command.ts';
import { defaultPrimaryLimits, defaultWorkerLimits } from '../src/core/wire/limits.ts';
import { drawTransitions } from './support/transition-table.ts';

const read = async (path: string): Promise<string> => readFile(new URL(`../${path}`, import.meta.url), 'utf8');

/** The cells of the table under the first line that begins with `head`. */
function tableOf(text: string, head: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(head));
  expect(start, `a table that begins with ${head}`).toBeGreaterThanOrEqual(0);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(cellsOf(line));
  }
  return rows;
}

function cellsOf(row: string): string[] {
  return row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('`', ''));
}

test('docs/errors.md lists every error code with its meaning, and no other', async () => {
  const rows = tableOf(await read('docs/errors.md'), '| code');
  expect(Object.fromEntries(rows.map(([code, , meaning]) => [code, meaning]))).toEqual(errorCodes);
});

test('docs/protocol.md lists every command with its senders, and no other', async () => {
  const rows = tableOf(await read('docs/protocol.md'), '| command');
  const documented = Object.fromEntries(rows.map(([name, sentBy]) => [name, sentBy!.split(', ')]));
  expect(documented).toEqual(senders satisfies Record<CommandName, unknown>);
});

test('docs/protocol.md lists every limit with its default, and no other', async () => {
  const rows = tableOf(await read('docs/protocol.md'), '| limit');
  const documented = Object.fromEntries(rows.map(([name, , value]) => [name, Number(value)]));
  expect(documented).toEqual({ ...defaultBatchLimits, ...defaultPrimaryLimits, ...defaultWorkerLimits });
});

test.each([
  ['src/core/sessions/replication.ts', replicationTransitions],
  ['src/core/follow/subscription-state.ts', subscriptionTransitions],
])('ARCHITECTURE.md draws the machine of %s as its table says', async (_file, table) => {
  expect(await read('ARCHITECTURE.md')).toContain(`\n${drawTransitions(table)}\n`);
});

/** `H1` → the test that enforces it: its file and its name. */
async function invariantsOf(text: string): Promise<Map<string, string>> {
  const rows = text.split('\n').filter((line) => /^\| [A-Z]\d+ \|/.test(line));
  return new Map(
    rows.map((row) => {
      const [id, , enforcedBy] = cellsOf(row);
      return [id!, enforcedBy!];
    }),
  );
}

test('docs/SPEC.md names, for each invariant, a test that exists and says so; and no test says so of another', async () => {
  const listed = await invariantsOf(await read('docs/SPEC.md'));
  expect(listed.size).toBeGreaterThan(40);
  const said = new Map<string, string>();
  for (const file of await testFiles()) {
    const text = await read(file);
    // The comment stands right above its test: `// SPEC H1`.
    for (const [, id, name] of text.matchAll(/\/\/ SPEC ([A-Z]\d+)\n\s*test(?:\.\w+)?\(\s*['"`](.+?)['"`],?\n?/g)) {
      expect(said.has(id!), `one test alone says SPEC ${id}`).toBe(false);
      said.set(id!, `${file}: ${name}`);
    }
  }
  expect(Object.fromEntries(said)).toEqual(Object.fromEntries(listed));
});

test('docs/SPEC.md lists every limit, with a test that hits it', async () => {
  const rows = tableOf(await read('docs/SPEC.md'), '| limit');
  const names = Object.keys({ ...defaultBatchLimits, ...defaultPrimaryLimits, ...defaultWorkerLimits });
  expect(rows.map(([name]) => name).toSorted()).toEqual(names.toSorted());
  for (const [limit, enforcedBy] of rows) {
    const [, file, name] = /^(\S+\.test\.ts): (.+)$/.exec(enforcedBy!) ?? [];
    expect(await read(file!), `the test of ${limit}`).toContain(`'${name}'`);
  }
});

async function testFiles(): Promise<string[]> {
  const root = new URL('..', import.meta.url);
  const folders = ['src', 'test', 'examples'];
  const found = await Promise.all(folders.map(async (folder) => readdir(new URL(folder, root), { recursive: true })));
  return folders
    .flatMap((folder, i) => found[i]!.map((file) => `${folder}/${file}`))
    .filter((file) => file.endsWith('.test.ts'));
}
