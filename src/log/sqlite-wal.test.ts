/**
 * The WAL is bounded, also beside a reader with an old snapshot, and shrinks once that reader has
 * left.
 */

import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { defineStream, type Retention } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';

const MIB = 1024 * 1024;
/** The most that the WAL holds without a reader: the size at which it is moved, and one commit. */
const SMALL_BYTES = 8 * MIB;
const ROW = `"${'x'.repeat(100_000)}"`;
let directory = '';
let path = '';
const toClose: Array<{ close(): unknown }> = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-wal-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  for (const it of toClose.splice(0).toReversed()) await it.close();
  rmSync(directory, { recursive: true });
});

async function opened(options: Partial<SqliteLogOptions> = {}, retain: Retention = { rows: 10 }): Promise<Log> {
  const log = sqliteLog({ path, synchronous: 'normal', ...options });
  const streams = [defineStream('events', { retain })];
  await log.open(openOptions(streams));
  toClose.push(log);
  return log;
}

const walBytes = (): number => statSync(`${path}-wal`).size;

/** A reader with an old snapshot. @returns what ends it */
function holdSnapshot(): () => void {
  const reader = new Database(path, { readonly: true });
  toClose.push(reader);
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM streams').get();
  return () => void reader.close();
}

async function appendUntil(log: Log, isEnough: () => boolean): Promise<void> {
  while (!isEnough()) await log.append('events', [ROW]);
}

// SPEC L10
test('beside a reader that holds a snapshot the WAL grows to its bound, where appends are LOG_FULL', async () => {
  const log = await opened({ maxWalBytes: 16 * MIB });
  const endReader = holdSnapshot();
  expect(log.health).toBe('ok');
  let refused: unknown;
  const refusal = (): boolean => refused !== undefined;
  while (!refusal() && walBytes() < 64 * MIB) {
    await log.append('events', [ROW]).catch((error: unknown) => (refused = error));
  }
  expect(refused).toMatchObject({
    name: 'LogError',
    code: 'LOG_FULL',
    message: expect.stringMatching(/a reader holds an old snapshot.*maxWalBytes/) as string,
  });
  expect(walBytes()).toBeLessThan(24 * MIB);
  expect([log.health, log.trouble?.code]).toEqual(['failing', 'LOG_FULL']);
  const { latest } = log.bounds('events');
  endReader();
  await vi.waitFor(async () => log.append('events', [ROW]), { timeout: 5_000 });
  expect(log.bounds('events').latest).toBe(latest + 1);
  expect(log.health).toBe('ok');
});

test('once the reader has left, the WAL shrinks while rows are appended, and all rows are there', async () => {
  const log = await opened({}, {});
  const endReader = holdSnapshot();
  await appendUntil(log, () => walBytes() > 40 * MIB);
  endReader();
  await appendUntil(log, () => walBytes() <= SMALL_BYTES);
  const { latest } = log.bounds('events');
  await log.close();
  expect(readdirSync(directory).sort()).toEqual(['log.db', 'log.db.lock', 'log.db.reserve']);
  const again = await opened({}, {});
  let rows = 0;
  for (let after = 0; after < latest; ) {
    const page = await again.read('events', { after, maxBytes: 1_000_000 });
    rows += page.rows;
    after = page.upTo;
  }
  expect(rows).toBe(latest);
});

test('a log that is closed while its WAL is large leaves none behind', async () => {
  const log = await opened({}, {});
  const endReader = holdSnapshot();
  await appendUntil(log, () => walBytes() > 12 * MIB);
  endReader();
  await log.close();
  expect(readdirSync(directory).sort()).toEqual(['log.db', 'log.db.lock', 'log.db.reserve']);
  expect((await opened({}, {})).bounds('events').latest).toBeGreaterThan(100);
});

test('without a reader the WAL stays small', async () => {
  const log = await opened();
  let largest = 0;
  await appendUntil(log, () => {
    largest = Math.max(largest, walBytes());
    return log.bounds('events').latest >= 300;
  });
  expect(largest).toBeLessThan(3 * MIB);
});

test('a bound that is none, or that a few commits would reach, is refused', () => {
  for (const maxWalBytes of [0, -1, 1.5, Number.NaN, 16 * MIB - 1]) {
    expect(() => sqliteLog({ path, maxWalBytes })).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' }),
    );
  }
});
