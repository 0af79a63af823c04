/**
 * Changes the sources in small ways, one at a time, and says which changes no test notices
 * (docs/mutants.md). Works on copies in a temporary folder, so the checkout stays as it is.
 *
 *   npm run mutants -- [--file src/core/follow] [--max 60] [--jobs 1] [--seed 7] [--list]
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutantsOf } from './mutate.js';

/** Settles once the wider tests have passed without a mutant. */
let widerPasses;
const root = fileURLToPath(new URL('..', import.meta.url));
/** Everything that a test may read. */
const COPIED = [
  'src',
  'test',
  'docs',
  'scripts',
  'bin',
  'vitest.config.ts',
  'tsconfig.json',
  'package.json',
  'ARCHITECTURE.md',
];
/** Tests of the parts that stand on the core. They run where the tests of the folder noticed nothing. */
const WIDER = ['src/base', 'src/core', 'src/primary', 'src/worker'];
/** A mutant that loops for ever is noticed too. */
const TIMEOUT_MS = 300_000;

const { values } = parseArgs({
  options: {
    file: { type: 'string', multiple: true, default: ['src/base', 'src/core'] },
    max: { type: 'string', default: '60' },
    jobs: { type: 'string', default: '1' },
    seed: { type: 'string', default: process.env.SEED ?? String(1 + Math.floor(Math.random() * 1e9)) },
    list: { type: 'boolean', default: false },
  },
});

const all = values.file
  .flatMap(sourcesUnder)
  .flatMap((file) => mutantsOf(file, readFileSync(join(root, file), 'utf8')));
const sample = shuffled(all, Number(values.seed)).slice(0, Number(values.max));
console.log(`${sample.length} of ${all.length} mutants, seed ${values.seed}`);
if (values.list) for (const mutant of sample) console.log(describe(mutant));
else await tryAll();

async function tryAll() {
  const places = Array.from({ length: Number(values.jobs) }, makeCopy);
  try {
    for (const folder of new Set(sample.map(({ file }) => dirname(file)))) await expectPass(places[0], [folder]);
    const left = [...sample];
    const survivors = [];
    let done = 0;
    await Promise.all(
      places.map(async (place) => {
        for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
          const isNoticed = await isNoticedAt(place, mutant);
          if (!isNoticed) survivors.push(mutant);
          console.log(`${++done} of ${sample.length} ${isNoticed ? 'noticed ' : 'SURVIVED'} ${describe(mutant)}`);
        }
      }),
    );
    console.log(
      `\n${done - survivors.length} of ${done} noticed (${Math.round((1 - survivors.length / done) * 100)} %).`,
    );
    for (const mutant of survivors.toSorted((a, b) => (describe(a) < describe(b) ? -1 : 1)))
      console.log(describe(mutant));
  } finally {
    for (const place of places) rmSync(place, { recursive: true });
  }
}

async function isNoticedAt(place, mutant) {
  if (!(await passesWith(mutant, place, [dirname(mutant.file)]))) return true;
  // Only now is it worth knowing that these pass without it.
  widerPasses ??= expectPass(place, WIDER);
  await widerPasses;
  return !(await passesWith(mutant, place, WIDER));
}

async function passesWith({ file, start, end, replacement }, place, folders) {
  const path = join(place, file);
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.slice(0, start) + replacement + text.slice(end));
  try {
    return await passes(place, folders);
  } finally {
    writeFileSync(path, text);
  }
}

async function expectPass(place, folders) {
  if (!(await passes(place, folders)))
    throw new Error(`tests of ${folders.join(', ')} fail without a mutant: mend them first`);
}

/** Runs tests in a copy until the first one fails. */
function passes(place, folders) {
  const args = ['run', '--project', 'unit', '--bail', '1', '--maxWorkers', '1', ...folders];
  const child = spawn(process.execPath, [join(place, 'node_modules/vitest/vitest.mjs'), ...args], {
    cwd: place,
    stdio: 'ignore',
    detached: true,
  });
  return new Promise((resolve) => {
    // Its workers are of its process group, and would go on without it.
    const timer = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

function makeCopy() {
  const place = mkdtempSync(join(tmpdir(), 'rowcast-mutants-'));
  for (const name of COPIED) cpSync(join(root, name), join(place, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(place, 'node_modules'));
  return place;
}

function sourcesUnder(path) {
  const files = statSync(join(root, path)).isFile()
    ? [path]
    : readdirSync(join(root, path), { recursive: true, encoding: 'utf8' }).map((name) => `${path}/${name}`);
  return files.filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts')).toSorted();
}

function describe({ file, line, before, replacement }) {
  const short = (text) => text.replaceAll(/\s+/g, ' ').slice(0, 70);
  return `${file}:${line}  ${short(before)}  ->  ${short(replacement) || '(nothing)'}`;
}

/** The same order for the same seed. */
function shuffled(items, seed) {
  const result = [...items];
  let state = seed >>> 0 || 1;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}
