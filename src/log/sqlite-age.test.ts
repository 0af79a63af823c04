/**
 * No row is dropped early, whatever the system's clock does. Also: what a slow or failing disk does
 * to a log.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Log } from './log.ts';
import type { Boot } from './log-time.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';

const HOUR = 3_600_000;
let directory = '';
let path = '';
const toClose: Log[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rowcast-age-'));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const log of toClose.splice(0)) await log.close();
  rmSync(directory, { recursive: true });
});

async function opened(options: Partial<SqliteLogOptions>, ageMs = 24 * HOUR): Promise<Log> {
  const log = sqliteLog({ path, ...options });
  const streams = [defineStream('events', { retain: { ageMs } }), defineStream('others')];
  await log.open(openOptions(streams));
  toClose.push(log);
  return log;
}

/** A machine whose wall clock can be set, and that can be restarted; its processes come and go. */
class Machine {
  readonly #time = new VirtualClock();
  wallOffMs = 0;
  #boot = 1;
  #bootedAt = this.#time.now();

  get options(): Partial<SqliteLogOptions> {
    const clock = {
      now: () => this.#time.now(),
      wallNow: () => this.#time.now() + this.wallOffMs,
      wakeIn: this.#time.wakeIn.bind(this.#time),
    };
    const boot = (): Boot => ({ id: `boot ${this.#boot}`, uptimeMs: this.#time.now() - this.#bootedAt });
    return { clock, boot };
  }

  pass(ms: number): void {
    const until = this.#time.now() + ms;
    while (this.#time.step(until));
  }

  reboot(): void {
    this.#boot++;
    this.#bootedAt = this.#time.now();
  }
}

/** Enough commits that whatever may be dropped is. */
async function appendMany(log: Log, count = 40): Promise<void> {
  for (let i = 0; i < count; i++) await log.append('events', [`${i}`]);
}

describe('retention by age', () => {
  // SPEC L9
  test('rows that were appended after the clock was set right by two days are kept over a restart', async () => {
    const machine = new Machine();
    machine.wallOffMs = -48 * HOUR;
    const first = await opened(machine.options);
    machine.wallOffMs = 0;
    await appendMany(first, 5);
    await first.close();
    machine.pass(1_000);
    const second = await opened(machine.options);
    await appendMany(second);
    expect(second.bounds('events').earliest).toBe(1);
  });

  test('a clock that is set while the log is open drops no row', async () => {
    const machine = new Machine();
    const log = await opened(machine.options);
    await appendMany(log, 5);
    for (const wallOffMs of [100 * HOUR, -100 * HOUR, 0]) {
      machine.wallOffMs = wallOffMs;
      await appendMany(log);
      expect(log.bounds('events').earliest).toBe(1);
    }
  });

  test('time that passed is counted, in a process and between two of one boot', async () => {
    const machine = new Machine();
    const first = await opened(machine.options);
    await appendMany(first, 5);
    machine.pass(12 * HOUR);
    await first.close();
    machine.pass(13 * HOUR);
    const second = await opened(machine.options);
    await appendMany(second);
    expect(second.bounds('events').earliest).toBe(6);
  });

  test('the time of a reboot is not counted: more is kept', async () => {
    const machine = new Machine();
    const first = await opened(machine.options);
    await appendMany(first, 5);
    machine.pass(12 * HOUR);
    await first.close();
    machine.pass(13 * HOUR);
    machine.reboot();
    const second = await opened(machine.options);
    await appendMany(second, 20);
    expect(second.bounds('events').earliest).toBe(1);
    machine.pass(12 * HOUR + 1);
    await appendMany(second);
    expect(second.bounds('events').earliest).toBe(6);
  });

  test('each chunk says when it was written by the clock as it was set then', async () => {
    const machine = new Machine();
    const log = await opened(machine.options);
    const before = machine.options.clock!.wallNow();
    await log.append('events', ['1']);
    machine.wallOffMs = -HOUR;
    await log.append('events', ['2']);
    await log.close();
    const database = new Database(path, { readonly: true });
    const atMs = database.prepare('SELECT at_ms FROM chunks WHERE stream_id = 2 ORDER BY up_to').pluck().all();
    database.close();
    expect(atMs).toEqual([before, before - HOUR]);
  });
});

test('a log is slow from a commit that took over a second until one is quick, and for a minute after', async () => {
  let now = 1_000_000;
  let commitMs = 0;
  // The first and the last time that a commit asks are what it took.
  const clock = { now: () => (now += commitMs), wallNow: () => now, wakeIn: () => ({ cancel: () => {} }) };
  const log = await opened({ clock });
  await log.append('events', ['1']);
  expect([log.health, log.trouble]).toEqual(['ok', undefined]);
  commitMs = 600;
  await log.append('events', ['2']);
  const since = now;
  await log.append('events', ['3']);
  commitMs = 0;
  expect(log.health).toBe('slow');
  expect(log.trouble).toEqual({ sinceMs: expect.any(Number), lastCommitMs: expect.any(Number), code: undefined });
  expect(log.trouble!.lastCommitMs).toBeGreaterThan(1_000);
  expect(log.trouble!.sinceMs).toBeLessThan(since);
  now += 30_000;
  expect(log.health).toBe('slow');
  await log.append('events', ['4']);
  expect([log.health, log.trouble]).toEqual(['slow', undefined]);
  now += 30_000;
  expect(log.health).toBe('ok');
});

test('a log says why its last commit failed, until one succeeds', async () => {
  const log = await opened({ maxPages: 40 });
  await log.append('events', ['1']);
  const large = JSON.stringify('x'.repeat(400_000));
  await expect(log.append('events', [large])).rejects.toMatchObject({ code: 'LOG_FULL' });
  expect(log.health).toBe('failing');
  expect(log.trouble).toMatchObject({ code: 'LOG_FULL', lastCommitMs: expect.toSatisfy(Number.isInteger) });
  await log.append('events', ['2']);
  expect([log.health, log.trouble]).toEqual(['ok', undefined]);
});

describe('a commit that cannot be made durable', () => {
  /** Makes each COMMIT of databases that are opened from now on fail, while `code` says how. */
  function failCommits(): { code: string | undefined } {
    const failing: { code: string | undefined } = { code: undefined };
    const prepare = Database.prototype.prepare;
    vi.spyOn(Database.prototype, 'prepare').mockImplementation(function (this: Database.Database, sql: string) {
      const statement = prepare.call(this, sql);
      if (sql !== 'COMMIT') return statement;
      return Object.assign(Object.create(statement) as typeof statement, {
        run: () => {
          if (failing.code !== undefined) throw new Database.SqliteError('disk I/O error', failing.code);
          return statement.run([]);
        },
      });
    });
    return failing;
  }

  test.each(['SQLITE_IOERR_FSYNC', 'SQLITE_IOERR_DIR_FSYNC', 'SQLITE_IOERR_WRITE', 'SQLITE_IOERR'])(
    '%s has an unknown outcome, and the log takes no append until it is opened again',
    async (code) => {
      const failing = failCommits();
      const log = await opened({});
      await log.append('events', ['1']);
      failing.code = code;
      const unknown = expect.objectContaining({ name: 'LogError', code: 'LOG_OUTCOME_UNKNOWN' }) as Error;
      const appends = [log.append('events', ['2']), log.append('others', ['2'])];
      for (const append of appends) await expect(append).rejects.toThrow(unknown);
      failing.code = undefined;
      await expect(log.append('events', ['3'])).rejects.toThrow(unknown);
      await expect(log.trim('events', 1)).rejects.toThrow(unknown);
      expect(log.health).toBe('failed');
      expect(await log.read('events', { after: 0, maxBytes: 1_000 })).toMatchObject({ upTo: 1, hasMore: false });
      await log.close();
      const again = await opened({});
      expect(await again.append('events', ['4'])).toMatchObject({ stream: 'events', token: 2, history: again.era });
      expect(again.health).toBe('ok');
    },
  );

  test('drops nothing, and what was too old goes without another append', async () => {
    const machine = new Machine();
    const first = await opened(machine.options, HOUR);
    await first.append('events', ['1']);
    await first.close();
    machine.pass(2 * HOUR);
    const failing = failCommits();
    const log = await opened(machine.options, HOUR);
    failing.code = 'SQLITE_FULL';
    await expect(log.append('events', ['2'])).rejects.toThrow(expect.objectContaining({ code: 'LOG_FULL' }) as Error);
    failing.code = undefined;
    expect(log.bounds('events').earliest).toBe(1);
    machine.pass(10_000);
    await vi.waitFor(() => expect(log.bounds('events').earliest).toBe(2));
  });

  test('a disk that is full at COMMIT refuses it, and the log goes on', async () => {
    const failing = failCommits();
    const log = await opened({});
    failing.code = 'SQLITE_FULL';
    await expect(log.append('events', ['1'])).rejects.toThrow(expect.objectContaining({ code: 'LOG_FULL' }) as Error);
    failing.code = undefined;
    expect(await log.append('events', ['2'])).toMatchObject({ token: 1 });
  });
});

describe('a stream that is damaged', () => {
  const OF_EVENTS = `stream_id = (SELECT id FROM streams WHERE name = 'events')`;
  const OF_OTHERS = `stream_id = (SELECT id FROM streams WHERE name = 'others')`;

  async function withDamage(sql: string): Promise<Log> {
    const log = await opened({});
    for (const stream of ['events', 'others', 'events']) await log.append(stream, ['1']);
    const other = new Database(path);
    other.exec(sql);
    other.close();
    return log;
  }

  // SPEC L6
  test('takes no append once a read has found it out; other streams go on', async () => {
    const log = await withDamage(`UPDATE chunks SET texts = x'00' WHERE up_to = 1 AND ${OF_EVENTS}`);
    expect(await log.append('events', ['3'])).toMatchObject({ token: 3 });
    const damaged = expect.objectContaining({ code: 'LOG_DAMAGED' }) as Error;
    expect(() => log.read('events', { after: 0, maxBytes: 1 })).toThrow(damaged);
    await expect(log.append('events', ['4'])).rejects.toThrow(damaged);
    expect(await log.append('others', ['2'])).toMatchObject({ token: 2 });
    expect(log.health).toBe('ok');
  });

  test('takes no append once an append has found it out', async () => {
    const log = await withDamage(
      `INSERT INTO chunks (stream_id, up_to, after, rows, rows_up_to, sizes, era, at_ms, log_ms, crc32, texts)
       SELECT stream_id, 3, after, rows, rows_up_to, sizes, era, at_ms, log_ms, crc32, texts
       FROM chunks WHERE up_to = 2 AND ${OF_EVENTS}`,
    );
    const damaged = expect.objectContaining({ code: 'LOG_DAMAGED' }) as Error;
    for (let i = 0; i < 2; i++) await expect(log.append('events', ['3'])).rejects.toThrow(damaged);
    expect(await log.append('others', ['2'])).toMatchObject({ token: 2 });
  });

  test('is judged and counted as LOG_DAMAGED, too', async () => {
    const log = await withDamage(
      `UPDATE chunks SET era = 'none' WHERE ${OF_EVENTS}; DELETE FROM chunks WHERE ${OF_OTHERS}`,
    );
    const damaged = expect.objectContaining({ code: 'LOG_DAMAGED' }) as Error;
    expect(() => log.judge({ stream: 'events', token: 1, history: log.era })).toThrow(damaged);
    expect(() => log.rowsAfter('others', 0)).toThrow(damaged);
  });
});
