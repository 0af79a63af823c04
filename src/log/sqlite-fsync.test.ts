/** What a log does when the system says that fsync failed: by a library that is put before the system's (test/fixtures/fsync-shim.c). */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, onTestFinished, test } from 'vitest';

const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));

function hasCompiler(): boolean {
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return process.platform === 'linux';
  } catch {
    return false;
  }
}

const isTried = hasCompiler();
const title = isTried
  ? 'after an fsync that failed the outcome is unknown until the log is opened again; of a directory, EINVAL is no failure'
  : 'an fsync that fails is not tried here: there is no gcc, or this is not Linux';

// oxlint-disable-next-line vitest/valid-title -- it says what is not tried, and where
test(title, () => {
  if (!isTried) return;
  const directory = mkdtempSync(join(tmpdir(), 'rowcast-fsync-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const shim = join(directory, 'shim.so');
  execFileSync('gcc', ['-shared', '-fPIC', '-o', shim, fixture('fsync-shim.c'), '-ldl']);
  const args = ['--import', fixture('typescript-hooks.js'), fixture('sqlite-fsync.ts'), join(directory, 'a', 'log.db')];
  const env = { ...process.env, LD_PRELOAD: shim, FSYNC_FAULT: join(directory, 'fault') };
  const said = execFileSync(process.execPath, args, { env, encoding: 'utf8' });
  expect(said.trim().split('\n')).toEqual([
    'token 1, ok',
    'LOG_OUTCOME_UNKNOWN, failed',
    'LOG_OUTCOME_UNKNOWN, failed',
    'token 2, ok',
  ]);
}, 60_000);
