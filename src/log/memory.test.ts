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

test('a stream in memory keeps no more than maxBytes of rows and its newest commit, however few rows they are', async () => {
  const log = memoryLog();
  const streams = [defineStream('typing', { durable: false, retain: { rows: 1_000, maxBytes: 1_000_000 } })];
  await log.open(openOptions(streams));
  const row = JSON.stringify('x'.repeat(100_000));
  for (let i = 1; i <= 30; i++) {
    await log.append('typing', [row]);
    const { earliest, latest } = log.bounds('typing');
    expect(latest - earliest + 1).toBe(Math.min(i, 9));
  }
  await log.append(
    'typing',
    Array.from({ length: 20 }, () => row),
  );
  expect(log.bounds('typing')).toMatchObject({ earliest: 31, latest: 31 });
  await log.append('typing', [row]);
  expect(log.bounds('typing')).toMatchObject({ earliest: 32, latest: 32 });
});
