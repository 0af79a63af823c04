/** What `import 'rowcast'` costs. Runs what `npm run build` has built, in a process of its own. */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const door = new URL('../../dist/index.js', import.meta.url).href;
const sqlite = new URL('../../dist/log/sqlite.js', import.meta.url).href;

const PROBE = `
const { createRequire } = await import('node:module');
const loaded = [];
const { dlopen } = process;
process.dlopen = (module, file, ...rest) => {
  loaded.push(file);
  return dlopen.call(process, module, file, ...rest);
};
const began = performance.now();
await import(process.argv[1]);
const tookMs = performance.now() - began;
const required = Object.keys(createRequire(process.cwd() + '/').cache);
const objects = process.report.getReport().sharedObjects;
console.log(JSON.stringify({ tookMs, loaded, required, nodeFiles: objects.filter((file) => file.endsWith('.node')) }));
`;

interface Probe {
  readonly tookMs: number;
  readonly loaded: readonly string[];
  readonly required: readonly string[];
  readonly nodeFiles: readonly string[];
}

async function probe(url: string): Promise<Probe> {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', PROBE, url], { cwd });
  return JSON.parse(stdout) as Probe;
}

test('importing rowcast loads no native module and no package', async () => {
  const { loaded, required, nodeFiles } = await probe(door);
  expect(loaded).toEqual([]);
  expect(nodeFiles).toEqual([]);
  expect(required.filter((file) => file.includes('node_modules'))).toEqual([]);
});

test('the probe would notice: the log on disk loads its native module when it is opened, its package when it is imported', async () => {
  const { required } = await probe(sqlite);
  expect(required.some((file) => file.includes('better-sqlite3'))).toBe(true);
});

test('the public types lead to no package whose types are not installed with Rowcast', () => {
  const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    exports: Readonly<Record<string, { readonly types?: string }>>;
  };
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (url: URL): void => {
    if (files.has(url.href)) return;
    files.add(url.href);
    for (const [, name] of readFileSync(url, 'utf8').matchAll(/(?:from |import\()'([\w@./-]+)'/g)) {
      if (name!.startsWith('.')) visit(new URL(name!.replace(/\.ts$/, '.d.ts'), url));
      else if (!name!.startsWith('node:')) packages.add(name!);
    }
  };
  for (const { types } of Object.values(exports)) {
    if (types !== undefined) visit(new URL(`../../${types}`, import.meta.url));
  }
  expect(files.size).toBeGreaterThan(50);
  expect([...packages].filter((name) => !['rowcast', 'hono', 'fastify', 'express'].includes(name))).toEqual([]);
});
