import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { seededRandom } from '../base/random.ts';
import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { sqliteLog } from './sqlite.ts';
import { newHistory } from './sqlite-new-history.ts';

let directory = '';
let path = '';
const toClose: Log[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-history-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  for (const log of toClose.splice(0)) await log.close();
  rmSync(directory, { recursive: true });
});

async function opened(at: string): Promise<Log> {
  const log = sqliteLog({ path: at });
  await log.open(openOptions([defineStream('events')]));
  toClose.push(log);
  return log;
}

// SPEC H9
test('a copy that was given a new history keeps its rows, and positions of the old log are resets', async () => {
  const log = await opened(path);
  await log.append('events', ['1']);
  const at = await log.append('events', ['2']);
  await log.trim('events', 1);
  const { id } = log;
  await log.close();
  const copy = join(directory, 'copy.db');
  copyFileSync(path, copy);
  const { before, after } = await newHistory(copy, seededRandom(1));
  expect(before).toBe(id);
  expect(after).toMatch(/^[0-9a-f]{16}$/);
  expect(after).not.toBe(id);

  const other = await opened(copy);
  expect(other.id).toBe(after);
  expect(await other.judge(at)).toBe('reset');
  const page = await other.read('events', { after: 1, maxBytes: 1_000 });
  expect(page).toMatchObject({ rows: 1, history: at.history!.replace(id, after) });
  expect(await other.judge({ ...at, history: page.history })).toBe('on');
  expect(await other.judge({ ...at, token: 1, history: other.bounds('events').base })).toBe('on');
  expect(await (await opened(path)).judge(at)).toBe('on');
});

test('a log that a process has open is LOG_LOCKED and keeps its history', async () => {
  const log = await opened(path);
  await expect(newHistory(path)).rejects.toMatchObject({ name: 'LogError', code: 'LOG_LOCKED' });
  await log.append('events', ['1']);
  const { id } = log;
  await log.close();
  expect((await opened(path)).id).toBe(id);
});

test('a file that is not there, is empty or is no log is refused, and none is made', async () => {
  await expect(newHistory(path)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(existsSync(path)).toBe(false);
  writeFileSync(path, '');
  await expect(newHistory(path)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
  writeFileSync(path, 'the accounts of 1987\n'.repeat(1_000));
  await expect(newHistory(path)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
});
