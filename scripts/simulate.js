/**
 * Runs worlds. `SEED=n npm run simulate` replays one and prints its faults (TRACE=1: everything).
 * Without a seed it runs COUNT (10,000) worlds from a random first seed and prints those that fail.
 */
import { runWorld } from '../dist/testing/world.js';
import { describeFailure } from '../dist/testing/world-result.js';

const { SEED, TRACE, COUNT = '10000' } = process.env;

if (SEED === undefined) await runMany(positiveInteger('COUNT', COUNT));
else await replay(positiveInteger('SEED', SEED));

async function replay(seed) {
  const result = await runWorld({ seed, keepsTrace: TRACE !== undefined });
  for (const line of result.trace) console.log(line);
  if (result.failure !== undefined) {
    console.log(describeFailure(result));
    process.exitCode = 1;
    return;
  }
  console.log(
    `Seed ${seed}: ${result.appliedBatches} batches applied in ${Math.round(result.elapsedMs)} ms of virtual time, all is well. What befell it:`,
  );
  for (const fault of result.faults) console.log(`  ${fault}`);
}

async function runMany(count) {
  const first = 1 + Math.floor(Math.random() * 1_000_000_000);
  console.log(`${count} worlds from seed ${first}.`);
  const startedAt = performance.now();
  const failed = [];
  for (let done = 0; done < count; done++) {
    const result = await runWorld({ seed: first + done });
    if (result.failure !== undefined) {
      failed.push(result.seed);
      clearProgress();
      console.log(`${describeFailure(result)}\n`);
    }
    if (done % 100 === 99) showProgress(`${done + 1} of ${count} worlds, ${failed.length} failed`);
  }
  clearProgress();
  const seconds = (performance.now() - startedAt) / 1_000;
  console.log(
    `${count} worlds in ${seconds.toFixed(1)} s, ${failed.length} failed${failed.length > 0 ? `: seeds ${failed.join(', ')}` : '.'}`,
  );
  if (failed.length > 0) process.exitCode = 1;
}

/** One changing line on a terminal, nothing elsewhere. */
function showProgress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}`);
}

function clearProgress() {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
}

function positiveInteger(name, text) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  console.error(`${name} is a positive integer, not ${text}`);
  process.exit(1);
}
