import { expect, test } from 'vitest';
import { UsageError } from './errors.ts';
import { parseSeedToken, parseToken, token } from './token.ts';

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
])('the text %s is %i, from any peer', (text, value) => {
  expect(parseToken(text)).toBe(value);
  expect(parseSeedToken(text)).toBe(value);
});

test.each(['-1', '-0', '-53', '-9007199254740991'])(
  'the negative %s is 0 from a seed peer, and no token else',
  (text) => {
    expect(Object.is(parseSeedToken(text), 0)).toBe(true);
    expect(parseToken(text)).toBeUndefined();
  },
);

test.each([
  '',
  '-',
  '--1',
  '1.5',
  'abc',
  '1_0',
  ' 1',
  '1 ',
  '- 1',
  '+1',
  '1e3',
  '0x1',
  '9007199254740992',
  '-9007199254740992',
  '12345678901234567',
  '٣',
  '1\n',
])('the text %j is none, from any peer', (text) => {
  expect(parseToken(text)).toBeUndefined();
  expect(parseSeedToken(text)).toBeUndefined();
});
