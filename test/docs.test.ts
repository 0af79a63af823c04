/** What the docs list is what the code has. */

import { readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { createAdmin } from '../src/admin/admin.ts';
import { defaultBatchLimits } from '../src/core/model/batch.ts';
import { subscriptionTransitions } from '../src/core/follow/subscription-state.ts';
import { errorCodes } from '../src/core/model/errors.ts';
import { logFields } from '../src/core/model/logger.ts';
import { replicationTransitions } from '../src/core/sessions/replication.ts';
import { type CommandName, senders } from '../src/core/wire/command.ts';
import { defaultPrimaryLimits, defaultWorkerLimits } from '../src/core/wire/limits.ts';
import { memoryLog } from '../src/log/memory.ts';
import { createPrimary } from '../src/primary/primary.ts';
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

test('every error code that the source produces, over HTTP too, is in the table of docs/errors.md, and each of the table is produced', async () => {
  const listed = new Set(tableOf(await read('docs/errors.md'), '| code').map(([code]) => code));
  const produced = new Set<string>();
  for (const file of await sourceFiles()) {
    const text = await read(file);
    for (const [, , code] of text.matchAll(/(new \w+Error|refus\w*)\(\s*(?:\d{3},\s*)?'([A-Z][A-Z\d_]+)'/g)) {
      expect(listed, `${code} of ${file}`).toContain(code);
    }
    // The table itself produces none.
    if (file === 'src/core/model/errors.ts') continue;
    for (const [, code] of text.matchAll(/'([A-Z][A-Z\d_]+)'/g)) produced.add(code!);
  }
  expect([...listed].filter((code) => !produced.has(code!))).toEqual([]);
});

test('docs/guides/http.md lists every request that the admin port routes, and no other', async () => {
  const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams: [] });
  const routed = createAdmin({ primary }).routes.filter(({ method }) => method !== 'ALL');
  await primary.close();
  const listed = tableOf(await read('docs/guides/http.md'), '| request').map(([request]) => request);
  expect(listed.toSorted()).toEqual([...new Set(routed.map(({ method, path }) => `${method} ${path}`))].toSorted());
});

test('docs/operations.md lists every field of log lines with its meaning, and no other', async () => {
  const rows = tableOf(await read('docs/operations.md'), '| field of a log line');
  expect(Object.fromEntries(rows)).toEqual(logFields);
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
function invariantsOf(text: string): Map<string, string> {
  const rows = text.split('\n').filter((line) => /^\| [A-Z]\d+ \|/.test(line));
  return new Map(
    rows.map((row) => {
      const [id, , enforcedBy] = cellsOf(row);
      return [id!, enforcedBy!];
    }),
  );
}

/** The name of the test that the code begins with, where that is a literal without holes. */
function nameOfTest(code: string): string | undefined {
  const [, quote, name] = /^\s*test(?:\.each\([^)]*\))?\(\s*(['"`])((?:\\.|(?!\1)[^\\\n])+)\1,/.exec(code) ?? [];
  return quote === '`' && name?.includes('${') ? undefined : name?.replaceAll(/\\(.)/g, '$1');
}

/** What the code does in its first test. */
function bodyOf(code: string): string {
  const [first = ''] = code.split(/^(?=\s*test(?:\.each)?\()/m).filter((part) => nameOfTest(part) !== undefined);
  return first.slice(first.indexOf('=>'));
}

/** An expectation, or a function of the test's file that has some. */
const EXPECTS = /\b(expect|assert)\w*[.(]/;

test('docs/SPEC.md names, for each invariant, a test that exists and says so; and no test says so of another', async () => {
  const text = await read('docs/SPEC.md');
  const listed = invariantsOf(text);
  expect(listed.size).toBeGreaterThanOrEqual(45);
  expect(listed.size, 'each id to stand once').toBe(text.match(/^\| [A-Z]\d+ \|/gm)?.length);
  expect(new Set(listed.values()).size, 'each invariant to have a test of its own').toBe(listed.size);
  const said = new Map<string, string>();
  for (const file of await testFiles()) {
    const lines = (await read(file)).split('\n');
    for (const [i, line] of lines.entries()) {
      // The comment stands right above its test: `// SPEC H1`.
      const [, id] = /^\s*\/\/ SPEC\b *(.*)$/.exec(line) ?? [];
      if (id === undefined) continue;
      expect(id, `what the test at ${file}:${i + 1} enforces`).toMatch(/^[A-Z]\d+$/);
      expect(said.has(id), `one test alone says SPEC ${id}`).toBe(false);
      const code = lines.slice(i + 1).join('\n');
      said.set(id, `${file}: ${nameOfTest(code)}`);
      expect(bodyOf(code), `the test of SPEC ${id} to expect something`).toMatch(EXPECTS);
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
    const source = await read(file!);
    expect(source, `the file of the test of ${limit} to set it`).toMatch(new RegExp(`\\b${limit}: |\\{ ${limit}[ :]`));
    const tests = source.split(/^(?=\s*test(?:\.each)?\()/m);
    const ofLimit = tests.filter((code) => nameOfTest(code) === name);
    expect(ofLimit, `the test of ${limit}`).toHaveLength(1);
    const body = bodyOf(ofLimit[0]!);
    // Several tests may share one constant of limits.
    expect(body.includes(limit!) || /\blimits\b/.test(body), `the test of ${limit} to use it`).toBe(true);
    expect(body, `the test of ${limit} to expect something`).toMatch(EXPECTS);
  }
});

async function testFiles(): Promise<string[]> {
  return (await filesOf('src', 'test', 'examples')).filter((file) => file.endsWith('.test.ts'));
}

async function sourceFiles(): Promise<string[]> {
  return (await filesOf('src')).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
}

async function filesOf(...folders: readonly string[]): Promise<string[]> {
  const root = new URL('..', import.meta.url);
  const found = await Promise.all(folders.map(async (folder) => readdir(new URL(folder, root), { recursive: true })));
  return folders.flatMap((folder, i) => found[i]!.map((file) => `${folder}/${file}`));
}
