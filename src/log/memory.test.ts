import { expect, test } from 'vitest';

import { seededRandom } from '../base/random.ts';
import { defineStream } from '../core/model/stream.ts';
import { type DifferentialTestOptions, differentialTest } from '../testing/differential.ts';
import { logSuite } from '../testing/log-suite.ts';
import { openOptions, watchRows } from '../testing/log-suite-place.ts';
import type { RowsEvent } from './log.ts';
import { memoryLog } from './memory.ts';

const tested: DifferentialTestOptions = {
  name: 'memory log',
  create: ({ clock }) => memoryLog({ clock }),
  supports: {
    durable: false,
    ids: true,
    explicitTokens: true,
    relays: true,
    backup: false,
    foreignHints: false,
    acknowledgements: true,
  },
};

logSuite(test, tested);
differentialTest(test, tested);

test('a memory log draws its id from the chance it was given', async () => {
  const ids = await Promise.all(
    [1, 1, 2].map(async (seed) => {
      const log = memoryLog({ random: seededRandom(seed) });
      await log.open(openOptions([]));
      return log.id;
    }),
  );
  expect(ids[0]).toBe(ids[1]);
  expect(ids[0]).not.toBe(ids[2]);
  expect(ids[0]).toMatch(/^[0-9a-f]{16}$/);
});

test('appends to a memory log in one turn share a chunk, and the page is that chunk', async () => {
  const log = memoryLog();
  await log.open(openOptions([defineStream('events')]));
  const hints: RowsEvent[] = [];
  watchRows(log, (hint) => void hints.push(hint));
  await Promise.all([log.append('events', ['1']), log.append('events', ['2', '3'])]);
  expect(hints.map(({ chunks }) => chunks?.map(({ after, upTo, rows }) => ({ after, upTo, rows })))).toEqual([
    [{ after: 0, upTo: 2, rows: 3 }],
  ]);
  const page = await log.read('events', { after: 0, maxBytes: 1_000 });
  expect(page.chunks).toHaveLength(1);
  expect(page.chunks[0]).toBe(hints[0]?.chunks?.[0]);
});
