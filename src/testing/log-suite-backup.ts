/** The part of the log suite on backups. */

import assert from 'node:assert/strict';
import { access, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { BackupProgress } from '../core/model/backup.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Log } from '../log/log.ts';
import {
  type CreateLog,
  type LogPlace,
  numberedRows,
  openOptions,
  parseBatches,
  type TestAt,
} from './log-suite-place.ts';

const streams = [defineStream('events')];
const OTHERS = 0o077;

/** `restore` makes a log on a copy, given as `path`. */
export type RestoreLog = (options: { readonly path: string } & Pick<Parameters<CreateLog>[0], 'clock'>) => Log;

export function registerBackup(testAt: TestAt, restore: RestoreLog | undefined): void {
  const copyIn = ({ directory }: LogPlace): string => join(directory, 'copy of the log');

  testAt('a backup says how far it is, and is for its owner alone', async (place) => {
    const log = await place.open(streams);
    for (const row of numberedRows(20)) await log.append('events', [row]);
    const told: BackupProgress[] = [];
    await log.backup!(copyIn(place), { onProgress: (progress) => void told.push(progress) });
    assert.ok(told.length > 0);
    for (const [i, { doneBytes, totalBytes }] of told.entries())
      assert.ok(doneBytes >= (told[i - 1]?.doneBytes ?? 0) && doneBytes <= totalBytes, 'the progress to rise');
    assert.equal((await stat(copyIn(place))).mode & OTHERS, 0);
  });

  testAt('a backup never replaces a file', async (place) => {
    const log = await place.open(streams);
    await writeFile(copyIn(place), 'precious');
    await assert.rejects(log.backup!(copyIn(place)), { name: 'LogError' });
    assert.equal((await stat(copyIn(place))).size, 'precious'.length);
  });

  testAt('a backup that is given up leaves no file', async (place) => {
    const log = await place.open(streams);
    const reason = new Error('enough');
    await assert.rejects(log.backup!(copyIn(place), { signal: AbortSignal.abort(reason) }), reason);
    await assert.rejects(access(copyIn(place)));
  });

  if (restore === undefined) {
    testAt('the content of a backup is not tested: the suite was given no restore', async () => {});
    return;
  }
  testAt(
    'a backup while rows are appended has each row up to some place, and begins an era of its own',
    async (place) => {
      const log = await place.open(streams);
      const rows = numberedRows(200);
      for (const row of rows.slice(0, 100)) await log.append('events', [row]);
      const copying = log.backup!(copyIn(place));
      for (const row of rows.slice(100)) await log.append('events', [row]);
      await copying;
      const copy = restore({ path: copyIn(place), clock: place.clock });
      await copy.open(openOptions(streams));
      try {
        const page = await copy.read('events', { after: 0, maxBytes: 1_000_000 });
        const copied = parseBatches(page).map(({ rows: [row] }) => row);
        assert.ok(copied.length >= 100, 'what was appended before to be copied');
        assert.deepEqual(copied, rows.slice(0, copied.length));
        assert.equal(copy.id, log.id);
        assert.notEqual(copy.era, log.era);
        const ofCopy = await copy.append('events', ['"of the copy"']);
        assert.equal(await log.judge({ ...ofCopy, token: 200 }), 'reset');
      } finally {
        await copy.close();
      }
    },
  );
}
