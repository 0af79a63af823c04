/**
 * Fuzzes for longer than the tests do: `npm run fuzz -- --minutes 10`. What fails prints the seed
 * and the command that replays it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '5' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`--minutes is a number above 0, not ${values.minutes}`);
  process.exit(2);
}
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const { status } = spawnSync(process.execPath, [vitest, 'run', '--project', 'fuzz'], {
  stdio: 'inherit',
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  // Each of the two large tests has the whole time, and they run beside each other.
  env: { ...process.env, FUZZ_SECONDS: String(minutes * 60) },
});
process.exitCode = status ?? 1;
