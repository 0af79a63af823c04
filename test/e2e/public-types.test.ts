/** What the public types of the package import, in what `npm run build` has built. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

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
