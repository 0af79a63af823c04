/**
 * No two processes write to one file, and nothing is acknowledged into a file that is not there.
 */

import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { eraNumberOf } from '../core/model/history.ts';
import { defineStream } from '../core/model/stream.ts';
import { createPrimary } from '../primary/primary.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import { createWorker } from '../worker/worker.ts';
import type { Log } from './log.ts';
import { type SqliteLogOptions, sqliteLog } from './sqlite.ts';

const CHECK_INTERVAL_MS = 1_000;
const STREAMS = ['events', 'others'].map((name) => defineStream(name));
const toClose: Array<{ close(): unknown }> = [];
let directory = '';
let path = '';

beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'rowcast-guard-')));
  path = join(directory, 'log.db');
});

afterEach(async () => {
  vi.useRealTimers();
  for (const it of toClose.splice(0).toReversed()) await it.close();
  rmSync(directory, { recursive: true });
});

async function opened(at = path, options: Partial<SqliteLogOptions> = {}): Promise<Log> {
  const log = sqliteLog({ path: at, ...options });
  await log.open(openOptions(STREAMS));
  toClose.push(log);
  return log;
}

const coded = (code: string, message = ''): unknown =>
  expect.objectContaining({ name: 'LogError', code, message: expect.stringContaining(message) as string });

/**
 * Starts a process that writes to the log there. Resolves, once it has ended, to its first words on
 * stdout or to its failure.
 */
async function startWriter(at: string): Promise<string> {
  const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
  const args = ['--import', fixture('typescript-hooks.js'), fixture('sqlite-writer.ts'), at];
  const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let failure = '';
  writer.stderr.setEncoding('utf8').on('data', (text: string) => void (failure += text));
  const [said] = (await Promise.race([once(writer.stdout, 'data'), once(writer, 'close')])) as [Buffer | number];
  if (typeof said === 'number') return failure;
  writer.kill('SIGKILL');
  await once(writer, 'close');
  return said.toString();
}

describe('one writer', () => {
  const otherNames: ReadonlyArray<readonly [what: string, other: () => string]> = [
    ['the same name', () => path],
    [
      'a symbolic link',
      () => {
        symlinkSync(path, join(directory, 'link.db'));
        return join(directory, 'link.db');
      },
    ],
    [
      'a link to its directory',
      () => {
        symlinkSync(directory, join(directory, 'here'));
        return join(directory, 'here', 'log.db');
      },
    ],
    [
      'a hard link',
      () => {
        linkSync(path, join(directory, 'hard.db'));
        return join(directory, 'hard.db');
      },
    ],
    [
      'the same name, after its lock file was removed',
      () => {
        rmSync(`${path}.lock`);
        return path;
      },
    ],
    [
      'the same name, after this process read the files itself, which lifts the locks of SQLite',
      () => {
        for (const file of [path, `${path}.lock`]) readFileSync(file);
        return path;
      },
    ],
  ];
  for (const [what, other] of otherNames) {
    // Where socket names are no lock, only the fence sees hard links and removed lock files.
    const isLocked = process.platform === 'linux' || !/hard|removed|read/.test(what);
    test(`a log that is open is ${isLocked ? 'LOG_LOCKED' : 'fenced'} by ${what}`, async () => {
      const log = await opened();
      await log.append('events', ['1']);
      const otherPath = other();
      if (!isLocked) return;
      await expect(opened(otherPath)).rejects.toThrow(coded('LOG_LOCKED', 'another process has it open for writing'));
      expect(await log.append('events', ['2'])).toMatchObject({ token: 2 });
      await log.close();
      expect((await opened(otherPath)).bounds('events').latest).toBe(2);
    });
  }

  // SPEC L2
  test('a second process is refused whatever was done to the locks that lie beside the file', async () => {
    const log = await opened();
    linkSync(path, join(directory, 'hard.db'));
    rmSync(`${path}.lock`);
    readFileSync(path);
    const said = await startWriter(process.platform === 'linux' ? join(directory, 'hard.db') : path);
    if (process.platform === 'linux') expect(said).toContain('LOG_LOCKED');
    else await expect(log.append('events', ['1'])).rejects.toThrow(coded('LOG_FENCED'));
  }, 30_000);

  test('a link to a file that is still to be made is the log at its end', async () => {
    mkdirSync(join(directory, 'real'));
    symlinkSync(join('real', 'log.db'), path);
    const log = await opened();
    await log.append('events', ['1']);
    expect(existsSync(join(directory, 'real', 'log.db-wal'))).toBe(true);
    await expect(opened(join(directory, 'real', 'log.db'))).rejects.toThrow(coded('LOG_LOCKED'));
  });

  test('a process that is killed leaves no lock behind', async () => {
    expect(await startWriter(path)).toContain('"token"');
    await opened();
  }, 30_000);
});

describe('a log that another process has opened since', () => {
  /** What an open of another process writes, had it got past the locks. */
  function beginForeignEra(): string {
    const other = new Database(path);
    other.prepare(`UPDATE meta SET value = '9000000000.abcdef01' WHERE name = 'era'`).run();
    other.close();
    return '9000000000.abcdef01';
  }

  // SPEC L3
  test('stops for good: no append, trim or read is answered any more', async () => {
    const log = await opened();
    const at = await log.append('events', ['1']);
    const era = beginForeignEra();
    const fenced = coded('LOG_FENCED', era);
    const waiting = [log.append('events', ['2']), log.append('others', ['2'])];
    for (const append of waiting) await expect(append).rejects.toThrow(fenced);
    await expect(log.append('events', ['3'])).rejects.toThrow(fenced);
    await expect(log.trim('events', 1)).rejects.toThrow(fenced);
    expect(() => log.read('events', { after: 0, maxBytes: 1_000 })).toThrow(fenced);
    expect(() => log.judge(at)).toThrow(fenced);
    expect(log.health).toBe('failed');
  });

  test('closes in good order, and goes on above the other when it is opened again', async () => {
    const log = await opened();
    await log.append('events', ['1']);
    beginForeignEra();
    await expect(log.append('events', ['2'])).rejects.toThrow(coded('LOG_FENCED'));
    await log.close();
    await log.open(openOptions(STREAMS));
    expect(log.health).toBe('ok');
    expect(eraNumberOf(log.era)).toBe(9_000_000_001);
    expect(await log.append('events', ['2'])).toMatchObject({ token: 2 });
  });

  test('finds out also while nobody appends', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const log = await opened();
    beginForeignEra();
    expect(log.health).toBe('ok');
    vi.advanceTimersByTime(CHECK_INTERVAL_MS);
    expect(log.health).toBe('failed');
  });
});

describe('a log whose files', () => {
  const faults: ReadonlyArray<readonly [what: string, said: string, commit: () => void]> = [
    ['was deleted', 'log.db was deleted', () => rmSync(path)],
    ['was moved', 'log.db was deleted or moved', () => renameSync(path, `${path}.old`)],
    ['were all deleted', 'was deleted', () => ['', '-wal', '-shm'].forEach((suffix) => rmSync(`${path}${suffix}`))],
    ['lost its WAL', 'log.db-wal was deleted', () => rmSync(`${path}-wal`)],
    [
      'was replaced',
      'log.db was replaced',
      () => {
        copyFileSync(path, `${path}.copy`);
        renameSync(`${path}.copy`, path);
      },
    ],
    [
      'had its WAL replaced',
      'log.db-wal was replaced',
      () => {
        copyFileSync(`${path}-wal`, `${path}.copy`);
        renameSync(`${path}.copy`, `${path}-wal`);
      },
    ],
  ];
  for (const [what, said, commit] of faults) {
    test(`${what} acknowledges nothing more, and closes`, async () => {
      const log = await opened();
      await log.append('events', ['1']);
      commit();
      await expect(log.append('events', ['2'])).rejects.toThrow(coded('LOG_FENCED', said));
      await expect(log.append('events', ['3'])).rejects.toThrow(coded('LOG_FENCED', said));
      await log.close();
    });

    test(`${what} says so also while nobody appends`, async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
      const log = await opened();
      vi.advanceTimersByTime(CHECK_INTERVAL_MS);
      expect(log.health).toBe('ok');
      commit();
      vi.advanceTimersByTime(CHECK_INTERVAL_MS);
      expect(log.health).toBe('failed');
    });
  }

  // SPEC L4
  test('are deleted under a primary acknowledges nothing more, and the primary says that its log has failed', async () => {
    const primary = await createPrimary({ name: 'example.com', log: sqliteLog({ path }), streams: STREAMS });
    toClose.push(primary);
    await primary.append('events', [1]);
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`);
    const appends = await Promise.allSettled(Array.from({ length: 60 }, async (_, i) => primary.append('events', [i])));
    for (const append of appends) expect(append).toMatchObject({ status: 'rejected', reason: { code: 'LOG_FENCED' } });
    expect(primary.status().log).toBe('failed');
    await primary.close();
    expect(existsSync(path)).toBe(false);
  });

  test('are deleted under a primary serves no rows from then on, not even those in memory', async () => {
    const primary = await createPrimary({ name: 'example.com', log: sqliteLog({ path }), streams: STREAMS });
    toClose.push(primary);
    const { port } = (await primary.listen({ host: '127.0.0.1', port: 0 })) as { port: number };
    await primary.append('events', [1]);
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`);
    await expect(primary.append('events', [2])).rejects.toThrow(coded('LOG_FENCED'));
    const worker = createWorker({ name: 'reader', server: 'example.com', connect: { host: '127.0.0.1', port } });
    toClose.push({ close: () => worker.stop() });
    const came: unknown[] = [];
    worker.subscribe('events', { from: 'start' }, ({ rows }) => void came.push(...rows));
    void worker.start().catch(() => {});
    await once(worker, 'connected');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect({ isLive: worker.isLive, came }).toEqual({ isLive: false, came: [] });
  });

  test('were replaced leaves the new ones as they are when it closes', async () => {
    const log = await opened();
    await log.append('events', ['"old"']);
    for (const suffix of ['', '-wal', '-shm']) renameSync(`${path}${suffix}`, `${path}.old${suffix}`);
    writeFileSync(path, 'new');
    writeFileSync(`${path}-wal`, 'new WAL');
    await expect(log.append('events', ['2'])).rejects.toThrow(coded('LOG_FENCED'));
    await log.close();
    expect([path, `${path}-wal`].map((file) => readFileSync(file, 'utf8'))).toEqual(['new', 'new WAL']);
  });

  test('was written over by an older copy stops, and leaves the copy as it is', async () => {
    const first = await opened();
    await first.append('events', ['1']);
    await first.close();
    copyFileSync(path, `${path}.backup`);
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const log = await opened();
    await log.append('events', ['2']);
    copyFileSync(`${path}.backup`, path);
    vi.advanceTimersByTime(CHECK_INTERVAL_MS);
    expect(log.health).toBe('failed');
    await expect(log.append('events', ['3'])).rejects.toThrow(coded('LOG_FENCED'));
    await log.close();
    expect(readFileSync(path).equals(readFileSync(`${path}.backup`))).toBe(true);
  });

  test('was written over by another log stops', async () => {
    const otherPath = join(directory, 'other.db');
    await (await opened(otherPath)).close();
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const log = await opened();
    copyFileSync(otherPath, path);
    vi.advanceTimersByTime(CHECK_INTERVAL_MS);
    await expect(log.append('events', ['1'])).rejects.toThrow(coded('LOG_FENCED', 'content was replaced'));
  });

  test('someone writes to who opens it through SQLite goes on', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const log = await opened();
    const person = new Database(path);
    person.exec('CREATE TABLE notes (text TEXT)');
    person.pragma('wal_checkpoint(PASSIVE)');
    person.close();
    for (let i = 0; i < 3; i++) {
      vi.advanceTimersByTime(CHECK_INTERVAL_MS);
      expect(log.health).toBe('ok');
      await log.append('events', ['1']);
    }
  });
});

describe('what a log makes', () => {
  const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8);

  // SPEC L8
  test('is for its owner alone: files 0600, directories 0700', async () => {
    const before = process.umask(0);
    try {
      path = join(directory, 'a', 'b', 'log.db');
      const log = await opened();
      await log.append('events', ['1']);
    } finally {
      process.umask(before);
    }
    for (const suffix of ['', '-wal', '-shm', '.lock']) expect(modeOf(`${path}${suffix}`), suffix).toBe('600');
    for (const made of ['a', 'a/b']) expect(modeOf(join(directory, made))).toBe('700');
  });

  test('was there before keeps its mode', async () => {
    await (await opened()).close();
    chmodSync(path, 0o640);
    chmodSync(directory, 0o750);
    const log = await opened();
    await log.append('events', ['1']);
    expect([path, `${path}-wal`].map(modeOf)).toEqual(['640', '640']);
    expect(modeOf(directory)).toBe('750');
  });
});
