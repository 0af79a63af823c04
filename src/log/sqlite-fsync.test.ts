/**
 * A log when the system reports a failed fsync. A library placed before the system's makes it fail
 * (test/fixtures/fsync-shim.c).
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, onTestFinished, test } from 'vitest';
import { compilePreload, whyNoPreload } from '../../test/support/preload.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));

const where = whyNoPreload === undefined ? '' : ` (not here: ${whyNoPreload})`;

test.skipIf(whyNoPreload !== undefined)(
  `after an fsync that failed the outcome is unknown until the log is opened again; of a directory, EINVAL is no failure${where}`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'rowcast-fsync-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const shim = compilePreload(fixture('fsync-shim.c'), directory);
    const args = [
      '--import',
      fixture('typescript-hooks.js'),
      fixture('sqlite-fsync.ts'),
      join(directory, 'a', 'log.db'),
    ];
    const env = { ...process.env, LD_PRELOAD: shim, FSYNC_FAULT: join(directory, 'fault') };
    const said = execFileSync(process.execPath, args, { env, encoding: 'utf8' });
    expect(said.trim().split('\n')).toEqual([
      'token 1, ok',
      'LOG_OUTCOME_UNKNOWN, failed',
      'LOG_OUTCOME_UNKNOWN, failed',
      'token 2, ok',
    ]);
  },
  60_000,
);
