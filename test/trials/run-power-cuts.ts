/**
 * Power-cut trials by hand: `npm run trial:power -- --images 20000 --seed 7`. Without a seed it
 * draws one and prints it. A failed round is kept: `npm run trial:power -- --kept FOLDER --image
 * 17` builds that image again, checks it and leaves it in a folder. The seed repeats the random
 * choices but not the timing of the processes; the kept round has their actual operations.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { whyNoPreload } from '../support/preload.ts';
import { checkKeptImage, type RoundResult, Trial } from './power/trial.ts';

const IMAGES_PER_ROUND = 250;
const APPENDS_PER_PROCESS = 200;
/** Then a round begins with an empty disk again, and with the next of these. */
const ROUNDS_IN_A_ROW = 4;
const kinds = [{ synchronous: 'full' }, { synchronous: 'normal' }, { synchronous: 'full', failsSyncs: true }] as const;

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '20000' },
    seed: { type: 'string' },
    kept: { type: 'string' },
    image: { type: 'string' },
  },
});

if (whyNoPreload !== undefined) throw new Error(whyNoPreload);
if (values.kept === undefined) await runMany(Number(values.images), Number(values.seed ?? Date.now() % 1_000_000));
else await runOne(values.kept, Number(values.image));

async function runMany(images: number, seed: number): Promise<void> {
  say(`${images} images from seed ${seed}`);
  const startedAt = performance.now();
  const trial = new Trial();
  const all = { images: 0, rounds: 0, acknowledged: 0, changes: 0, unsynced: 0, withLoss: 0, failed: 0 };
  try {
    while (all.images < images) {
      const { rounds } = all;
      if (rounds % ROUNDS_IN_A_ROW === 0) trial.startAfresh();
      const result = await trial.round({
        seed: seed + rounds,
        ...kinds[Math.floor(rounds / ROUNDS_IN_A_ROW) % kinds.length]!,
        appends: APPENDS_PER_PROCESS,
        images: Math.min(IMAGES_PER_ROUND, images - all.images),
      });
      tellFailures(result);
      all.rounds++;
      all.failed += result.failures.length;
      for (const count of ['images', 'acknowledged', 'changes', 'unsynced', 'withLoss'] as const)
        all[count] += result[count];
      tellCounts(all, startedAt);
    }
  } finally {
    trial.close();
  }
  if (all.failed > 0) process.exitCode = 1;
}

interface Counts {
  readonly images: number;
  readonly rounds: number;
  readonly acknowledged: number;
  readonly changes: number;
  readonly unsynced: number;
  readonly withLoss: number;
  readonly failed: number;
}

function tellCounts(counts: Counts, startedAt: number): void {
  const { images, rounds, acknowledged, changes, unsynced, withLoss, failed } = counts;
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  say(
    `${seconds} s, ${rounds} rounds, ${images} images, ${failed} failed: ${acknowledged} appends acknowledged, ` +
      `${changes} records of the disk, ${unsynced} images with changes that were not synced, ` +
      `${withLoss} that lost rows under synchronous 'normal'`,
  );
}

async function runOne(kept: string, image: number): Promise<void> {
  const into = join(kept, `image-${image}`);
  if (existsSync(into)) throw new Error(`${into} is there already: remove it first`);
  const result = await checkKeptImage(kept, image, into);
  tellFailures(result);
  say(`${into} is the disk as the cut left it`);
  if (result.failures.length > 0) process.exitCode = 1;
}

function tellFailures({ failures, kept }: RoundResult): void {
  for (const { image, text } of failures) say(`image ${image}: ${text}`);
  if (kept !== undefined) say(`kept: npm run trial:power -- --kept ${kept} --image ${failures[0]!.image}`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
