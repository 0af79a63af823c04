import { afterEach, expect, test, vi } from 'vitest';
import { systemClock } from './clock.ts';

test('now is ms since 1970', () => {
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(60_000);
});

test('now does not run backwards', () => {
  let last = systemClock.now();
  for (let i = 0; i < 1_000; i++) {
    const now = systemClock.now();
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
});

test('a timer wakes once; one that is cancelled does not', async () => {
  const wakes: string[] = [];
  systemClock.wakeIn(1, () => wakes.push('cancelled')).cancel();
  await new Promise<void>((resolve) => {
    systemClock.wakeIn(-5, () => wakes.push('past'));
    systemClock.wakeIn(5, () => {
      wakes.push('later');
      resolve();
    });
  });
  expect(wakes).toEqual(['past', 'later']);
});

test('a timer without a delay wakes when everyone else has had a turn, not after a millisecond', async () => {
  const wakes: string[] = [];
  const setTimeoutSpy = vi.spyOn(globalThis, 'setTimeout');
  try {
    await new Promise<void>((resolve) => {
      systemClock.wakeIn(0, () => wakes.push('cancelled')).cancel();
      queueMicrotask(() => wakes.push('a turn'));
      systemClock.wakeIn(0, resolve);
    });
    expect(wakes).toEqual(['a turn']);
    expect(setTimeoutSpy).not.toHaveBeenCalled();
  } finally {
    setTimeoutSpy.mockRestore();
  }
});

test('a delay that is longer than the system can wait does not become none', () => {
  const setTimeoutSpy = vi.spyOn(globalThis, 'setTimeout');
  try {
    for (const delayMs of [2 ** 31, Infinity, 1e15]) {
      systemClock.wakeIn(delayMs, () => {}).cancel();
      expect(setTimeoutSpy).toHaveBeenLastCalledWith(expect.any(Function), 2 ** 31 - 1);
    }
  } finally {
    setTimeoutSpy.mockRestore();
  }
});

test('timers that are due at about the same time wake together, late by at most a thirtieth of their delay', () => {
  const dues: number[] = [];
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(
    ((_: unknown, delayMs: number) => void dues.push(now + delayMs)) as unknown as typeof setTimeout,
  );
  let now = 1_234.567;
  for (let i = 0; i < 100; i++) {
    now += 1.01;
    for (const delayMs of [1, 63, 64, 1_000, 5_000, 60_000]) {
      systemClock.wakeIn(delayMs, () => {});
      expect(dues.at(-1)).toBeGreaterThanOrEqual(now + delayMs - 1e-6);
      expect(dues.at(-1)).toBeLessThanOrEqual(now + delayMs * (1 + 1 / 32) + 1e-6);
    }
  }
  const dueAfter5s = new Set(dues.filter((_, i) => i % 6 === 4).map(Math.round));
  expect(dueAfter5s.size).toBeLessThanOrEqual(2);
});

afterEach(() => void vi.restoreAllMocks());
