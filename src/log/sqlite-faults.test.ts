import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
  mkdtempSync,
  rmSync,
  chmodSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { LogError } from '../core/model/errors.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import { openOptions, watchRows } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';
import { sqliteLogError } from './sqlite-errors.ts';

const events = defineStream('events');
const toClose: Array<{ close(): Promise<void> }> = [];
let directory = '';
let path = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-faults-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  for (const it of toClose.splice(0).toReversed()) await it.close();
  rmSync(directory, { recursive: true });
});

async function opened(options: Partial<SqliteLogOptions> = {}, streams: readonly Stream[] = [events]): Promise<Log> {
  const log = sqliteLog({ path, ...options });
  await log.open(openOptions(streams));
  toClose.push(log);
  return log;
}

/** Writes rows, a chunk each, and closes. */
async function writeLog(rows: readonly string[] = ['1', '2', '3']): Promise<void> {
  const log = await opened();
  for (const row of rows) await log.append('events', [row]);
  await log.close();
}

function edit(sql: string): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}

async function refusal(opening: Promise<unknown>): Promise<LogError> {
  const error = await opening.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LogError);
  expect((error as LogError).message).toContain(path);
  return error as LogError;
}

async function refusedCode(opening: Promise<unknown>): Promise<string> {
  return (await refusal(opening)).code;
}

test('a file that is no database is LOG_DAMAGED and stays as it is', async () => {
  const garbage = Buffer.from('these are the accounts of 1987\n'.repeat(1_000));
  writeFileSync(path, garbage);
  expect(await refusedCode(opened())).toBe('LOG_DAMAGED');
  expect(readFileSync(path).equals(garbage)).toBe(true);
});

test('the database of another application is LOG_DAMAGED and stays as it is', async () => {
  edit('CREATE TABLE accounts (year INTEGER)');
  const before = readFileSync(path);
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_DAMAGED',
    message: expect.stringContaining('another application') as string,
  });
  expect(readFileSync(path).equals(before)).toBe(true);
});

test('a log of a newer format is LOG_FORMAT, with the advice to upgrade', async () => {
  await writeLog();
  edit('PRAGMA user_version = 5');
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_FORMAT',
    message: expect.stringMatching(/format 5.*reads format 4.*upgrade/) as string,
  });
});

// SPEC L7
test('a log of an older format is LOG_FORMAT, says how to move its rows, and stays as it is', async () => {
  await writeLog();
  for (const version of [1, 2, 3]) {
    edit(`PRAGMA user_version = ${version}`);
    const before = readFileSync(path);
    expect(await refusal(opened())).toMatchObject({
      code: 'LOG_FORMAT',
      message: expect.stringMatching(
        new RegExp(`format ${version}.*rowcast follow events --from start --json.*rowcast append events`),
      ) as string,
    });
    expect(readFileSync(path).equals(before)).toBe(true);
  }
});

test('in a file whose pages are larger the WAL is moved as early as in any other', async () => {
  const older = new Database(path);
  older.pragma('page_size = 16384');
  older.exec('VACUUM');
  older.close();
  const log = await opened();
  const row = `"${'x'.repeat(200_000)}"`;
  let largest = 0;
  for (let i = 0; i < 40; i++) {
    await log.append('events', [row]);
    largest = Math.max(largest, statSync(`${path}-wal`).size);
  }
  expect(largest).toBeLessThan(3 * 1024 * 1024);
});

test('a log is closed in good order while someone else writes: all rows are there the next time', async () => {
  const log = await opened();
  await log.append('events', ['"one"']);
  const other = new Database(path);
  other.exec('BEGIN IMMEDIATE');
  await log.close();
  other.exec('ROLLBACK');
  other.close();
  expect((await opened()).bounds('events')).toMatchObject({ earliest: 1, latest: 1 });
});

test('a truncated file is LOG_DAMAGED, at once or when it is read, wherever it was cut', async () => {
  await writeLog(Array.from({ length: 50 }, () => `"${'x'.repeat(10_000)}"`));
  const { size } = statSync(path);
  expect(await readWholeLog()).toBe(50);
  for (const cutTo of [size - 1_000, size - 16 * 1024, Math.floor(size / 2), 16 * 1024, 100]) {
    truncateSync(path, cutTo);
    expect(await readWholeLog(), `${cutTo} of ${size} bytes`).toMatchObject({ name: 'LogError', code: 'LOG_DAMAGED' });
  }
});

test('an empty file is a new log', async () => {
  writeFileSync(path, '');
  const log = await opened();
  expect(log.bounds('events')).toMatchObject({ earliest: 1, latest: 0 });
});

test('a byte that changed within the rows is LOG_DAMAGED when it is read, and the rows before it can be read', async () => {
  await writeLog(['"first"', `"${'x'.repeat(100_000)}needle${'x'.repeat(100_000)}"`, '"last"']);
  const file = openSync(path, 'r+');
  writeSync(file, 'n00dle', readFileSync(path).indexOf('needle'));
  closeSync(file);
  const log = await opened();
  expect(await log.read('events', { after: 0, maxBytes: 10 })).toMatchObject({ upTo: 1, hasMore: true });
  expect(await refusal(asPromise(() => log.read('events', { after: 1, maxBytes: 10 })))).toMatchObject({
    code: 'LOG_DAMAGED',
    message: expect.stringContaining('the chunk up to 2') as string,
  });
  expect(await refusedCode(asPromise(() => log.read('events', { after: 0, maxBytes: 1_000_000 })))).toBe('LOG_DAMAGED');
});

test('pages that were overwritten are LOG_DAMAGED, at once or when they are read, and never a short answer', async () => {
  await writeLog(Array.from({ length: 200 }, (_, i) => `"${i} ${'x'.repeat(2_000)}"`));
  const whole = join(directory, 'whole.db');
  copyFileSync(path, whole);
  const pageBytes = 16 * 1024;
  for (let page = 0; page < statSync(whole).size / pageBytes; page++) {
    copyFileSync(whole, path);
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(pageBytes / 2, 0xa5), 0, pageBytes / 2, page * pageBytes + pageBytes / 4);
    closeSync(file);
    const rows = await readWholeLog();
    if (typeof rows === 'number') expect(rows, `page ${page}`).toBe(200);
    else expect(rows, `page ${page}`).toMatchObject({ name: 'LogError', code: 'LOG_DAMAGED' });
  }
});

const OF_EVENTS = `stream_id = (SELECT id FROM streams WHERE name = 'events')`;

const missing: ReadonlyArray<readonly [what: string, sql: string]> = [
  ['table of chunks', 'DROP TABLE chunks'],
  ['record of a stream', `DELETE FROM streams WHERE name = 'events'`],
  ['records of streams', 'DELETE FROM streams'],
  ['table of streams', 'DROP TABLE streams'],
  ['id', `DELETE FROM meta WHERE name = 'log id'`],
  ['era', `DELETE FROM meta WHERE name = 'era'`],
];
for (const [what, sql] of missing) {
  test(`a log without its ${what} is LOG_DAMAGED when it is opened`, async () => {
    await writeLog();
    edit(sql);
    expect(await refusedCode(opened())).toBe('LOG_DAMAGED');
  });
}

const cut: ReadonlyArray<readonly [what: string, sql: string]> = [
  ['first chunk', `DELETE FROM chunks WHERE up_to = 1 AND ${OF_EVENTS}`],
  ['last chunk', `DELETE FROM chunks WHERE up_to = 3 AND ${OF_EVENTS}`],
  ['chunks', `DELETE FROM chunks WHERE ${OF_EVENTS}`],
];
for (const [what, sql] of cut) {
  test(`a stream without its ${what} is LOG_DAMAGED whatever is asked first; other streams go on`, async () => {
    const rest = [events, defineStream('others')];
    const first = await opened({}, rest);
    for (const row of ['1', '2', '3']) await first.append('events', [row]);
    await first.append('others', ['1']);
    const at = { stream: 'events', token: 3, history: first.era };
    await first.close();
    edit(sql);
    const asked: ReadonlyArray<(log: Log) => unknown> = [
      (log) => log.read('events', { after: 2, maxBytes: 1_000 }),
      (log) => log.read('events', { after: 3, maxBytes: 1_000 }),
      (log) => log.judge(at),
      (log) => log.rowsAfter('events', 0),
      (log) => log.append('events', ['4']),
      (log) => log.trim('events', 1),
    ];
    for (const ask of asked) {
      const log = await opened({}, rest);
      expect(await refusedCode(asPromise(async () => ask(log)))).toBe('LOG_DAMAGED');
      expect(log.bounds('events')).toMatchObject({ earliest: 1, latest: 3 });
      expect(await refusedCode(log.append('events', ['4']))).toBe('LOG_DAMAGED');
      await log.append('others', ['2']);
      expect(log.health).toBe('ok');
      await log.close();
    }
    const log = await opened({}, rest);
    await log.delete('events');
    expect(await log.append('events', ['"anew"'])).toMatchObject({ token: 1 });
  });
}

const wrong: ReadonlyArray<readonly [what: string, sql: string]> = [
  ['missing', `DELETE FROM chunks WHERE up_to = 2 AND ${OF_EVENTS}`],
  ['text', `UPDATE chunks SET texts = '2' WHERE up_to = 2 AND ${OF_EVENTS}`],
  ['without a count', `UPDATE chunks SET rows = 'two' WHERE up_to = 2 AND ${OF_EVENTS}`],
  ['of other sizes', `UPDATE chunks SET sizes = '2' WHERE up_to = 2 AND ${OF_EVENTS}`],
  ['of other tokens', `UPDATE chunks SET tokens = '2' WHERE up_to = 2 AND ${OF_EVENTS}`],
  ['of another time', `UPDATE chunks SET at_ms = at_ms + 1 WHERE up_to = 2 AND ${OF_EVENTS}`],
];
for (const [what, sql] of wrong) {
  test(`a chunk in the middle that is ${what} is LOG_DAMAGED when it is read`, async () => {
    await writeLog();
    edit(sql);
    const log = await opened();
    expect(await refusedCode(asPromise(() => log.read('events', { after: 0, maxBytes: 1_000 })))).toBe('LOG_DAMAGED');
  });
}

test('a last chunk that vanishes while the log is open is LOG_DAMAGED when it is read', async () => {
  const log = await opened();
  await log.append('events', ['1']);
  await log.append('events', ['2']);
  edit(`DELETE FROM chunks WHERE up_to = 2 AND ${OF_EVENTS}`);
  expect(await refusedCode(asPromise(() => log.read('events', { after: 0, maxBytes: 1_000 })))).toBe('LOG_DAMAGED');
});

test('a log that is open is LOG_LOCKED for a second one, and free once it is closed', async () => {
  const first = await opened();
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_LOCKED',
    message: expect.stringContaining('another process has it open for writing') as string,
  });
  await first.append('events', ['1']);
  await first.close();
  const second = await opened();
  expect(second.bounds('events').latest).toBe(1);
});

test('a log that another process has open is LOG_LOCKED until that process is killed; readers may read it', async () => {
  const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
  const writer = spawn(
    process.execPath,
    ['--import', fixture('typescript-hooks.js'), fixture('sqlite-writer.ts'), path],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(writer.stdout, 'data');
  expect(await refusedCode(opened())).toBe('LOG_LOCKED');
  const reader = new Database(path, { readonly: true });
  expect(reader.prepare('SELECT count(*) FROM chunks').pluck().get()).toBeTypeOf('number');
  reader.close();
  writer.kill('SIGKILL');
  await once(writer, 'close');
  await opened();
}, 30_000);

test('appends while someone else writes to the file are LOG_LOCKED, and those after it succeed', async () => {
  const log = await opened();
  await log.append('events', ['1']);
  const other = new Database(path);
  toClose.push({ close: async () => void other.close() });
  other.exec('BEGIN IMMEDIATE');
  const refused = await Promise.all([
    refusedCode(log.append('events', ['2'])),
    refusedCode(log.append('events', ['3'])),
  ]);
  expect(refused).toEqual(['LOG_LOCKED', 'LOG_LOCKED']);
  expect(await refusedCode(log.trim('events', 1))).toBe('LOG_LOCKED');
  expect(log.bounds('events')).toMatchObject({ earliest: 1, latest: 1 });
  other.exec('ROLLBACK');
  expect(await log.append('events', ['4'])).toMatchObject({ token: 2 });
  expect(await log.read('events', { after: 0, maxBytes: 1_000 })).toMatchObject({ rows: 2, upTo: 2 });
});

test('a log whose disk is full says LOG_FULL, keeps nothing of what it refused, and goes on when there is room', async () => {
  const log = await opened({ maxPages: 80 });
  const row = `"${'x'.repeat(50_000)}"`;
  let hints = 0;
  watchRows(log, () => void hints++);
  let refused: unknown;
  let appended = 0;
  while (refused === undefined) {
    await log.append('events', [row]).then(
      () => appended++,
      (error: unknown) => (refused = error),
    );
  }
  expect(appended).toBeGreaterThan(5);
  expect(refused).toMatchObject({
    name: 'LogError',
    code: 'LOG_FULL',
    message: expect.stringContaining(path) as string,
  });
  expect(hints).toBe(appended);
  expect(log.bounds('events')).toMatchObject({ earliest: 1, latest: appended });
  await log.trim('events', 5);
  expect(await log.append('events', [row])).toMatchObject({ token: appended + 1 });
  await log.close();
  const again = await opened();
  expect(await again.read('events', { after: 5, maxBytes: 10_000_000 })).toMatchObject({
    rows: appended - 4,
    upTo: appended + 1,
    hasMore: false,
  });
});

test('a path that is a directory, or lies under a file or a link to nowhere, is LOG_UNAVAILABLE', async () => {
  mkdirSync(path);
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: expect.stringContaining('it is a directory') as string,
  });
  writeFileSync(join(directory, 'file'), '');
  path = join(directory, 'file', 'log.db');
  expect(await refusedCode(opened())).toBe('LOG_UNAVAILABLE');
  path = join(directory, 'file', 'deeper', 'log.db');
  expect(await refusedCode(opened())).toBe('LOG_UNAVAILABLE');
  symlinkSync(join(directory, 'nowhere', 'at all'), join(directory, 'link'));
  path = join(directory, 'link', 'deeper', 'log.db');
  expect(await refusedCode(opened())).toBe('LOG_UNAVAILABLE');
});

test('a directory in which nothing can be made is LOG_READ_ONLY', async () => {
  chmodSync(directory, 0o555);
  const open = () => refusal(opened());
  expect(await asOrdinaryUser(open)).toMatchObject({
    code: 'LOG_READ_ONLY',
    message: expect.stringContaining('make both writable') as string,
  });
  path = join(directory, 'new', 'log.db');
  expect(await asOrdinaryUser(open)).toMatchObject({ code: 'LOG_READ_ONLY' });
});

test('a file that cannot be written is LOG_READ_ONLY', async () => {
  await writeLog();
  chmodSync(path, 0o444);
  chmodSync(`${path}.lock`, 0o666);
  chmodSync(directory, 0o777);
  expect(await asOrdinaryUser(() => refusedCode(opened()))).toBe('LOG_READ_ONLY');
});

test('a file that cannot be opened in a directory that is fine is LOG_UNAVAILABLE', async () => {
  mkdirSync(`${path}.lock`);
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: expect.stringContaining('SQLITE_CANTOPEN') as string,
  });
  path = join(directory, 'x'.repeat(300));
  expect(await refusal(opened())).toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: expect.stringContaining('ENAMETOOLONG') as string,
  });
});

test('what the system says of the disk has its code too, and what is not an Error keeps its text', () => {
  const failed = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code });
  const codes = ['ENOSPC', 'EDQUOT', 'EROFS', 'EPERM', 'SQLITE_IOERR_FSYNC'].map(
    (code) => sqliteLogError(path, 'append to', failed(code)).code,
  );
  expect(codes).toEqual(['LOG_FULL', 'LOG_FULL', 'LOG_READ_ONLY', 'LOG_READ_ONLY', 'LOG_UNAVAILABLE']);
  expect(sqliteLogError(path, 'read', 'thrown text')).toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: `cannot read ${path}: check the path and the disk under it (thrown text)`,
  });
});

test.each([
  ['is not installed', { code: 'ERR_MODULE_NOT_FOUND' }, 'npm install better-sqlite3'],
  ['lacks a package of its own', { code: 'MODULE_NOT_FOUND' }, 'npm install better-sqlite3'],
  ['is of another Node or system', { code: 'ERR_DLOPEN_FAILED' }, `Node ${process.version} on ${process.platform} `],
  [
    'has no native part',
    { message: 'Could not locate the bindings file. Tried:\n → /a.node' },
    'npm rebuild better-sqlite3',
  ],
])('a driver that %s has a code of its own, and what to run, and not to look at the disk', (_what, cause, run) => {
  const { code, message, facts } = sqliteLogError(path, 'open', Object.assign(new Error('it failed'), cause));
  expect({ code, facts }).toEqual({ code: 'LOG_DRIVER_MISSING', facts: { driver: 'better-sqlite3' } });
  expect(message).toContain(run);
  expect(message).not.toMatch(/disk|Tried/);
});

/** Opens the log, reads all of it and closes it: how many rows it had, or what was thrown. */
async function readWholeLog(): Promise<unknown> {
  try {
    const log = await opened();
    let rows = 0;
    for (let after = 0; ; ) {
      const page = await log.read('events', { after, maxBytes: 50_000 });
      rows += page.rows;
      after = page.upTo;
      if (!page.hasMore) return rows;
    }
  } catch (error) {
    return error;
  } finally {
    // What is damaged may also say so when it is closed.
    await toClose
      .pop()
      ?.close()
      ?.catch((error: unknown) => expect(error).toBeInstanceOf(LogError));
  }
}

async function asPromise<T>(run: () => T | Promise<T>): Promise<T> {
  return run();
}

/** Root may write everywhere, so as root this becomes another user for a while. */
async function asOrdinaryUser<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return run();
  process.seteuid!(65_534);
  try {
    return await run();
  } finally {
    process.seteuid!(0);
  }
}
