import { expect, test } from 'vitest';
import { KeepAlive } from './keep-alive.ts';

const limits = { keepAliveIntervalMs: 5_000, idleTimeoutMs: 15_000 };

test.each([5_000, 700])('PING is due whenever keepAliveIntervalMs passed since anything was sent: %i', (every) => {
  const keepAlive = new KeepAlive({ ...limits, keepAliveIntervalMs: every }, 0);
  expect(keepAlive.nextTimeout).toBe(every);
  expect(keepAlive.isPingDue(every - 1)).toBe(false);
  expect(keepAlive.isPingDue(every)).toBe(true);
  keepAlive.handleSent(400);
  expect(keepAlive.isPingDue(400 + every - 1)).toBe(false);
  expect(keepAlive.nextTimeout).toBe(400 + every);
});

test('silence counts only once a PING has come', () => {
  const keepAlive = new KeepAlive(limits, 0);
  expect(keepAlive.isIdle(1e9)).toBe(false);
  keepAlive.handlePing();
  expect(keepAlive.isIdle(14_999)).toBe(false);
  expect(keepAlive.isIdle(15_000)).toBe(true);
});

test('anything that arrives ends the silence', () => {
  const keepAlive = new KeepAlive(limits, 0);
  keepAlive.handlePing();
  keepAlive.handleReceived(14_000);
  expect(keepAlive.isIdle(28_999)).toBe(false);
  expect(keepAlive.isIdle(29_000)).toBe(true);
});

test('it wakes for whichever comes first, PING or the end of patience', () => {
  const keepAlive = new KeepAlive(limits, 0);
  keepAlive.handlePing();
  keepAlive.handleSent(12_000);
  expect(keepAlive.nextTimeout).toBe(15_000);
  keepAlive.handleReceived(14_000);
  expect(keepAlive.nextTimeout).toBe(17_000);
});

test('while we do not read, the silence is ours; PING goes on', () => {
  const keepAlive = new KeepAlive(limits, 0);
  keepAlive.handlePing();
  keepAlive.handlePaused();
  expect(keepAlive.isIdle(60_000)).toBe(false);
  expect(keepAlive.isPingDue(60_000)).toBe(true);
  expect(keepAlive.nextTimeout).toBe(5_000);
  keepAlive.handleResumed(60_000);
  expect(keepAlive.isIdle(74_999)).toBe(false);
  expect(keepAlive.isIdle(75_000)).toBe(true);
});
