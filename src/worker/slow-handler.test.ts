/**
 * A handler that blocks the whole process: no timer runs meanwhile, and timers due afterwards must
 * not blame the primary.
 */

import { expect, test } from 'vitest';
import type { Clock, Millis } from '../base/clock.ts';
import type { WorkerLimits } from '../core/wire/limits.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { ConnectionHandler, Transport } from '../transport/transport.ts';
import { createWorker, type Worker } from './worker.ts';

interface Connected {
  readonly worker: Worker;
  /** What the worker did to its connection: lines that it wrote, close, abort, pause, resume. */
  readonly story: string[];
  /** Hears a row, whose handler takes so long. */
  hearRow(handlerMs: number): void;
  /** Lets timers run that are due within so long. */
  passTime(ms: number): void;
}

async function connect(limits: Partial<WorkerLimits>, handle: (worker: Worker) => void = () => {}): Promise<Connected> {
  const timers = new VirtualClock();
  let blockedUntil = 0;
  const now = (): Millis => Math.max(timers.now(), blockedUntil);
  const clock: Clock = {
    now,
    wallNow: now,
    wakeIn: (delayMs, wake) => timers.wakeIn(now() + delayMs - timers.now(), wake),
  };
  const story: string[] = [];
  let handler: ConnectionHandler | undefined;
  const transport: Transport = {
    connect(_address, given) {
      handler = given;
      const tell = (what: string) => (): void => void story.push(what);
      return {
        peer: 'script',
        unsentBytes: 0,
        write: (bytes) => story.push(...Buffer.from(bytes).toString().trimEnd().split('\n')) > 0,
        cork: () => {},
        uncork: () => {},
        pause: tell('pause'),
        resume: tell('resume'),
        close: tell('close'),
        abort: tell('abort'),
      };
    },
    listen: () => Promise.reject(new Error('a worker does not listen')),
  };
  const worker = createWorker({ name: 'reader-1', connect: { path: '/primary' }, transport, clock, limits });
  let takesMs = 0;
  worker.subscribe('events', { from: 0 }, () => {
    blockedUntil = now() + takesMs;
    handle(worker);
  });
  const started = worker.start();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  const hear = (...lines: string[]): void => handler!.handleBytes(Buffer.from(`${lines.join('\n')}\n`));
  handler!.handleOpen();
  hear('SERVER example.com', 'PING rowcast/1 {}', 'POSITION events 0');
  await started;
  const passTime = (ms: number): void => {
    const until = now() + ms;
    while (timers.step(until));
  };
  // Whatever the greeting has set a timer for.
  passTime(1_500);
  story.length = 0;
  return {
    worker,
    story,
    hearRow(handlerMs) {
      takesMs = handlerMs;
      hear(`RDATA events 1 "${'x'.repeat(200)}"`);
    },
    passTime,
  };
}

test('that stops the worker gives the primary flushTimeoutMs from then on', async () => {
  const { story, hearRow, passTime } = await connect({ flushTimeoutMs: 1_000 }, (worker) => void worker.stop());
  hearRow(3_000);
  passTime(900);
  expect(story).toEqual(['close']);
  passTime(200);
  expect(story).toEqual(['close', 'abort']);
});

test('for which reading was paused is no silence of the primary', async () => {
  const { story, hearRow, passTime } = await connect({ maxQueuedBytes: 10, idleTimeoutMs: 15_000 });
  hearRow(20_000);
  passTime(10_000);
  expect(story.filter((what) => what.startsWith('ERROR') || what === 'close')).toEqual([]);
  expect(story.filter((what) => what.startsWith('PING')).length).toBeGreaterThan(0);
});
