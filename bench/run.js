/**
 * Measures, and prints a table for each part.
 *
 *   npm run bench                       everything
 *   npm run bench -- caches             one part
 *   npm run bench -- caches --json FILE also writes the results, with the machine
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import * as caches from './caches.js';
import { formatTable } from './table.js';

/** Each part gives tables: `{ title, unit, rows: [{ name, values }] }`, a value for each round. */
const parts = { caches };

const { positionals, values } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } });
const unknown = positionals.filter((name) => !Object.hasOwn(parts, name));
if (unknown.length > 0) {
  console.error(`bench: there is no part ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}

const machine = { node: process.version, cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length };
console.log(`node ${machine.node}, ${machine.cores} cores of ${machine.cpu}\n`);
const results = {};
for (const name of positionals.length > 0 ? positionals : Object.keys(parts)) {
  results[name] = await parts[name].run((table) => console.log(formatTable(table)));
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine, date: new Date().toISOString(), results }, null, 2)}\n`);
