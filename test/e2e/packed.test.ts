/** What npm would publish: its files, and where the links in its documents lead. */

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const { repository } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  repository: { url: string };
};
/** Where the files of the project can be read. */
const HOME = repository.url.replace(/^git\+(.*)\.git$/, '$1/blob/main/');

/** Paths in the package. */
let files: readonly string[];

beforeAll(async () => {
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
    cwd: ROOT,
  });
  const [{ files: packed }] = JSON.parse(stdout) as [{ files: ReadonlyArray<{ path: string }> }];
  files = packed.map((file) => file.path);
});

test('the package has what runs and what is read, and no sources, source maps or tests', () => {
  const unwanted = files.filter((file) => /^(src|test|bench|scripts)\/|\.map$|\.test\.|\.tsbuildinfo$/.test(file));
  expect(unwanted).toEqual([]);
  for (const wanted of ['bin/rowcast.js', 'dist/index.d.ts', 'README.md', 'LICENSE', 'docs/errors.md', 'SECURITY.md'])
    expect(files).toContain(wanted);
  expect(files.filter((file) => /^dist\/.*\.ts$/.test(file) && !file.endsWith('.d.ts'))).toEqual([]);
});

// SPEC N3
test('every link in a document of the package leads to a file of the package, or to the web', async () => {
  const documents = files.filter((file) => file.endsWith('.md'));
  expect(documents.length).toBeGreaterThan(20);
  const broken: string[] = [];
  for (const document of documents) {
    for (const link of linksOf(await readFile(path.join(ROOT, document), 'utf8'))) {
      if (!(await leadsSomewhere(document, link))) broken.push(`${document}: ${link}`);
    }
  }
  expect(broken).toEqual([]);
});

/** `[text](link)` and `[name]: link`. */
function linksOf(text: string): string[] {
  return [...text.matchAll(/\]\(<?([^)\s>]+)>?\)|^\[[^\]]+\]: (\S+)$/gm)].map(
    ([, inline, named]) => (inline ?? named)!,
  );
}

async function leadsSomewhere(document: string, link: string): Promise<boolean> {
  // Files that are not packed are linked to where the project lives, and must be there.
  if (link.startsWith(HOME)) return existsSync(path.join(ROOT, link.slice(HOME.length).split('#')[0]!));
  if (/^(https?:|mailto:)/.test(link)) return true;
  const [to, anchor] = link.split('#') as [string, string?];
  const target = to === '' ? document : path.posix.join(path.posix.dirname(document), to);
  if (!files.includes(target)) return false;
  return anchor === undefined || !target.endsWith('.md') || (await anchorsOf(target)).includes(anchor);
}

/** As GitHub and npm name headings. */
async function anchorsOf(document: string): Promise<string[]> {
  const text = await readFile(path.join(ROOT, document), 'utf8');
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  );
}
