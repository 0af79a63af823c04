import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { UsageError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { type DifferentialTestOptions, differentialTest } from '../testing/differential.ts';
import { logSuite } from '../testing/log-suite.ts';
import { openOptions, parseBatches, watchRows } from '../testing/log-suite-place.ts';
import type { RegisterTest } from '../testing/transport-suite.ts';
import type { Log, RowsEvent } from './log.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));

// Starting and killing processes may take its time on a busy machine.
// oxlint-disable-next-line vitest/valid-title -- the suite names its tests
const register: RegisterTest = (name, run) => test(name, run, 30_000);

const tested: DifferentialTestOptions = {
  name: 'sqlite log',
  create: ({ directory, clock }) => sqliteLog({ path: join(directory, 'log.db'), clock }),
  supports: {
    durable: true,
    ids: true,
    explicitTokens: true,
    relays: true,
    backup: true,
    foreignHints: false,
    acknowledgements: true,
  },
};

// Nothing here cuts the power, so nothing waits for the disk.
differentialTest(register, {
  ...tested,
  seeds: 1,
  create: ({ directory, clock }) => sqliteLog({ path: join(directory, 'log.db'), clock, synchronous: 'normal' }),
});
logSuite(register, {
  ...tested,
  restore: ({ path: copy, clock }) => sqliteLog({ path: copy, clock }),
  writer: (directory) => [
    process.execPath,
    '--import',
    fixture('typescript-hooks.js'),
    fixture('sqlite-writer.ts'),
    join(directory, 'log.db'),
  ],
});

const toClose: Array<{ close(): unknown }> = [];
let directory = '';
let path = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-sqlite-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  for (const it of toClose.splice(0).toReversed()) await it.close();
  rmSync(directory, { recursive: true });
});

async function opened(names: readonly string[] = ['events'], options: Partial<SqliteLogOptions> = {}): Promise<Log> {
  const log = sqliteLog({ path, ...options });
  await log.open(openOptions(names.map((name) => defineStream(name))));
  toClose.push(log);
  return log;
}

async function tokenOf(append: Promise<Position>): Promise<number> {
  return (await append).token;
}

/** What a person with the sqlite3 shell sees. */
function shell(sql: string): unknown[] {
  const database = new Database(path, { readonly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

test('a person with the sqlite3 shell can read the rows while the log is open', async () => {
  const log = await opened();
  await log.append('events', ['{"a":1}', '{"a":2}']);
  // As the head of sqlite.ts and docs/operations.md say.
  const [chunk] =
    shell(`SELECT after, up_to, rows, sizes, tokens, '[' || CAST(texts AS TEXT) || ']' AS texts FROM chunks
    WHERE stream_id = (SELECT id FROM streams WHERE name = 'events') ORDER BY up_to`) as { texts: string }[];
  expect(chunk).toEqual({ after: 0, up_to: 1, rows: 2, sizes: '2', tokens: null, texts: '[{"a":1},\t{"a":2}]' });
  expect(JSON.parse(chunk!.texts)).toEqual([{ a: 1 }, { a: 2 }]);
  expect(shell("SELECT * FROM streams WHERE name = 'events'")).toEqual([
    { id: 2, name: 'events', latest: 0, earliest: 1, rows_up_to: 0, base_era: '0.00000000' },
  ]);
  expect(shell("SELECT log.value || '.' || era AS era FROM chunks, meta AS log WHERE name = 'log id' LIMIT 1")).toEqual(
    [{ era: log.era }],
  );
});

test('streams whose names differ only in case are different streams', async () => {
  const names = ['events', 'Events', 'EVENTS'];
  const log = await opened(names);
  for (const name of names) await log.append(name, [`"${name}"`]);
  await log.close();
  const again = await opened(names);
  for (const name of names) {
    const page = await again.read(name, { after: 0, maxBytes: 1_000 });
    expect(parseBatches(page)).toEqual([{ token: 1, rows: [`"${name}"`] }]);
  }
  expect([...again.streams()]).toEqual(names);
});

test('1,000 concurrent appends of two streams share one commit: one hint for each stream, one chunk for each', async () => {
  const log = await opened(['a', 'b']);
  const hints: RowsEvent[] = [];
  watchRows(log, (hint) => void hints.push(hint));
  const tokens = await Promise.all(
    Array.from({ length: 1_000 }, (_, i) => tokenOf(log.append(i % 2 === 0 ? 'a' : 'b', [`${i}`]))),
  );
  expect(tokens.at(-1)).toBe(500);
  expect(hints.map(({ stream, latest, chunks }) => ({ stream, latest, chunks: chunks?.length }))).toEqual([
    { stream: 'a', latest: 500, chunks: 1 },
    { stream: 'b', latest: 500, chunks: 1 },
  ]);
  expect(
    shell(`SELECT name, rows, sizes FROM chunks JOIN streams ON streams.id = stream_id WHERE name <> '$streams'`),
  ).toEqual([
    { name: 'a', rows: 500, sizes: '1*500' },
    { name: 'b', rows: 500, sizes: '1*500' },
  ]);
});

test('a commit makes chunks of up to 256 KiB of whole batches; a larger batch is a chunk of its own', async () => {
  const log = await opened();
  const batch = (bytes: number): string[] => [`"${'x'.repeat(bytes / 2)}"`, `"${'x'.repeat(bytes / 2)}"`];
  await Promise.all([100_000, 100_000, 100_000, 600_000, 10].map((bytes) => log.append('events', batch(bytes))));
  expect(shell('SELECT after, up_to, rows FROM chunks WHERE stream_id = 2')).toEqual([
    { after: 0, up_to: 2, rows: 4 },
    { after: 2, up_to: 3, rows: 2 },
    { after: 3, up_to: 4, rows: 2 },
    { after: 4, up_to: 5, rows: 2 },
  ]);
});

test('when a commit fails because of one stream, the appends to all streams are refused and none is there', async () => {
  const log = await opened(['a', 'b']);
  await Promise.all([log.append('a', ['1']), log.append('b', ['1'])]);
  const other = new Database(path);
  toClose.push(other);
  other.exec(
    `CREATE TRIGGER fault BEFORE INSERT ON chunks
     WHEN NEW.stream_id = (SELECT id FROM streams WHERE name = 'b') BEGIN SELECT RAISE(ABORT, 'a fault for the test'); END`,
  );
  const hints: RowsEvent[] = [];
  watchRows(log, (hint) => void hints.push(hint));
  const settled = await Promise.allSettled([log.append('a', ['2']), log.append('b', ['2']), log.append('a', ['3'])]);
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(hints).toEqual([]);
  expect(await log.read('a', { after: 0, maxBytes: 1_000 })).toMatchObject({ rows: 1, upTo: 1, hasMore: false });
  other.exec('DROP TRIGGER fault');
  expect(await Promise.all([tokenOf(log.append('a', ['4'])), tokenOf(log.append('b', ['4']))])).toEqual([2, 2]);
});

test('a stream that got its retention late sheds its surplus over several commits', async () => {
  const log = await opened(['events'], { synchronous: 'normal' });
  for (let i = 0; i < 1_500; i++) await log.append('events', [`${i}`]);
  await log.close();
  const again = sqliteLog({ path });
  toClose.push(again);
  await again.open(openOptions([defineStream('events', { retain: { rows: 10 } })]));
  await again.append('events', ['"first"']);
  expect(again.bounds('events')).toMatchObject({ earliest: 1_001, latest: 1_501 });
  await again.append('events', ['"second"']);
  expect(again.bounds('events')).toMatchObject({ earliest: 1_493, latest: 1_502 });
});

test('a missing directory is made, and closing leaves the database whole without its WAL', async () => {
  path = join(directory, 'not', 'yet', 'log.db');
  const log = await opened();
  expect(log.name).toBe(`sqlite ${path}`);
  await log.append('events', ['"here"']);
  await log.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect(readFileSync(path).includes('"here"')).toBe(true);
  expect(existsSync(dirname(path))).toBe(true);
});

test('each commit is synchronised to the disk unless told otherwise', async () => {
  const FULL = 2;
  const NORMAL = 1;
  const pragma = vi.spyOn(Database.prototype, 'pragma');
  for (const [options, level] of [
    [{}, FULL],
    [{ synchronous: 'normal' }, NORMAL],
  ] as const) {
    const log = await opened(['events'], options);
    const database = pragma.mock.contexts.at(-1) as Database.Database;
    expect(database.pragma('synchronous', { simple: true })).toBe(level);
    expect(database.pragma('journal_mode', { simple: true })).toBe('wal');
    await log.close();
  }
  pragma.mockRestore();
  expect(() => sqliteLog({ path, synchronous: 'off' as 'normal' })).toThrow(UsageError);
});

test('an sqlite log without a file is refused', () => {
  for (const none of ['', ':memory:']) expect(() => sqliteLog({ path: none })).toThrow(/memoryLog/);
});

test('a flood of appends is several commits, between which everyone else has a turn; all come, in order', async () => {
  const log = await opened();
  const row = JSON.stringify('x'.repeat(1_000));
  const commits: number[] = [];
  let turns = 0;
  watchRows(log, ({ latest }) => {
    commits.push(latest);
    setImmediate(() => turns++);
  });
  const count = 5_000;
  const tokens = await Promise.all(Array.from({ length: count }, () => tokenOf(log.append('events', [row]))));
  expect(tokens).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  expect(commits.length).toBeGreaterThan(5);
  expect(turns).toBeGreaterThanOrEqual(commits.length - 1);
  expect(commits.at(-1)).toBe(count);
});
