import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { test } from 'vitest';

import { logSuite } from '../testing/log-suite.ts';
import { sqliteLog } from './sqlite.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));

// Starting and killing processes may take its time on a busy machine.
// oxlint-disable-next-line vitest/valid-title -- the suite names its tests
logSuite((name, run) => test(name, run, 30_000), {
  name: 'sqlite log',
  create: ({ directory, clock }) => sqliteLog({ path: join(directory, 'log.db'), clock }),
  durable: true,
  writer: (directory) => [process.execPath, '--import', fixture('typescript-hooks.js'), fixture('sqlite-writer.ts'), join(directory, 'log.db')],
});
