import { expect, test } from 'vitest';
import { MAX_BYTES_PER_CHARACTER, memoryOf } from './row-memory.ts';

test('a row counts for its characters, its arrays and objects, and its elements', () => {
  expect(memoryOf('"abc"')).toBe(5);
  expect(memoryOf('[1,2]')).toBe(5 + 56 + 8);
  expect(memoryOf('{"a":[]}')).toBe(8 + 2 * 56);
  expect(memoryOf('xx[1,2]xx', 2, 7), 'a part of a text').toBe(memoryOf('[1,2]'));
});

test.each(['{}', '[]', '[0]', '{"a":1}'])(
  'no character of many %s counts for more than the greatest that is told',
  (one) => {
    const text = `[${Array.from({ length: 1_000 }, () => one).join(',')}]`;
    expect(memoryOf(text) / text.length).toBeLessThanOrEqual(MAX_BYTES_PER_CHARACTER);
  },
);
