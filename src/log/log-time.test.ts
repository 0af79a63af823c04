import { expect, test } from 'vitest';

import { VirtualClock } from '../testing/virtual-clock.ts';
import { type Boot, LogTime, parseMark, resumedMs, systemBoot, type TimeMark } from './log-time.ts';

const HOUR = 3_600_000;
const mark: TimeMark = { logMs: 5_000, wallMs: 1_000_000, boot: { id: 'a', uptimeMs: 60_000 } };
const later = (ms: number, id = 'a'): Boot => ({ id, uptimeMs: 60_000 + ms });

/** How much of an hour, as the clocks have it, is counted between two processes. */
function counted(wallPassedMs: number, boot: Boot | undefined, from: TimeMark = mark): number {
  return resumedMs({ mark: from, newestMs: 0, wallMs: from.wallMs + wallPassedMs, boot }) - from.logMs;
}

test('while a process runs, the time of the log is the monotonic one in whole milliseconds', () => {
  const clock = new VirtualClock();
  const time = new LogTime(5_000, clock);
  expect(time.now()).toBe(5_000);
  clock.step(clock.now() + 1_500.7);
  expect(time.now()).toBe(6_500);
  expect(time.mark(later(0))).toEqual({ logMs: 6_500, wallMs: Math.floor(clock.wallNow()), boot: later(0) });
});

test('between two processes of one boot the time that passed is counted, but for the grain of the uptime', () => {
  expect(counted(HOUR, later(HOUR))).toBe(HOUR - 20);
  expect(counted(HOUR, later(5))).toBe(0);
});

test('where the clocks disagree the smaller time is counted: a clock that was set ages no row', () => {
  expect(counted(48 * HOUR, later(1_000))).toBe(980);
  expect(counted(-48 * HOUR, later(HOUR))).toBe(0);
  expect(counted(1_000, later(HOUR))).toBe(1_000);
  expect(counted(HOUR, later(-50_000))).toBe(0);
});

test('over a reboot, and where boots cannot be told apart, nothing is counted', () => {
  expect(counted(HOUR, later(HOUR, 'b'))).toBe(0);
  expect(counted(HOUR, undefined)).toBe(0);
  expect(counted(HOUR, later(HOUR), { ...mark, boot: null })).toBe(0);
});

test('the time of a log never goes back behind its newest row', () => {
  expect(resumedMs({ mark, newestMs: 9_000, wallMs: 0, boot: undefined })).toBe(9_000);
  expect(resumedMs({ mark: undefined, newestMs: 9_000, wallMs: 0, boot: later(0) })).toBe(9_000);
});

test('a mark that is none is as good as no mark', () => {
  expect(parseMark(JSON.stringify(mark))).toEqual(mark);
  for (const text of [
    '',
    'x',
    '{}',
    '{"logMs":"1","wallMs":2,"boot":null}',
    '{"logMs":1,"wallMs":2,"boot":{"id":"a"}}',
  ])
    expect(parseMark(text)).toBeUndefined();
});

test('on Linux the system tells its boots apart', () => {
  const boot = systemBoot();
  if (process.platform !== 'linux') return expect(boot).toBeUndefined();
  expect(boot?.id).toMatch(/^[0-9a-f-]{36}$/);
  expect(boot?.uptimeMs).toBeGreaterThan(0);
});
