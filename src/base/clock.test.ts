import { expect, test, vi } from 'vitest';
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
