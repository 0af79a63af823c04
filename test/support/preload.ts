/**
 * C libraries that are loaded before the system's (LD_PRELOAD), so that a test sees a program's
 * system calls.
 */

import { spawnSync } from 'node:child_process';
import { basename, join } from 'node:path';

/** Why such a test cannot run on this system; undefined when it can. */
export const whyNoPreload: string | undefined =
  process.platform === 'linux' ? undefined : 'it needs LD_PRELOAD, which only Linux has';

/**
 * Compiles a C file to a library in the folder.
 * @returns its path, for LD_PRELOAD
 * @throws Error that says what to install
 */
export function compilePreload(source: string, folder: string): string {
  const library = join(folder, `${basename(source, '.c')}.so`);
  const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', '-o', library, source, '-ldl', '-pthread'];
  const { status, error, stderr } = spawnSync('gcc', flags, { encoding: 'utf8' });
  if (error !== undefined) {
    throw new Error(
      `gcc could not be started (${error.message}): it compiles a small library for this test. Install a C compiler, ` +
        'for example with `apt-get install gcc libc6-dev` or `dnf install gcc`.',
    );
  }
  if (status !== 0) throw new Error(`gcc could not compile ${source}:\n${stderr}`);
  return library;
}
