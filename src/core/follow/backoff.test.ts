import { expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { Backoff } from './backoff.ts';

const limits = { minBackoffMs: 100, maxBackoffMs: 30_000 };
const always = (value: number): { next: () => number } => ({ next: () => value });
const waits = (backoff: Backoff, count: number): number[] => Array.from({ length: count }, () => backoff.nextDelayMs());

test('the ceiling of the wait doubles up to maxBackoffMs', () => {
  expect(waits(new Backoff(limits, always(1)), 10)).toEqual([
    200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
  ]);
});

test('the wait is never under minBackoffMs', () => {
  expect(waits(new Backoff(limits, always(0)), 4)).toEqual([100, 100, 100, 100]);
});

test('waits differ from worker to worker, within their bounds', () => {
  const some = waits(new Backoff(limits, seededRandom(1)), 50);
  expect(some).not.toEqual(waits(new Backoff(limits, seededRandom(2)), 50));
  for (const wait of some) expect(wait).toSatisfy((ms: number) => ms >= 100 && ms <= 30_000);
});

test('progress makes the next wait short again', () => {
  const backoff = new Backoff(limits, always(1));
  waits(backoff, 8);
  backoff.reset();
  expect(waits(backoff, 2)).toEqual([200, 400]);
});

test('it does not overflow, however long it lasts', () => {
  expect(waits(new Backoff(limits, always(1)), 5_000).at(-1)).toBe(30_000);
});

test('a shortest wait above the longest is the wait', () => {
  expect(waits(new Backoff({ minBackoffMs: 500, maxBackoffMs: 100 }, always(1)), 3)).toEqual([500, 500, 500]);
});

test('a wait is a whole number of milliseconds', () => {
  for (const wait of waits(new Backoff(limits, seededRandom(3)), 50)) expect(wait).toSatisfy(Number.isInteger);
});
