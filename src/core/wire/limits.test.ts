import { expect, test } from 'vitest';
import { UsageError } from '../model/errors.ts';
import { defaultPrimaryLimits, defaultWorkerLimits, mergeLimits } from './limits.ts';

test('what is not given has its default', () => {
  expect(mergeLimits(defaultPrimaryLimits)).toEqual(defaultPrimaryLimits);
  expect(mergeLimits(defaultWorkerLimits, { maxLineBytes: 16_384 })).toEqual({
    ...defaultWorkerLimits,
    maxLineBytes: 16_384,
  });
  expect(mergeLimits(defaultWorkerLimits, JSON.parse('{}') as object)).toEqual(defaultWorkerLimits);
});

test('undefined is not given', () => {
  const own = { pageBytes: undefined } as unknown as Partial<typeof defaultPrimaryLimits>;
  expect(mergeLimits(defaultPrimaryLimits, own)).toEqual(defaultPrimaryLimits);
});

test('limits cannot be changed afterwards', () => {
  expect(Object.isFrozen(mergeLimits(defaultPrimaryLimits))).toBe(true);
  expect(Object.isFrozen(defaultPrimaryLimits) && Object.isFrozen(defaultWorkerLimits)).toBe(true);
});

test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 5n, {}, 2 ** 53])(
  'a limit is a positive integer, not %o',
  (value) => {
    const own = { pageBytes: value } as unknown as Partial<typeof defaultPrimaryLimits>;
    expect(() => mergeLimits(defaultPrimaryLimits, own)).toThrow(UsageError);
    expect(() => mergeLimits(defaultPrimaryLimits, own)).toThrow(
      /^limit pageBytes is a positive integer, not (-?[0-9.e+]+|NaN|Infinity|a string|a bigint|a object|an object)$/,
    );
  },
);

test.each(['pageByte', 'toString', 'maxQueuedBytes'])(
  'a limit that does not exist is refused, and the text lists those that do: %s',
  (name) => {
    const own = { [name]: 5 } as Partial<typeof defaultPrimaryLimits>;
    expect(() => mergeLimits(defaultPrimaryLimits, own)).toThrow(
      new RegExp(`^there is no limit ${name}; there are maxLineBytes, .*pageBytes`),
    );
  },
);
