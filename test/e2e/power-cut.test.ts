/** What survives a power cut: many images of the disk as a cut may leave it (test/trials/power says how they are made). */

import { afterAll, describe, expect, test } from 'vitest';
import { whyNoRecorder } from '../trials/power/recorder.ts';
import { type RoundOptions, type RoundResult, Trial } from '../trials/power/trial.ts';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const IMAGES = 80;
const small = { appends: 200, images: IMAGES };

describe.skipIf(whyNoRecorder !== undefined)(
  `with seed ${seed}${whyNoRecorder ? `, not here: ${whyNoRecorder}` : ''}`,
  () => {
    let trial: Trial | undefined;
    afterAll(() => trial?.close());
    const round = async (options: Omit<RoundOptions, 'appends' | 'images'>): Promise<RoundResult> =>
      (trial ??= new Trial()).round({ ...small, ...options });

    test('after a power cut at any instant a log has what it promised, and a checkpoint is old or new', async () => {
      for (const synchronous of ['full', 'normal'] as const) {
        trial?.startAfresh();
        // The second round goes on with what a cut has left.
        for (const roundSeed of [seed, seed + 1]) {
          const result = await round({ seed: roundSeed, synchronous });
          expect(result.failures, `kept: npm run trial:power -- --kept ${result.kept} --image …`).toEqual([]);
          expect(result.images).toBe(IMAGES);
          expect(result.unsynced, 'images with changes that were not synced').toBeGreaterThan(IMAGES / 4);
          if (synchronous === 'full') expect(result.withLoss).toBe(0);
        }
      }
    });

    test('the trial finds a log that acknowledges what it has not synced', async () => {
      trial?.startAfresh();
      const result = await round({ seed, synchronous: 'normal', promised: 'full', keepsFailures: false });
      expect(result.failures.map(({ text }) => text)).toContainEqual(expect.stringMatching(/had been acknowledged/));
    });

    test('the trial finds a checkpoint that is replaced by one that was not synced', async () => {
      trial?.startAfresh();
      const result = await round({ seed, synchronous: 'full', checkpoint: 'unsynced', keepsFailures: false });
      expect(result.failures.map(({ text }) => text)).toContainEqual(expect.stringMatching(/the checkpoint/));
    });
  },
);
