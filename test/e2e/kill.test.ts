/**
 * The promises of the whole project, with real processes, real sockets and a real `kill -9`
 * (test/trials/kills).
 */

import { describe, expect, test } from 'vitest';
import { runKills } from '../trials/kills/trial.ts';

/**
 * The seed repeats the kills and the appends; the work in progress at a kill depends on the
 * machine.
 */
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));

describe(`with seed ${seed}`, () => {
  // SPEC D1
  test('followers print every acknowledged row in order while the primary and they are killed, and nothing twice but what a checkpoint had not', async () => {
    const result = await runKills({ seed, primaryKills: 3, followerKills: 3, mostBatches: 200, mostLines: 300 });
    expect(result.faults).toEqual([]);
    expect(result).toMatchObject({ primaryKills: 3, followerKills: 6 });
    // A kill under load leaves appends without an answer.
    expect(result.unanswered).toBeGreaterThan(0);
  });
});
