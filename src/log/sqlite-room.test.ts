/** A disk that is full to the last byte, for real: a small one in memory, which takes root to mount. */

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { systemCode } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import type { Log } from './log.ts';
import { sqliteLog } from './sqlite.ts';

const RESERVE_BYTES = 8 * 1024 * 1024;
const ROW = JSON.stringify('x'.repeat(20_000));
const STREAMS = [defineStream('events'), defineStream('bounded', { retain: { rows: 50 } })];
const full = expect.objectContaining({ code: 'LOG_FULL' }) as Error;

const disk = mkdtempSync(join(tmpdir(), 'rowcast-room-'));
const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk]);
const isMounted = status === 0;
afterAll(() => {
  if (isMounted) spawnSync('umount', [disk]);
  rmSync(disk, { recursive: true, force: true });
});

const where = isMounted ? '' : ', not here: it takes root to mount one';
describe.skipIf(!isMounted)(`on a small disk${where}`, () => {
  let path = '';
  const toClose: Log[] = [];
  beforeEach(() => {
    path = join(mkdtempSync(join(disk, 'log-')), 'log.db');
  });
  afterEach(async () => {
    for (const log of toClose.splice(0)) await log.close();
    for (const one of [path, ballast()]) rmSync(join(one, '..'), { recursive: true, force: true });
  });

  const ballast = (): string => join(path, '..', 'ballast');

  async function opened(): Promise<Log> {
    const log = sqliteLog({ path });
    await log.open(openOptions(STREAMS));
    toClose.push(log);
    return log;
  }

  async function appendUntilFull(log: Log, stream = 'events'): Promise<number> {
    for (let count = 0; ; count++) {
      try {
        await log.append(stream, [ROW]);
      } catch (error) {
        expect(error).toEqual(full);
        return count;
      }
    }
  }

  /** Another file takes all that the disk still has. */
  function fillDisk(): void {
    const file = openSync(ballast(), 'a');
    for (let bytes = 64 * 1024; bytes >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(bytes));
      } catch (error) {
        expect(systemCode(error)).toBe('ENOSPC');
        bytes >>= 1;
      }
    }
    closeSync(file);
    expect(statfsSync(disk).bavail).toBe(0);
  }

  const reserved = (): number => statSync(`${path}.reserve`).size;

  // SPEC L24
  test('a disk that is full to the last byte can be trimmed, again and again, and appends go on', async () => {
    const log = await opened();
    await appendUntilFull(log);
    fillDisk();
    await log.trim('events', log.bounds('events').latest - 1);
    const kept: number[] = [];
    for (let cycle = 0; cycle < 4; cycle++) {
      // What is trimmed is removed in steps.
      for (let i = 0; i < 30; i++) await vi.waitFor(() => log.append('events', [ROW]), 8_000);
      await appendUntilFull(log);
      fillDisk();
      await log.trim('events', log.bounds('events').latest - 1);
      kept.push(reserved());
    }
    expect(kept.at(-1), 'no cycle takes more of the reserve').toBe(kept[0]);
  });

  test('a stream is deleted, and the log closed and opened again', async () => {
    const log = await opened();
    await appendUntilFull(log);
    fillDisk();
    await log.close();
    fillDisk();
    const again = await opened();
    await again.delete('events');
    await vi.waitFor(() => again.append('events', [ROW]), 8_000);
    expect(again.bounds('events').latest).toBe(1);
  });

  test('an append drops what retention keeps no longer, and goes on by itself', async () => {
    const log = await opened();
    for (let i = 0; i < 60; i++) await log.append('bounded', [ROW]);
    await appendUntilFull(log);
    fillDisk();
    for (let i = 0; i < 100; i++) await log.append('bounded', [ROW]);
    expect(log.bounds('bounded').latest).toBe(160);
  });

  test('a log that was killed on a full disk is opened and trimmed', async () => {
    const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
    const args = ['--import', fixture('typescript-hooks.js'), fixture('sqlite-killed.ts'), path, 'fill'];
    expect(spawnSync(process.execPath, args)).toMatchObject({ signal: 'SIGKILL' });
    fillDisk();
    const log = await opened();
    const { latest } = log.bounds('events');
    expect(latest).toBeGreaterThan(100);
    await log.trim('events', latest - 1);
    await vi.waitFor(() => log.append('events', [ROW]), 8_000);
    expect(log.bounds('events').earliest).toBe(latest);
  }, 30_000);

  test('the database grows again once there is room for the whole reserve', async () => {
    const log = await opened();
    fillDisk();
    await appendUntilFull(log);
    await log.trim('events', log.bounds('events').latest);
    await log.delete('events');
    await appendUntilFull(log);
    rmSync(ballast());
    let count = 0;
    await vi.waitFor(() => log.append('events', [ROW]), 8_000);
    count += await appendUntilFull(log);
    expect(count * ROW.length).toBeGreaterThan(2_000_000);
    expect(reserved()).toBe(RESERVE_BYTES);
  });
});
