import { expect, test } from 'vitest';
import { KeepAlive } from './keep-alive.ts';

const limits = { keepAliveIntervalMs: 5_000, idleTimeoutMs: 15_000 };

test('PING is due whenever 5 s passed since anything was sent', () => {
  const keepAlive = new KeepAlive(limits, 0);
  expect(keepAlive.nextTimeout).toBe(5_000);
  expect(keepAlive.isPingDue(4_999)).toBe(false);
  expect(keepAlive.isPingDue(5_000)).toBe(true);
  keepAlive.handleSent(4_000);
  expect(keepAlive.isPingDue(8_999)).toBe(false);
  expect(keepAlive.nextTimeout).toBe(9_000);
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
