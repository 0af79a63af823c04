import { expect, test } from 'vitest';
import { UsageError } from './errors.ts';
import { parseToken, token } from './token.ts';

test.each([0, 1, Number.MAX_SAFE_INTEGER])('%i is a token', (value) => {
  expect(token(value)).toBe(value);
});

test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '5' as unknown as number])(
  '%o is none, and the text says what came and what was expected',
  (value) => {
    expect(() => token(value)).toThrow(UsageError);
    expect(() => token(value)).toThrow(`a token is an integer from 0 to 9007199254740991, not ${value}`);
  },
);

test.each([
  ['0', 0],
  ['53', 53],
  ['0053', 53],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ['-1', 0],
  ['-0', 0],
  ['-9007199254740991', 0],
])('on a line %s is %i', (text, value) => {
  expect(Object.is(parseToken(text), value)).toBe(true);
});

test.each([
  '',
  '-',
  '1.5',
  'abc',
  '1_0',
  ' 1',
  '1 ',
  '+1',
  '1e3',
  '0x1',
  '9007199254740992',
  '12345678901234567',
  '٣',
  '1\n',
])('on a line %j is none', (text) => {
  expect(parseToken(text)).toBeUndefined();
});
