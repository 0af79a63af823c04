/**
 * Runs rounds, each from its seed, until the time is over. `SEED=n` replays one round;
 * `FUZZ_SECONDS` is the time of each kind of rounds (CONTRIBUTING.md).
 */

import { expect } from 'vitest';
import { type Random, seededRandom } from '../../src/base/random.ts';

const { SEED, FUZZ_SECONDS = '8' } = process.env;

/** Tests of rounds may take this long: the last round and a slow machine come on top. */
export const ROUNDS_TIMEOUT_MS: number = Number(FUZZ_SECONDS) * 1_000 + 60_000;

type Round = (random: Random) => Promise<void> | void;

/** @param share of the time, for rounds that are worth less of it */
export async function runRounds(round: Round, share: number = 1): Promise<void> {
  if (SEED !== undefined) return runRound(round, Number(SEED));
  const first = 1 + Math.floor(Math.random() * 1_000_000_000);
  const until = performance.now() + Number(FUZZ_SECONDS) * 1_000 * share;
  const { testPath, currentTestName } = expect.getState();
  let rounds = 0;
  while (rounds === 0 || performance.now() < until) {
    const seed = first + rounds++;
    try {
      await runRound(round, seed);
    } catch (thrown) {
      const replay = `SEED=${seed} npx vitest run --project fuzz ${testPath?.split('/').at(-1)} -t '${currentTestName}'`;
      throw new Error(`round ${rounds} failed; to replay it: ${replay}`, { cause: thrown });
    }
  }
  process.stdout.write(`${currentTestName}: ${rounds} rounds from seed ${first}\n`);
}

/** An error that nothing caught, or that nobody awaited, fails the round in which it came. */
async function runRound(round: Round, seed: number): Promise<void> {
  const uncaught: unknown[] = [];
  const hear = (thrown: unknown): void => void uncaught.push(thrown);
  process.on('uncaughtException', hear).on('unhandledRejection', hear);
  try {
    await round(seededRandom(seed));
    await new Promise(setImmediate);
  } finally {
    process.off('uncaughtException', hear).off('unhandledRejection', hear);
  }
  if (uncaught.length > 0) throw uncaught[0];
}
