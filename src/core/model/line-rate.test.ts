import { expect, test } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.ts';
import { LOG_LINE_INTERVAL_MS, LOG_LINES_BURST, LineRate } from './line-rate.ts';
import { guardLogger, type LogFields, type Logger, PeerLogger } from './logger.ts';

class Lines {
  readonly lines: string[] = [];
  readonly fields: LogFields[] = [];
  readonly logger: Logger;

  constructor() {
    const add = (fields: LogFields, text: string): void => {
      this.lines.push(text);
      this.fields.push(fields);
    };
    this.logger = { debug: add, info: add, warn: add, error: add };
  }
}

test('a burst of lines goes through, then one for each interval', () => {
  const rate = new LineRate();
  const taken = (now: number): number => {
    let count = 0;
    for (let i = 0; i < 100; i++) if (rate.take(now)) count++;
    return count;
  };
  expect(taken(5_000)).toBe(LOG_LINES_BURST);
  expect(taken(5_000 + LOG_LINE_INTERVAL_MS - 1)).toBe(0);
  expect(taken(5_000 + LOG_LINE_INTERVAL_MS)).toBe(1);
  expect(taken(5_000 + 5 * LOG_LINE_INTERVAL_MS)).toBe(4);
  expect(rate.takeLeftOut()).toBe(80 + 100 + 99 + 96);
  expect(rate.takeLeftOut()).toBe(0);
  expect(taken(1_000_000)).toBe(LOG_LINES_BURST);
});

test('the next line that is written, and the end, say how many were left out', () => {
  const { lines, fields, logger } = new Lines();
  const clock = new VirtualClock();
  const peerLogger = new PeerLogger(logger, () => clock.now());
  const worker = { worker: 7, workerName: 'reader' };
  for (let i = 0; i < 50; i++) peerLogger.warn({ ...worker, code: 'GAP' }, `line ${i}`);
  expect(lines).toHaveLength(LOG_LINES_BURST);
  clock.step(clock.now() + LOG_LINE_INTERVAL_MS);
  peerLogger.warn(worker, 'later');
  expect(lines.slice(LOG_LINES_BURST)).toEqual(['log lines left out: 30', 'later']);
  expect(fields[LOG_LINES_BURST]).toEqual({ ...worker, leftOut: 30 });
  peerLogger.warn(worker, 'not now');
  peerLogger.end(worker, 'worker disconnected');
  expect(lines.slice(-2)).toEqual(['log lines left out: 1', 'worker disconnected']);
});

test('a logger gets no text and no field that is long or moves a cursor', () => {
  const { lines, fields, logger } = new Lines();
  const guarded = guardLogger(logger, new VirtualClock());
  guarded.info({ reason: `a\u202eb${'x'.repeat(5_000)}`, worker: 1 }, `\u009b2J${'y'.repeat(5_000)}`);
  expect(lines[0]).toMatch(/^\\u009b2Jy+…$/);
  expect(lines[0]!.length).toBeLessThan(1_100);
  expect(fields[0]!.reason).toMatch(/^a\\u202ebx+…$/);
  expect(fields[0]!.reason!.length).toBeLessThan(1_100);
  expect(fields[0]!.worker).toBe(1);
});
