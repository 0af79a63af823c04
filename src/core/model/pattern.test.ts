import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { checkPattern, EVERY_NAME, matchesPattern, patternsOverlap } from './pattern.ts';

describe('a pattern', () => {
  test.each([
    ['room:*', 'room:42', true],
    ['room:*', 'room:', false],
    ['room:*', 'room', false],
    ['room:*', 'room:42:events', false],
    ['room:*', 'Room:42', false],
    ['room:*:events', 'room:42:events', true],
    ['room:*:events', 'room:42:state', false],
    ['*', 'events', true],
    ['*', 'a:b', false],
    ['*:*', 'a:b', true],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'abc', false],
    ['a*b', 'aab', true],
    ['a*a', 'aa', false],
    ['*x', 'xx', true],
    ['*x*', 'axa', true],
    ['*x*', 'xa', false],
    ['room:*', '$streams', false],
    ['*', '$streams', false],
    ['room:*', 'room:*', false],
    ['room:*', 'room:a*', false],
    [EVERY_NAME, 'a:b:c', true],
    [EVERY_NAME, '$streams', false],
  ])('%s and the name %s: %s', (pattern, name, expected) => {
    expect(matchesPattern(pattern, name)).toBe(expected);
  });

  test.each(['events', '$room:*', 'a**', '**', 'a b*', '', '*\n'])('%j is refused', (text) => {
    expect(() => checkPattern(text)).toThrow(expect.objectContaining({ code: 'INVALID_STREAM_NAME' }));
  });

  test('of many stars is matched in no time', () => {
    const pattern = `${'*a'.repeat(100)}b`;
    expect(matchesPattern(pattern, 'a'.repeat(255))).toBe(false);
  });
});

describe('two patterns overlap', () => {
  test.each([
    ['room:*', 'room:*', true],
    ['room:*', 'user:*', false],
    ['room:*', '*:42', true],
    ['room:a*', 'room:*b', true],
    ['room:a*', 'room:b*', false],
    ['a*', '*', true],
    ['*a', '*b', false],
    ['a*:*', 'b*:*', false],
    ['*', '*:*', false],
    ['a*', 'a', false],
    [EVERY_NAME, 'room:*', true],
  ])('%s and %s: %s', (a, b, expected) => {
    expect(patternsOverlap(a, b)).toBe(expected);
    expect(patternsOverlap(b, a)).toBe(expected);
  });

  test('exactly if some name matches both', () => {
    const names: string[] = [''];
    for (let i = 0; i < names.length && names[i]!.length < 6; i++) names.push(`${names[i]}a`, `${names[i]}b`);
    const part = fc
      .string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 4 })
      .filter((text) => !text.includes('**'));
    fc.assert(
      fc.property(part, part, (a, b) => {
        const some = names.some((name) => matchesPattern(a, name) && matchesPattern(b, name));
        expect(patternsOverlap(a, b)).toBe(some);
      }),
    );
  });
});
