import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { defineStream } from '../core/model/stream.ts';
import { openOptions, parseBatches } from '../testing/log-suite-place.ts';
import type { BackupProgress } from '../core/model/backup.ts';
import type { Log } from './log.ts';
import { sqliteLog } from './sqlite.ts';

const STREAMS = ['events', 'others'].map((name) => defineStream(name));
const LARGE_ROW = `"${'x'.repeat(100_000)}"`;
let directory = '';
let copy = '';
const toClose: Log[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-backup-'));
  copy = join(directory, 'copy.db');
});

afterEach(async () => {
  for (const log of toClose.splice(0).toReversed()) await log.close();
  rmSync(directory, { recursive: true });
});

async function opened(path = join(directory, 'log.db')): Promise<Log> {
  const log = sqliteLog({ path, synchronous: 'normal' });
  await log.open(openOptions(STREAMS));
  toClose.push(log);
  return log;
}

/** A log of about 10 MB, so that a copy of it takes several turns. */
async function openedLarge(): Promise<Log> {
  const log = await opened();
  await Promise.all(Array.from({ length: 100 }, async () => log.append('events', [LARGE_ROW])));
  return log;
}

async function rowsOf(log: Log, stream: string): Promise<string[]> {
  const rows: string[] = [];
  for (let after = 0; ; ) {
    const page = await log.read(stream, { after, maxBytes: 1_000_000 });
    for (const batch of parseBatches(page)) rows.push(...batch.rows);
    if (!page.hasMore) return rows;
    after = page.upTo;
  }
}

// SPEC L16
test('a copy made while rows are appended is a whole log, and begins an era when it is opened', async () => {
  const log = await openedLarge();
  const appended: string[] = [];
  const progress: BackupProgress[] = [];
  let lastAppend: Promise<unknown> = Promise.resolve();
  await log.backup!(copy, {
    onProgress: (now) => {
      progress.push(now);
      appended.push(`${appended.length}`);
      lastAppend = log.append('others', [appended.at(-1)!]);
    },
  });
  expect(progress.length).toBeGreaterThan(10);
  expect(progress[0]!.doneBytes).toBe(0);
  expect(progress.at(-1)!.totalBytes).toBeGreaterThan(10_000_000);
  expect(progress.at(-1)!.doneBytes).toBe(progress.at(-1)!.totalBytes);
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  await lastAppend;
  const before = await log.append('events', ['"before"']);

  const other = await opened(copy);
  expect(other.id).toBe(log.id);
  expect(other.era).not.toBe(log.era);
  expect(await rowsOf(other, 'events')).toEqual(Array.from({ length: 100 }, () => LARGE_ROW));
  const copied = await rowsOf(other, 'others');
  expect(copied).toEqual(appended.slice(0, copied.length));
  expect(copied.length).toBeGreaterThan(appended.length / 2);
  // What the original appended after the copy is not on the copy's history, before and after the
  // copy has a row of this number.
  expect(await other.judge(before)).toBe('reset');
  expect(await other.append('events', ['"other"'])).toMatchObject({ token: before.token });
  expect(await other.judge(before)).toBe('reset');
  expect(await other.judge({ ...before, token: before.token - 1 })).toBe('on');
  expect(await log.judge(before)).toBe('on');
});

test('several copies can be made at once, and the log goes on', async () => {
  const log = await openedLarge();
  const copies = [1, 2].map((i) => join(directory, `copy-${i}.db`));
  await Promise.all(copies.map(async (path) => log.backup!(path)));
  await log.append('events', ['1']);
  for (const path of copies) expect((await opened(path)).bounds('events').latest).toBe(100);
  expect(log.health).toBe('ok');
});

test('a file that exists is refused and stays as it is', async () => {
  const log = await opened();
  writeFileSync(copy, 'mine');
  await expect(log.backup!(copy)).rejects.toMatchObject({
    name: 'LogError',
    code: 'LOG_UNAVAILABLE',
    message: expect.stringMatching(/copy\.db.*a file already/) as string,
  });
  expect(readFileSync(copy, 'utf8')).toBe('mine');
  await expect(log.backup!(join(directory, 'log.db'))).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(await log.append('events', ['1'])).toMatchObject({ token: 1 });
});

test('a copy has its name only when it is whole, so that a kill leaves nothing that would open as an empty log', async () => {
  const log = await openedLarge();
  const seen = new Set<string>();
  await log.backup!(copy, {
    onProgress: () => {
      for (const name of readdirSync(directory)) if (name.startsWith('copy')) seen.add(name);
    },
  });
  expect([...seen]).toContainEqual(expect.stringMatching(/^copy\.db\.[0-9a-f]{16}\.part$/));
  expect(seen).not.toContain('copy.db');
  expect(readdirSync(directory).filter((name) => name.startsWith('copy'))).toEqual(['copy.db']);
});

test('a file that comes while a copy is made stays as it is', async () => {
  const log = await openedLarge();
  const onProgress = (): void => writeFileSync(copy, 'mine');
  await expect(log.backup!(copy, { onProgress })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(readFileSync(copy, 'utf8')).toBe('mine');
  expect(readdirSync(directory).filter((name) => name.startsWith('copy'))).toEqual(['copy.db']);
});

test('a path that cannot be written names itself', async () => {
  const log = await opened();
  const path = join(directory, 'not', 'there.db');
  await expect(log.backup!(path)).rejects.toMatchObject({
    name: 'LogError',
    message: expect.stringContaining(path) as string,
  });
  await expect(log.backup!(`${copy} `)).rejects.toMatchObject({ name: 'UsageError', code: 'INVALID_OPTION' });
  chmodSync(directory, 0o700);
  expect(readdirSync(directory).filter((name) => name.includes('copy'))).toEqual([]);
});

const ends: ReadonlyArray<
  readonly [what: string, end: (log: Log, controller: AbortController) => void, error: unknown]
> = [
  ['is aborted', (_, controller) => controller.abort(new Error('enough')), { message: 'enough' }],
  ['is of a log that is closed meanwhile', (log) => void log.close(), { name: 'UsageError', code: 'CLOSED' }],
  [
    'is watched by a function that throws',
    () => {
      throw new Error('a fault of the caller');
    },
    { message: 'a fault of the caller' },
  ],
];
for (const [what, end, error] of ends) {
  test(`a backup that ${what} rejects, and leaves no file`, async () => {
    const log = await openedLarge();
    const controller = new AbortController();
    const onProgress = ({ doneBytes }: BackupProgress): void => {
      if (doneBytes > 2_000_000) end(log, controller);
    };
    await expect(log.backup!(copy, { signal: controller.signal, onProgress })).rejects.toMatchObject(error as Error);
    expect(readdirSync(directory).filter((name) => name.includes('copy'))).toEqual([]);
    await log.close();
    expect((await opened()).bounds('events').latest).toBe(100);
  });
}

test('a backup with a signal that is aborted already makes no file', async () => {
  const log = await opened();
  await expect(log.backup!(copy, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  expect(existsSync(copy)).toBe(false);
});
