/** The WAL is bounded also while the thread that moves it does not come to work. */

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Database from 'better-sqlite3';
import { expect, onTestFinished, test, vi } from 'vitest';

import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import { sqliteLog } from './sqlite.ts';

vi.mock('node:worker_threads', () => ({
  /** A thread on a machine so busy that it never runs. */
  Worker: class {
    unref(): void {}
    on(): void {}
    once(_event: string, listener: () => void): void {
      listener();
    }
    postMessage(): void {}
  },
}));

const MIB = 1024 * 1024;
const ROW = `"${'x'.repeat(100_000)}"`;

test('appends beyond the bound are refused beside a reader, and go on once it has left', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rowcast-wal-thread-'));
  const path = join(directory, 'log.db');
  const log = sqliteLog({ path, synchronous: 'normal', maxWalBytes: 16 * MIB });
  await log.open(openOptions([defineStream('events', { retain: { rows: 10 } })]));
  onTestFinished(async () => {
    await log.close();
    rmSync(directory, { recursive: true });
  });
  const reader = new Database(path, { readonly: true });
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM streams').get();
  const walBytes = (): number => statSync(`${path}-wal`).size;
  let refused: unknown;
  const refusal = (): boolean => refused !== undefined;
  while (!refusal() && walBytes() < 64 * MIB) {
    await log.append('events', [ROW]).catch((error: unknown) => (refused = error));
  }
  expect(refused).toMatchObject({ name: 'LogError', code: 'LOG_FULL' });
  expect(walBytes()).toBeLessThan(24 * MIB);
  reader.close();
  await vi.waitFor(async () => log.append('events', [ROW]), { timeout: 5_000 });
});
