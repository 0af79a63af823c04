/** The recipe of docs/guides/exactly-once.md for PostgreSQL. */

import { Client } from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { GUIDE, killAtRandom, numbers, seed } from '../support/exactly-once-trial.ts';
import { codeOf, GuideFolder } from '../support/guide-folder.ts';
import { startPostgres, whyNoPostgres } from '../support/postgres.ts';

const where = whyNoPostgres === undefined ? '' : `: ${whyNoPostgres}`;

describe.skipIf(whyNoPostgres !== undefined)(`with seed ${seed}${where}`, () => {
  // SPEC D15
  test('exactly once with PostgreSQL: a worker that is killed at any instant applies each row once, and none after its successor has begun', async () => {
    const connectionString = await startPostgres();
    const folder = await GuideFolder.make('pg');
    const client = new Client({ connectionString });
    await client.connect();
    onTestFinished(async () => client.end());
    await client.query(await codeOf(GUIDE, 'schema.sql'));
    const count = async (): Promise<number> =>
      Number((await client.query<{ n: string }>('SELECT count(*) AS n FROM copies')).rows[0]!.n);
    const env = { DATABASE_URL: connectionString };
    await killAtRandom({ program: 'worker-pg.mjs', folder, env, rows: 500, mostMs: 80, count });
    const { rows } = await client.query<{ id: number }>('SELECT id FROM copies ORDER BY n');
    expect(rows.map(({ id }) => id)).toEqual(numbers(500));
  });
});
