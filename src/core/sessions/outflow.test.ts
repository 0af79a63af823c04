import { expect, test } from 'vitest';
import { MAX_UNREAD_ANSWER_BYTES, Outflow } from './outflow.ts';

test('a page blocks until the socket took everything', () => {
  const outflow = new Outflow();
  outflow.handleLine(0, 20);
  expect(outflow.isBlocked).toBe(false);
  outflow.handlePage(10, 1_000);
  expect(outflow.isBlocked).toBe(true);
  outflow.handleProgress(20, 100);
  expect(outflow.isBlocked).toBe(true);
  outflow.handleDrained(30);
  expect(outflow.isBlocked).toBe(false);
  expect(outflow.blockedSince).toBe(Infinity);
});

test('the clock of a stall starts when there is something to take, and again with every byte taken', () => {
  const outflow = new Outflow();
  outflow.handlePage(10_000, 1_000);
  expect(outflow.blockedSince).toBe(10_000);
  outflow.handleLine(11_000, 20);
  expect(outflow.blockedSince, 'sending is not taking').toBe(10_000);
  outflow.handleProgress(12_000, 1_020);
  expect(outflow.blockedSince, 'nothing was taken').toBe(10_000);
  outflow.handleProgress(13_000, 1_019);
  expect(outflow.blockedSince, 'a byte was taken').toBe(13_000);
  outflow.handleDrained(14_000);
  outflow.handlePage(20_000, 10);
  expect(outflow.blockedSince).toBe(20_000);
});

test('answers that nobody reads are bounded, pages are not counted', () => {
  const outflow = new Outflow();
  outflow.handlePage(0, 64 * 1024 * 1024);
  expect(outflow.isFlooded).toBe(false);
  outflow.handleLine(0, MAX_UNREAD_ANSWER_BYTES);
  expect(outflow.isFlooded).toBe(false);
  outflow.handleLine(0, 1);
  expect(outflow.isFlooded).toBe(true);
  outflow.handleDrained(0);
  expect(outflow.isFlooded).toBe(false);
});

test('a request that waits for the log counts until something was taken', () => {
  const outflow = new Outflow();
  let requests = 0;
  for (; !outflow.isFlooded; requests++) outflow.handleRequest();
  expect(requests).toBeGreaterThan(1_000);
  expect(requests).toBeLessThan(2_000);
  expect(outflow.blockedSince, 'there is nothing to take').toBe(Infinity);
  outflow.handleDrained(0);
  expect(outflow.isFlooded).toBe(false);
});
