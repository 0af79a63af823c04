/**
 * Measures, and prints a table for each part.
 *
 *   npm run bench                          everything
 *   npm run bench -- fanout --n 1,4,8      one part, with an option of its own
 *   npm run bench -- fanout --peers redis  beside other buses
 *   npm run bench -- caches --json FILE    also writes the results, with the machine
 */
import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import * as append from './parts/append.js';
import * as caches from './parts/caches.js';
import * as catchUp from './parts/catch-up.js';
import * as codec from './parts/codec.js';
import * as fanout from './parts/fanout.js';
import * as latency from './parts/latency.js';
import * as scale from './parts/scale.js';
import * as slowReader from './parts/slow-reader.js';
import * as streams from './parts/streams.js';
import { formatTable, isMet } from './table.js';

/**
 * Each part has `measure(options)`, which yields lists of tables (table.js). It may have `options`
 * of its own.
 */
const parts = {
  fanout,
  'catch-up': catchUp,
  latency,
  append,
  scale,
  streams,
  'slow-reader': slowReader,
  codec,
  caches,
};

const { positionals, values } = parse();
const machine = {
  node: process.version,
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
};
console.log(`node ${machine.node}, ${machine.cores} cores of ${machine.cpu}\n`);
const results = {};
for (const name of positionals.length > 0 ? positionals : Object.keys(parts)) {
  results[name] = [];
  for await (const tables of parts[name].measure(values)) {
    for (const table of tables) console.log(formatTable(table));
    results[name].push(...tables);
  }
}
const missed = Object.values(results).flatMap((tables) =>
  tables.flatMap(({ title, rows }) =>
    rows.filter((row) => isMet(row) === false).map(({ name }) => `${title}: ${name}`),
  ),
);
console.log(
  missed.length === 0
    ? 'Everything that was wanted is met.'
    : `Missed:\n${missed.map((what) => `  ${what}`).join('\n')}`,
);
if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ machine, date: new Date().toISOString(), results: withoutCycles(results) }, null, 2)}\n`,
  );

function parse() {
  const own = Object.assign({}, ...Object.values(parts).map(({ options = {} }) => options));
  try {
    const parsed = parseArgs({ allowPositionals: true, options: { json: { type: 'string' }, ...own } });
    const unknown = parsed.positionals.filter((name) => !Object.hasOwn(parts, name));
    if (unknown.length > 0)
      throw new Error(`there is no part ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`);
    for (const { check } of Object.values(parts)) check?.(parsed.values);
    return parsed;
  } catch (error) {
    console.error(`bench: ${error.message}`);
    process.exit(2);
  }
}

/** In the file a base is a name, not a copy. */
function withoutCycles(value) {
  return JSON.parse(JSON.stringify(value, (key, inner) => (key === 'base' ? inner.name : inner)));
}
