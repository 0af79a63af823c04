/**
 * Compiles src into dist. Builds beside dist and swaps at the end, so that parallel builds and
 * running programs never see half of it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourcesHash, stampFile } from './sources.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = path.join(root, 'dist');

// Hash before the compiler reads: a file changed meanwhile then makes the stamp old, never the
// build.
const hash = sourcesHash(root);
const fresh = mkdtempSync(path.join(root, '.build-'));
try {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const { status, error } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], {
    cwd: root,
    stdio: 'inherit',
  });
  if (error !== undefined) throw error;
  if (status !== 0) {
    console.error('rowcast: the build failed (the compiler says why above); dist is as it was before.');
    process.exitCode = 1;
  } else {
    writeFileSync(path.join(fresh, stampFile), `${hash}\n`);
    swap(fresh, dist);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

/** Replaces `current` with `next`. Of two builds at the same moment, the later one stays. */
function swap(next, current) {
  for (let attempt = 0; ; attempt++) {
    const old = `${next}-old`;
    try {
      if (existsSync(current)) renameSync(current, old);
      renameSync(next, current);
      return;
    } catch (error) {
      // ENOENT: another build moved dist away between our two steps. EEXIST, ENOTEMPTY: it put its
      // own there.
      if (attempt >= 20 || !['ENOENT', 'EEXIST', 'ENOTEMPTY', 'EPERM'].includes(error.code)) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}
