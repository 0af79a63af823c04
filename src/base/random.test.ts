import { expect, test } from 'vitest';
import { randomHex, randomInteger, seededRandom, systemRandom } from './random.ts';

const numbers = (seed: number, count: number): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => random.next());
};

test('a seed repeats what it did, on every machine', () => {
  expect(numbers(81723, 100)).toEqual(numbers(81723, 100));
  expect(randomHex(seededRandom(81723), 16), 'a seed that was written down means the same later').toBe(
    'cdfddc468e7c32b9',
  );
});

test('neighbouring seeds give different numbers', () => {
  const firsts = Array.from({ length: 1_000 }, (_, seed) => numbers(seed, 1)[0]);
  expect(new Set(firsts).size).toBe(1_000);
});

test('numbers are from 0 to under 1, and spread', () => {
  for (const seed of [0, 1, -1, 0x9e3779b9, 2 ** 31]) {
    const some = numbers(seed, 10_000);
    expect(Math.min(...some)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...some)).toBeLessThan(1);
    const mean = some.reduce((sum, value) => sum + value, 0) / some.length;
    expect(mean).toSatisfy((value: number) => value > 0.47 && value < 0.53);
  }
});

test('an integer is between its bounds, both inclusive', () => {
  const random = seededRandom(7);
  const drawn = new Set(Array.from({ length: 1_000 }, () => randomInteger(random, 3, 6)));
  expect([...drawn].toSorted()).toEqual([3, 4, 5, 6]);
  expect(randomInteger(random, 5, 5)).toBe(5);
});

test('an identity has as many hexadecimal digits as were asked for', () => {
  expect(randomHex(seededRandom(7), 32)).toMatch(/^[0-9a-f]{32}$/);
  expect(randomHex(systemRandom, 32)).not.toBe(randomHex(systemRandom, 32));
});
