/** What each entry of the package and each command loads: as little as it needs. Counts modules, not time. */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningProcess, runNode } from '../support/processes.ts';

const ROOT = new URL('../../', import.meta.url);
const BIN = fileURLToPath(new URL('bin/rowcast.js', ROOT));
const TRACE = fileURLToPath(new URL('test/fixtures/module-trace.js', ROOT));

let folder: string;
let traces = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-modules-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

interface Loaded {
  /** Names of packages from npm. */
  readonly packages: readonly string[];
  /** Our own files, as paths in `dist`. */
  readonly files: readonly string[];
}

/** Runs node until it ends, or until `until` has happened; then a signal ends it. */
async function loadedBy(argv: readonly string[], until?: (process: RunningProcess) => Promise<void>): Promise<Loaded> {
  const trace = join(folder, String((traces += 1)));
  const process = runNode(['--import', TRACE, ...argv], { cwd: fileURLToPath(ROOT), env: { MODULE_TRACE: trace } });
  if (until !== undefined) {
    await until(process);
    await process.kill('SIGTERM');
  }
  expect(await process.ended, process.stderr()).toBe(0);
  const urls = (await readFile(trace, 'utf8')).split('\n');
  // The folder of packages may be a link to another place.
  const packages = urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []);
  const dist = new URL('dist/', ROOT).href;
  return {
    packages: [...new Set(packages)].toSorted(),
    files: urls.filter((url) => url.startsWith(dist)).map((url) => url.slice(dist.length)),
  };
}

const foldersOf = ({ files }: Loaded): string[] => [...new Set(files.map((file) => file.split('/')[0]!))];

describe.concurrent('an entry of the package', () => {
  // SPEC N1
  test('the main entry loads no package, no native module, and neither test tools, admin nor command line', async () => {
    const loaded = await loadedBy(['--input-type=module', '-e', "import 'rowcast'"]);
    expect(loaded.packages).toEqual([]);
    expect(foldersOf(loaded).toSorted()).toEqual(
      ['base', 'core', 'events', 'index.js', 'log', 'primary', 'transport', 'worker'].toSorted(),
    );
    expect(loaded.files.filter((file) => file.startsWith('log/sqlite'))).toEqual([]);
  });

  test.each([
    ['rowcast/log', []],
    // The driver is loaded when a log is opened.
    ['rowcast/log/sqlite', []],
    ['rowcast/cache', ['lru-cache']],
    ['rowcast/cache/express', []],
    ['rowcast/cache/hono', []],
    ['rowcast/cache/fastify', []],
    ['rowcast/synapse', ['lru-cache']],
    ['rowcast/testing', []],
  ])('%s loads of all packages %j', async (entry, packages) => {
    const loaded = await loadedBy(['--input-type=module', '-e', `import '${entry}'`]);
    expect(loaded.packages).toEqual(packages);
    const folders = foldersOf(loaded);
    for (const other of ['admin', 'cli', 'observe']) expect(folders).not.toContain(other);
    expect(folders.includes('testing'), 'the test tools').toBe(entry === 'rowcast/testing');
  });
});

describe.concurrent('the command line', () => {
  // SPEC N2
  test('--version and --help load only what parses arguments, and no command', async () => {
    const calls = [['--version'], ['--help'], ['serve', '--help'], ['follow', '--help']];
    for (const loaded of await Promise.all(calls.map(async (argv) => loadedBy([BIN, ...argv])))) {
      expect(loaded.packages).toEqual(['commander']);
      expect(loaded.files.length).toBeLessThan(25);
      for (const part of ['primary', 'worker', 'log', 'observe', 'synapse'])
        expect(foldersOf(loaded)).not.toContain(part);
    }
  });

  test.each([
    [
      'only a primary with an admin port loads the HTTP server',
      '127.0.0.1:0',
      ['@hono/node-server', 'commander', 'hono', 'lru-cache'],
    ],
    ['a primary in memory without one loads neither HTTP server nor native module', 'none', ['commander', 'lru-cache']],
  ])('%s', async (_name, admin, packages) => {
    const argv = [BIN, 'serve', '--listen', '127.0.0.1:0', '--log', 'memory:', '--admin', admin];
    const loaded = await loadedBy(argv, async (process) => process.saw(/Try next/));
    expect(loaded.packages).toEqual(packages);
  });
});
