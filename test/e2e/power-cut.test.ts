/**
 * What survives a power cut: many images of the disk as a cut may leave it (test/trials/power makes
 * them).
 */

import { afterAll, describe, expect, test } from 'vitest';
import { whyNoPreload } from '../support/preload.ts';
import { type RoundOptions, type RoundResult, Trial } from '../trials/power/trial.ts';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const where = whyNoPreload === undefined ? '' : `, not here: ${whyNoPreload}`;

describe.skipIf(whyNoPreload !== undefined)(`with seed ${seed}${where}`, () => {
  let trial: Trial | undefined;
  afterAll(() => trial?.close());
  const round = async (options: Omit<RoundOptions, 'appends'>): Promise<RoundResult> =>
    (trial ??= new Trial()).round({ appends: 150, ...options });
  const afresh = async (options: Omit<RoundOptions, 'appends'>): Promise<RoundResult> => {
    trial?.startAfresh();
    return round(options);
  };
  const expectNoFailure = ({ failures, kept }: RoundResult): void =>
    expect(failures, `npm run trial:power -- --kept ${kept} --image ${failures[0]?.image}`).toEqual([]);

  // SPEC L1
  test('after a power cut at any instant a log has what it promised, and a checkpoint is old or new', async () => {
    for (const synchronous of ['full', 'normal'] as const) {
      const options = { synchronous, images: 40 };
      // The second round goes on with what a cut has left.
      for (const result of [await afresh({ ...options, seed }), await round({ ...options, seed: seed + 1 })]) {
        expectNoFailure(result);
        expect(result.images).toBe(40);
        expect(result.unsynced, 'images with changes that were not synced').toBeGreaterThan(10);
        if (synchronous === 'full') expect(result.withLoss).toBe(0);
      }
    }
  });

  // SPEC L5
  test('after a sync that failed, too, what is acknowledged survives a power cut', async () => {
    expectNoFailure(await afresh({ seed, synchronous: 'full', images: 40, failsSyncs: true }));
  });

  test('what a crash has left in the WAL is written once more before any of it reaches the database', () => {
    trial ??= new Trial();
    const { atKill, atFirstWrite } = trial.recover(seed);
    expect(atKill).toBeGreaterThan(100);
    expect(atFirstWrite).toBe(0);
  });

  test('the trial finds a log that acknowledges what it has not synced', async () => {
    const result = await afresh({ seed, synchronous: 'normal', promised: 'full', images: 30, keepsFailures: false });
    expect(result.failures.map(({ text }) => text)).toContainEqual(expect.stringMatching(/had been acknowledged/));
  });

  test('the trial finds a checkpoint that is replaced by one that was not synced', async () => {
    const result = await afresh({
      seed,
      synchronous: 'full',
      checkpoint: 'unsynced',
      images: 30,
      keepsFailures: false,
    });
    expect(result.failures.map(({ text }) => text)).toContainEqual(expect.stringMatching(/the checkpoint/));
  });
});
