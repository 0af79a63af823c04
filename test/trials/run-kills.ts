/**
 * Kill trials by hand: `npm run trial:kills -- --minutes 3 --seed 7`. Runs trials of 20 kills of
 * the primary until the time is up.
 */

import { parseArgs } from 'node:util';
import { type KillsResult, runKills } from './kills/trial.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '3' }, seed: { type: 'string' } },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const endAt = performance.now() + Number(values.minutes) * 60_000;

say(`${values.minutes} minutes from seed ${seed}`);
const counts: Record<string, number> = { trials: 0 };
for (let n = 0; performance.now() < endAt && process.exitCode === undefined; n++) {
  let result: KillsResult;
  try {
    result = await runKills({
      seed: seed + n,
      primaryKills: 20,
      followerKills: 20,
      mostBatches: 800,
      mostLines: 1_500,
    });
  } catch (error) {
    say(`seed ${seed + n}: ${String(error)}`);
    process.exitCode = 1;
    break;
  }
  const { faults, ...ofTrial } = result;
  for (const fault of faults.slice(0, 20)) say(`seed ${seed + n}: ${fault}`);
  if (faults.length > 0) process.exitCode = 1;
  counts.trials!++;
  for (const [name, count] of Object.entries(ofTrial)) counts[name] = (counts[name] ?? 0) + count;
  say(JSON.stringify(counts));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
