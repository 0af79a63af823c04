import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { rewriteWal } from './sqlite-rewrite.ts';

function pathInFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rowcast-rewrite-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'log.db');
}

test('a WAL is written again with the bytes that it has, however long it is', () => {
  const path = pathInFolder();
  const bytes = Buffer.from(Array.from({ length: 2_500_000 }, (_, i) => i * 31));
  writeFileSync(`${path}-wal`, bytes);
  utimesSync(`${path}-wal`, 0, 0);
  rewriteWal(path);
  expect(readFileSync(`${path}-wal`).equals(bytes)).toBe(true);
  expect(statSync(`${path}-wal`).mtimeMs).toBeGreaterThan(0);
});

test('where no WAL was left, none is made', () => {
  const path = pathInFolder();
  rewriteWal(path);
  expect(existsSync(`${path}-wal`)).toBe(false);
});
