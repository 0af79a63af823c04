/** When an sqlite log writes who holds rows, and drops what they free. */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import { defineStreams } from '../core/model/declarations.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { sqliteLog } from './sqlite.ts';

const rooms = defineStreams('room:*', { retain: { untilSavedBy: ['audit', 'reader-*'] } });

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'rowcast-holders-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function opened(directory: string): Promise<Log> {
  const log = sqliteLog({ path: join(directory, 'log.db') });
  await log.open(openOptions([rooms]));
  onTestFinished(() => log.close());
  return log;
}

/** The log as the end of its process would leave it now. */
async function asKilled(directory: string): Promise<Log> {
  const copy = temporaryDirectory();
  for (const file of ['log.db', 'log.db-wal']) cpSync(join(directory, file), join(copy, file));
  return opened(copy);
}

async function append(log: Log, count: number, stream = 'room:1'): Promise<void> {
  for (let i = 0; i < count; i++) await log.append(stream, [String(i)]);
}

/** The workers that a log knows after a kill, with what each has saved. */
async function known(directory: string, stream = 'room:1'): Promise<[string, number | undefined][]> {
  const log = await asKilled(directory);
  return log.holders!.of(stream).map(({ worker, saved }) => [worker, saved?.token]);
}

// SPEC K4
test('a worker that comes is known after a kill, and so is what it has saved a second later', async () => {
  const directory = temporaryDirectory();
  const log = await opened(directory);
  await append(log, 10);
  log.holders!.hold('room:1', 'reader-1', undefined);
  await vi.waitFor(async () => expect((await known(directory)).map(([worker]) => worker)).toContain('reader-1'));
  log.holders!.acknowledge('room:1', 'reader-1', 7);
  await vi.waitFor(async () => expect(await known(directory)).toContainEqual(['reader-1', 7]), 5_000);
});

test('what is freed is dropped within a second, though nothing is appended', async () => {
  const log = await opened(temporaryDirectory());
  await append(log, 10);
  log.holders!.acknowledge('room:1', 'audit', 10);
  log.holders!.acknowledge('room:1', 'reader-1', 8);
  await vi.waitFor(() => expect(log.bounds('room:1').earliest).toBe(9), 5_000);
});

test('what a worker held is dropped at once when it is forgotten, and that survives a kill', async () => {
  const directory = temporaryDirectory();
  const log = await opened(directory);
  await append(log, 10);
  await append(log, 10, 'room:2');
  log.holders!.acknowledge('room:1', 'reader-1', 10);
  expect(await log.holders!.forget('audit')).toEqual(['room:1', 'room:2']);
  expect(log.bounds('room:1').earliest).toBe(11);
  expect(await known(directory)).toEqual([['reader-1', 10]]);
  const again = await asKilled(directory);
  expect(await again.holders!.forget('audit')).toEqual([]);
  expect(await again.holders!.forget('reader-1')).toEqual(['room:1']);
});

test('many streams that move at once are written in steps, and all of them are', async () => {
  const directory = temporaryDirectory();
  const log = await opened(directory);
  const names = Array.from({ length: 350 }, (_, i) => `room:${i}`);
  await Promise.all(names.map(async (name) => log.append(name, ['1'])));
  for (const name of names) log.holders!.hold(name, 'reader-1', undefined);
  await vi.waitFor(async () => {
    const killed = await asKilled(directory);
    for (const name of names) expect(killed.holders!.count(name)).toBe(2);
    for (const name of names) expect(killed.holders!.of(name)[1]!.worker).toBe('reader-1');
  }, 5_000);
});

test('a stream that is deleted leaves no entries behind', async () => {
  const directory = temporaryDirectory();
  const log = await opened(directory);
  await append(log, 3);
  log.holders!.acknowledge('room:1', 'reader-1', 2);
  await log.delete('room:1');
  await append(log, 1);
  await log.close();
  const again = await opened(directory);
  expect(again.holders!.of('room:1').map(({ worker, saved }) => [worker, saved])).toEqual([
    ['audit', undefined],
    ['reader-*', undefined],
  ]);
});
