import { expect, test } from 'vitest';
import { checkOptions } from '../model/options.ts';
import {
  defaultPrimaryLimits,
  defaultWorkerLimits,
  mergeLimits,
  primaryLimitTable,
  workerLimitTable,
} from './limits.ts';

test('what is not given has its default', () => {
  expect(mergeLimits('createPrimary', defaultPrimaryLimits)).toEqual(defaultPrimaryLimits);
  expect(mergeLimits('createPrimary', defaultWorkerLimits, { maxLineBytes: 16_384 })).toEqual({
    ...defaultWorkerLimits,
    maxLineBytes: 16_384,
  });
  expect(mergeLimits('createPrimary', defaultWorkerLimits, JSON.parse('{}') as object)).toEqual(defaultWorkerLimits);
});

test('limits cannot be changed afterwards', () => {
  expect(Object.isFrozen(mergeLimits('createPrimary', defaultPrimaryLimits))).toBe(true);
  expect(Object.isFrozen(defaultPrimaryLimits) && Object.isFrozen(defaultWorkerLimits)).toBe(true);
});

test('each default has a limit that may be given, and no other may', () => {
  expect(Object.keys(workerLimitTable).toSorted()).toEqual(Object.keys(defaultWorkerLimits).toSorted());
  expect(Object.keys(primaryLimitTable).toSorted()).toEqual(
    [...Object.keys(defaultPrimaryLimits), 'maxBatchBytes'].toSorted(),
  );
});

test.each([
  ['pageByte', 'did you mean pageBytes?'],
  ['toString', 'there are maxLineBytes, '],
  ['maxQueuedCommands', 'there are maxLineBytes, '],
])('a limit that does not exist is refused: %s', (name, hint) => {
  expect(() => checkOptions<object>('createPrimary', { [name]: 5 }, primaryLimitTable)).toThrow(hint);
});

test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 5n, {}, 2 ** 53])(
  'each limit is a positive integer, not %o',
  (value) => {
    for (const [table, defaults] of [
      [primaryLimitTable, defaultPrimaryLimits],
      [workerLimitTable, defaultWorkerLimits],
    ] as const) {
      for (const name of Object.keys(defaults)) {
        expect(() => checkOptions<object>('limits', { [name]: value }, table)).toThrow(
          `option ${name} of limits is an integer from 1, not `,
        );
      }
    }
  },
);

test('a keep-alive interval that is not below the idle time-out is refused, with the default of either too', () => {
  for (const own of [
    { keepAliveIntervalMs: 2_000, idleTimeoutMs: 1_000 },
    { keepAliveIntervalMs: 1_000, idleTimeoutMs: 1_000 },
    { keepAliveIntervalMs: defaultPrimaryLimits.idleTimeoutMs },
    { idleTimeoutMs: defaultPrimaryLimits.keepAliveIntervalMs },
  ]) {
    for (const defaults of [defaultPrimaryLimits, defaultWorkerLimits]) {
      expect(() => mergeLimits('createWorker', defaults, own)).toThrow(
        /^option limits.keepAliveIntervalMs of createWorker \(\d+\) must be below idleTimeoutMs \(\d+\)/,
      );
    }
  }
});

test('a least back-off above the longest one is refused', () => {
  for (const own of [{ minBackoffMs: 200, maxBackoffMs: 100 }, { maxBackoffMs: 50 }, { minBackoffMs: 60_000 }]) {
    expect(() => mergeLimits('createWorker', defaultWorkerLimits, own)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', facts: expect.objectContaining({ of: 'createWorker' }) }),
    );
  }
  expect(mergeLimits('createWorker', defaultWorkerLimits, { minBackoffMs: 50, maxBackoffMs: 50 }).minBackoffMs).toBe(
    50,
  );
});
