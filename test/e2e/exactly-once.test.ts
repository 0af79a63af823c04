/** The recipe of docs/guides/exactly-once.md for better-sqlite3. */

import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { killAtRandom, numbers, seed } from '../support/exactly-once-trial.ts';
import { GuideFolder } from '../support/guide-folder.ts';

describe(`with seed ${seed}`, () => {
  // SPEC D14
  test('exactly once: a worker that is killed at any instant applies each row once, also when the primary restarts', async () => {
    const folder = await GuideFolder.make('better-sqlite3');
    const database = new Database(join(folder.path, 'copy.db'));
    onTestFinished(() => void database.close());
    const count = (): number => {
      try {
        return database.prepare<[], { n: number }>('SELECT count(*) AS n FROM copies').get()!.n;
      } catch {
        return 0;
      }
    };
    await killAtRandom({ program: 'worker.mjs', folder, rows: 4_000, mostMs: 60, count });
    const all = database.prepare<[], { id: number }>('SELECT id FROM copies ORDER BY n').all();
    expect(all.map(({ id }) => id)).toEqual(numbers(4_000));
  });
});
