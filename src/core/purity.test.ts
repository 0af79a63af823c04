/** The core has no world of its own: what it knows of time, chance, files and sockets it is given. */

import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

/** Where time and chance come from, for those outside who hand them in. */
const sourcesOfTheWorld = ['src/base/clock.ts', 'src/base/random.ts'];
const worldly =
  /\b(?:Date\.now|performance\.|Math\.random|crypto\.|set(?:Timeout|Interval|Immediate)\(|process\.|Buffer\b)/;

async function sourcesOf(folder: string): Promise<string[]> {
  const files = await readdir(new URL(`../../${folder}`, import.meta.url), { recursive: true });
  return files.map((file) => `${folder}/${file}`).filter((file) => /(?<!\.test)\.ts$/.test(file));
}

// SPEC E3
test('base and core import nothing but themselves, and reach for no clock, chance or global of Node', async () => {
  const files = [...(await sourcesOf('src/base')), ...(await sourcesOf('src/core'))];
  expect(files.length).toBeGreaterThan(30);
  let imports = 0;
  for (const file of files) {
    const text = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
    for (const [, from] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)) {
      imports++;
      expect(from, `an import of ${file}`).toMatch(/^\.\.?\//);
      expect(join(dirname(file), from!), `an import of ${file}`).toMatch(/^src\/(?:base|core)\//);
    }
    if (sourcesOfTheWorld.includes(file)) continue;
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(worldly.exec(code)?.[0], `what ${file} reaches for`).toBeUndefined();
  }
  expect(imports).toBeGreaterThan(100);
});
