import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Hono } from 'hono';
import { describe, expect, onTestFinished, test, vi } from 'vitest';

import { defineStream } from '../core/model/stream.ts';
import type { BackupOptions, Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { removeStaleBackups, temporaryBackupPath } from '../log/temporary-backup.ts';
import { partPath } from '../log/whole-file.ts';
import { createPrimary } from '../primary/primary.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { createAdmin } from './admin.ts';

const CONTENT = 'x'.repeat(200_000);

interface Copying {
  readonly admin: Hono;
  readonly directory: string;
  /** Lets the copy that is being made end. */
  readonly finish: () => void;
  readonly begun: Promise<BackupOptions>;
}

/** A log that copies itself when the test says so. */
async function setUp(stopping?: AbortSignal): Promise<Copying> {
  const directory = mkdtempSync(join(tmpdir(), 'rowcast-backup-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  let finish = (): void => {};
  let begin: (options: BackupOptions) => void = () => {};
  const begun = new Promise<BackupOptions>((resolve) => (begin = resolve));
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const log: Log = Object.assign(memoryLog(), {
    path: join(directory, 'log.db'),
    backup: async (path: string, options: BackupOptions = {}) => {
      await writeFile(path, CONTENT, { flag: 'wx' });
      begin(options);
      const left = new Promise<never>((_, reject) => {
        options.signal?.addEventListener('abort', () => reject(options.signal!.reason as Error));
      });
      await Promise.race([finished, left]);
    },
  });
  const primary = await createPrimary({
    name: 'example.com',
    log,
    streams: [defineStream('events')],
    transport: createMemoryTransport(),
  });
  onTestFinished(() => primary.close());
  const admin = createAdmin({ primary, ...(stopping && { signal: stopping }) });
  return { admin, directory, finish, begun };
}

const BACKUP = 'http://127.0.0.1:9093/backup';

async function post(admin: Hono, init: RequestInit = {}): Promise<Response> {
  return admin.request(BACKUP, { method: 'POST', ...init });
}

describe('POST /backup', () => {
  test('answers with the whole copy, which leaves no file on the primary', async () => {
    const { admin, directory, finish } = await setUp();
    finish();
    const response = await post(admin);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(CONTENT.length));
    expect(readdirSync(directory)).toEqual([]);
    expect(await response.text()).toBe(CONTENT);
  });

  test('one copy is made at a time, and GET /backup says how far it is', async () => {
    const { admin, finish, begun } = await setUp();
    expect((await admin.request(BACKUP)).status).toBe(404);
    const first = post(admin);
    (await begun).onProgress!({ doneBytes: 50, totalBytes: 200 });
    expect(await (await admin.request(BACKUP)).json()).toEqual({ doneBytes: 50, totalBytes: 200 });
    const second = await post(admin);
    expect(second.status).toBe(409);
    expect(await second.json()).toMatchObject({ error: { code: 'BACKUP_RUNS' } });
    finish();
    expect((await first).status).toBe(200);
    expect((await admin.request(BACKUP)).status).toBe(404);
  });

  test.each(['has all of it', 'is gone'])(
    'a copy takes room until its client %s: so long no other is made',
    async (end) => {
      const { admin, finish } = await setUp();
      finish();
      const first = await post(admin);
      expect((await post(admin)).status).toBe(409);
      if (end === 'is gone') await first.body!.cancel();
      else await first.arrayBuffer();
      await vi.waitFor(async () => expect((await post(admin)).status).toBe(200));
    },
  );

  test('a client that goes away ends its copy', async () => {
    const { admin, directory, begun } = await setUp();
    const client = new AbortController();
    const response = post(admin, { signal: client.signal });
    await begun;
    client.abort();
    expect((await response).status).toBe(503);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('so does the end of the server, which answers 503', async () => {
    const stopping = new AbortController();
    const { admin, directory, begun } = await setUp(stopping.signal);
    const response = post(admin);
    await begun;
    stopping.abort();
    expect((await response).status).toBe(503);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a log that makes no backups is refused with 501', async () => {
    const primary = await createPrimary({
      name: 'example.com',
      log: memoryLog(),
      streams: [],
      transport: createMemoryTransport(),
    });
    onTestFinished(() => primary.close());
    const response = await post(createAdmin({ primary }));
    expect(response.status).toBe(501);
    expect(await response.json()).toMatchObject({ error: { code: 'NOT_SUPPORTED' } });
    await expect(primary.backup('x')).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });
});

test('copies whose process was killed are removed, and no other file', async () => {
  const { directory } = await setUp();
  const path = join(directory, 'log.db');
  const others = [
    'log.db',
    'log.db-wal',
    'other.db.backup-0123456789abcdef',
    'log.db.backup',
    'log.db.backup-2026-12-01',
    'log.db.backup-2026-12-01.0123456789abcdef.part',
  ];
  const copy = temporaryBackupPath(path);
  const parts = ['', '-journal'].map((suffix) => `${partPath(copy)}${suffix}`);
  for (const name of others) await writeFile(join(directory, name), '');
  for (const stale of [copy, `${copy}-journal`, ...parts]) await writeFile(stale, '');
  await removeStaleBackups(path);
  expect(readdirSync(directory).toSorted()).toEqual(others.toSorted());
});
