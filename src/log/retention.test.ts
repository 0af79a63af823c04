import { describe, expect, test } from 'vitest';

import type { Retention } from '../core/model/stream.ts';
import { type KeptRows, mayDropOldest } from './retention.ts';

/** A chunk of 10 rows up to token 10, made at 1,000 ms, of 100 rows in all. */
const kept: KeptRows = { rows: 100, oldest: { rows: 10, logMs: 1_000, upTo: 10 }, now: 5_000 };

const mayDrop = (retain: Retention, of: Partial<KeptRows> = {}): boolean => mayDropOldest(retain, { ...kept, ...of });

test('without any bound everything is kept, and of nothing there is nothing to drop', () => {
  expect(mayDrop({})).toBe(false);
  expect(mayDrop({ rows: 1 }, { oldest: undefined })).toBe(false);
});

describe('without untilSavedBy', () => {
  test.each<[Retention, boolean]>([
    [{ rows: 90 }, true],
    [{ rows: 91 }, false],
    [{ ageMs: 4_000 }, true],
    [{ ageMs: 4_001 }, false],
    [{ rows: 90, ageMs: 4_000 }, true],
    [{ rows: 91, ageMs: 4_000 }, false],
    [{ rows: 90, ageMs: 4_001 }, false],
  ])('%j keeps at least: the oldest chunk may go: %j', (retain, expected) => {
    expect(mayDrop(retain, { savedByAll: 10 })).toBe(expected);
    expect(mayDrop(retain)).toBe(expected);
  });
});

describe('with untilSavedBy', () => {
  const untilSavedBy = ['a'];

  test('a chunk goes when all of it is saved by all, whatever else would be kept', () => {
    for (const retain of [{}, { rows: 1_000 }, { ageMs: 100_000 }, { rows: 1_000, ageMs: 100_000 }]) {
      expect(mayDrop({ ...retain, untilSavedBy }, { savedByAll: 10 })).toBe(true);
      expect(mayDrop({ ...retain, untilSavedBy }, { savedByAll: 9 })).toBe(false);
      expect(mayDrop({ ...retain, untilSavedBy })).toBe(false);
    }
  });

  test('either bound cuts what is not saved', () => {
    expect(mayDrop({ rows: 90, untilSavedBy })).toBe(true);
    expect(mayDrop({ rows: 91, untilSavedBy })).toBe(false);
    expect(mayDrop({ ageMs: 4_000, untilSavedBy })).toBe(true);
    expect(mayDrop({ ageMs: 4_001, untilSavedBy })).toBe(false);
    expect(mayDrop({ rows: 91, ageMs: 4_000, untilSavedBy })).toBe(true);
    expect(mayDrop({ rows: 90, ageMs: 4_001, untilSavedBy })).toBe(true);
  });
});
