/**
 * Runs the differential test of the memory log and the sqlite log (rowcast/testing). `SEED=n npm run
 * differential` replays one seed. Without it, it runs COUNT (200) seeds from a random first one and
 * prints the differences.
 */
import { join } from 'node:path';

import { memoryLog } from '../dist/log/memory.js';
import { sqliteLog } from '../dist/log/sqlite.js';
import { describeDifference, runDifferential } from '../dist/testing/differential-run.js';

const { SEED, COUNT = '200' } = process.env;

const supports = { ids: true, explicitTokens: true, relays: true, acknowledgements: true };
const subjects = {
  'memory log': {
    create: ({ clock }) => memoryLog({ clock }),
    supports: { ...supports, durable: false, backup: false },
  },
  'sqlite log': {
    // Nothing here cuts the power.
    create: ({ directory, clock }) => sqliteLog({ path: join(directory, 'log.db'), clock, synchronous: 'normal' }),
    supports: { ...supports, durable: true, backup: true },
  },
};

if (SEED === undefined) await runMany(1 + Math.floor(Math.random() * 1_000_000_000), positiveInteger('COUNT', COUNT));
else await runMany(positiveInteger('SEED', SEED), 1);

async function runMany(first, count) {
  const startedAt = performance.now();
  let operations = 0;
  let failed = 0;
  console.log(`${count} seeds from ${first}, with each log.`);
  for (let seed = first; seed < first + count; seed++) {
    for (const [name, subject] of Object.entries(subjects)) {
      const result = await runDifferential({ ...subject, seed });
      operations += result.steps;
      if (result.failure === undefined) continue;
      failed++;
      console.log(`${name}: ${describeDifference(result)}\n`);
    }
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  console.log(`${operations} operations in ${seconds.toFixed(1)} s, ${failed} runs failed.`);
  if (failed > 0) process.exitCode = 1;
}

function positiveInteger(name, text) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`${name} is a positive integer, not ${text}`);
  process.exit(1);
}
