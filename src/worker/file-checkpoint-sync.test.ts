/** What a save has asked of the disk by the time it is over. */

import { type FileHandle, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Position } from '../core/model/position.ts';
import { fileCheckpoint } from './file-checkpoint.ts';

/** One sync: of what, how large it was, and which file had the name of the checkpoint then. */
interface Sync {
  readonly file: number;
  readonly size: number;
  readonly isDirectory: boolean;
  readonly named: number | undefined;
}

async function watchSyncs(directory: string, path: string): Promise<Sync[]> {
  const probe = await open(directory, 'r');
  const handles = Object.getPrototypeOf(probe) as Pick<FileHandle, 'sync' | 'datasync'>;
  await probe.close();
  const syncs: Sync[] = [];
  for (const call of ['sync', 'datasync'] as const) {
    const real = handles[call];
    const spy = vi.spyOn(handles, call).mockImplementation(async function (this: FileHandle) {
      const about = await this.stat();
      const named = await stat(path).then(
        (found) => found.ino,
        () => undefined,
      );
      await real.call(this);
      syncs.push({ file: about.ino, size: about.size, isDirectory: about.isDirectory(), named });
    });
    onTestFinished(() => spy.mockRestore());
  }
  return syncs;
}

test('a save is over when its bytes are on the disk, and the name of a file that is new, also after a power cut', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-checkpoint-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'reader-1.checkpoint');
  const syncs = await watchSyncs(directory, path);
  const checkpoint = fileCheckpoint(path);
  await checkpoint.load();
  let before: number | undefined;
  for (const token of [1, 2, 3]) {
    const events: Position = { stream: 'events', token, history: '8f3c1d2e4b5a6978.7.a1b2c3d4' };
    const all = new Map([['events', events]]);
    syncs.length = 0;
    await checkpoint.save(all, all);
    const { ino, size } = await stat(path);
    const whole = syncs.findIndex((sync) => sync.file === ino && sync.size === size);
    expect(whole, 'the whole file was synced').toBeGreaterThanOrEqual(0);
    const isNew = ino !== before;
    if (isNew) {
      expect(syncs[whole]!.named, 'before it got its name').toBe(before);
      const ofName = syncs.findIndex(({ isDirectory, named }) => isDirectory && named === ino);
      expect(ofName, 'and its name after it').toBeGreaterThan(whole);
    }
    before = ino;
  }
});

test('a save that fails once the file has its name is no save of another worker: the next one succeeds', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-checkpoint-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const checkpoint = fileCheckpoint(join(directory, 'reader-1.checkpoint'));
  const events: Position = { stream: 'events', token: 1, history: '8f3c1d2e4b5a6978.7.a1b2c3d4' };
  const all = new Map([['events', events]]);
  await checkpoint.load();
  const probe = await open(directory, 'r');
  const handles = Object.getPrototypeOf(probe) as Pick<FileHandle, 'sync'>;
  await probe.close();
  const real = handles.sync;
  const spy = vi.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
    if ((await this.stat()).isDirectory()) throw Object.assign(new Error('the disk is gone'), { code: 'EIO' });
    await real.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  await expect(checkpoint.save(all, all)).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
  spy.mockRestore();
  await checkpoint.save(all, all);
  expect(await checkpoint.load()).toEqual(all);
});
