import { describe, expect, test } from 'vitest';
import { canBeInvalidated, joinKeys, keyTexts } from './keys.ts';

test('keys are compared as text: 5 and "5" are one key', () => {
  expect(joinKeys([5])).toBe(joinKeys(['5']));
  expect(joinKeys(['a', 5n, true])).toBe(joinKeys(['a', '5', 'true']));
  expect(keyTexts('c', ['a', 5, 10n ** 20n, false])).toEqual(['a', '5', '100000000000000000000', 'false']);
});

test('joined keys can be told from any others that can be invalidated', () => {
  expect(joinKeys(['a', 'b'])).not.toBe(joinKeys(['ab', '']));
  expect(joinKeys(['a', ''])).not.toBe(joinKeys(['a']));
});

describe('a key is refused', () => {
  test.each<[string, unknown, string]>([
    ['with a NUL', 'a\0b', '"c" is refused: a\\u0000b has a NUL character'],
    ['with half a character', 'a\ud800', '"c" is refused: a\ufffd has half a character (a lone surrogate)'],
    ['that is null', null, 'a key is a string, a number, a bigint or a boolean, not null'],
    ['that is none', undefined, 'a key is a string, a number, a bigint or a boolean, not undefined'],
    ['that is an object', {}, 'a key is a string, a number, a bigint or a boolean, not object'],
  ])('%s', (_what, key, text) => {
    expect(() => keyTexts('c', ['fine', key])).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'INVALID_KEY' }),
    );
    expect(() => keyTexts('c', ['fine', key])).toThrow(text.replace('"c"', 'c'));
  });

  test('when keys are no list', () => {
    expect(() => keyTexts('c', 'abc' as unknown as string[])).toThrow('a key of cache c is refused: keys are a list');
  });
});

test('what cannot be invalidated is known', () => {
  expect(canBeInvalidated(['a', 5, true])).toBe(true);
  expect(canBeInvalidated(['a', 'b\0'])).toBe(false);
  expect(canBeInvalidated(['\udc00'])).toBe(false);
});
