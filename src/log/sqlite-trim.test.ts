/** A trim is one small commit. What it leaves is removed in steps, between which appends have their turn. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';

let directory = '';
let path = '';
const toClose: Log[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-trim-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  for (const log of toClose.splice(0)) await log.close();
  rmSync(directory, { recursive: true });
});

async function opened(options: Partial<SqliteLogOptions> = {}): Promise<Log> {
  const log = sqliteLog({ path, synchronous: 'normal', ...options });
  await log.open(openOptions([defineStream('events')]));
  toClose.push(log);
  return log;
}

const row = `"${'x'.repeat(100_000)}"`;

function chunksInFile(): number {
  const reader = new Database(path, { readonly: true });
  try {
    return reader.prepare<[], number>('SELECT count(*) FROM chunks WHERE stream_id > 1').pluck().get()!;
  } finally {
    reader.close();
  }
}

// SPEC L23
test('a trim hides its rows at once, and a crash or a close before they are removed brings none back', async () => {
  const log = await opened();
  for (let i = 0; i < 100; i++) await log.append('events', [row]);
  await log.trim('events', 90);
  expect(chunksInFile(), 'little is removed yet').toBeGreaterThan(80);
  expect(log.bounds('events')).toMatchObject({ earliest: 91, latest: 100 });
  expect(() => log.read('events', { after: 0, maxBytes: 1 })).toThrow(expect.objectContaining({ code: 'LOG_GAP' }));
  await log.close();
  const again = await opened();
  expect(again.bounds('events')).toMatchObject({ earliest: 91, latest: 100 });
  expect(again.rowsAfter('events', 0)).toBe(10);
  expect(await again.read('events', { after: 90, maxBytes: 1 })).toMatchObject({ upTo: 91, rows: 1 });
  await again.trim('events', 100);
  expect(again.bounds('events')).toMatchObject({ earliest: 101, latest: 100 });
  await again.close();
  const third = await opened();
  expect(third.bounds('events')).toMatchObject({ earliest: 101, latest: 100 });
  await third.append('events', [row]);
  await vi.waitFor(() => expect(chunksInFile()).toBe(1), 8_000);
  expect(third.bounds('events')).toMatchObject({ earliest: 101, latest: 101 });
  await third.delete('events');
  await vi.waitFor(() => expect(chunksInFile()).toBe(0), 8_000);
});

test('a log whose disk is full can be trimmed, and takes appends again', async () => {
  const log = await opened({ maxPages: 400 });
  let count = 0;
  try {
    for (; ; count++) await log.append('events', [row]);
  } catch (error) {
    expect(error).toMatchObject({ code: 'LOG_FULL' });
  }
  await log.trim('events', count);
  expect(log.bounds('events').earliest).toBe(count + 1);
  await vi.waitFor(() => log.append('events', [row]), 8_000);
});
