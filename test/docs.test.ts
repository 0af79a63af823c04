/** What the docs list is what the code has. */

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { defaultBatchLimits } from '../src/core/model/batch.ts';
import { errorCodes } from '../src/core/model/errors.ts';
import { type CommandName, senders } from '../src/core/wire/command.ts';
import { defaultPrimaryLimits, defaultWorkerLimits } from '../src/core/wire/limits.ts';

const read = async (path: string): Promise<string> => readFile(new URL(`../${path}`, import.meta.url), 'utf8');

/** The cells of the table under the first line that begins with `head`. */
function tableOf(text: string, head: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(head));
  expect(start, `a table that begins with ${head}`).toBeGreaterThanOrEqual(0);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  }
  return rows;
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

test('ARCHITECTURE.md names a test that exists for each invariant', async () => {
  const rows = tableOf(await read('ARCHITECTURE.md'), '| invariant');
  expect(rows.length).toBeGreaterThan(0);
  for (const [invariant, enforcedBy] of rows) {
    const [, file, name] = /^(\S+\.test\.ts): (.+)$/.exec(enforcedBy!) ?? [];
    expect(await read(file!), `the test of: ${invariant}`).toContain(`test('${name}'`);
  }
});
