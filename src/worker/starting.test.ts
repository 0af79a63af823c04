/** How `start` ends, can be called again, and says what it waits for; who takes an error. */

import { describe, expect, onTestFinished, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { pass } from '../../test/support/pass-time.ts';
import { UsageError } from '../core/model/errors.ts';
import { EVERY_NAME } from '../core/model/pattern.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { WorkerEvents } from './options.ts';

const events = defineStream<string>('events');
const others = defineStream<string>('others');

/** Resolves to the code of the error. */
async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (error: { readonly code?: unknown }) => error.code ?? error,
  );
}

describe('a start that is held up', () => {
  // SPEC W8
  test('ends after timeoutMs with what holds it up, leaves the worker following, and can be called again', async () => {
    const clock = new VirtualClock();
    const { primary, worker } = deploy();
    const reader = worker({ clock });
    const seen = new Collector();
    reader.subscribe(events, { from: 'start' }, seen.handler);
    const started = reader.start({ timeoutMs: 1_000 });
    const ended = expect(started).rejects.toMatchObject({
      code: 'START_TIMEOUT',
      message: expect.stringMatching(
        /^worker reader-1 is not live after 1000 ms, and goes on: the worker is not connected: cannot connect to unix:\/primary/,
      ),
      facts: { timeoutMs: 1_000, holdups: [{ what: 'connection', stream: undefined }] },
    });
    await pass(clock, 999);
    expect(await Promise.race([started.catch(() => 'ended'), settle()])).toBeUndefined();
    await pass(clock, 1);
    await ended;
    const server = await primary({ streams: [events] });
    await server.append(events, ['row']);
    await pass(clock, 1_000);
    await seen.reached(1);
    await reader.start({ timeoutMs: 1 });
  });

  test('ends with the reason of its signal, at once where it is aborted already, and leaves nothing on it', async () => {
    const { primary, worker } = deploy();
    await primary({ streams: [events] });
    const reader = worker();
    const gate = new Gate();
    reader.subscribe(events, { from: 'start' }, () => {});
    const reason = new Error('enough');
    await expect(reader.start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(reader.isConnected).toBe(false);
    const holding = worker({ checkpoint: { load: async () => gate.opened.then(() => new Map()) } });
    const abort = new AbortController();
    const started = holding.start({ signal: abort.signal });
    abort.abort(reason);
    await expect(started).rejects.toBe(reason);
    gate.open();
    await holding.start({ signal: new AbortController().signal });
    await expect(reader.start({ timeoutMs: Number.NaN })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test.each(['unsubscribe', 'subscribeAll and unsubscribe'])(
    'by one stream alone is over when that one is ended from outside (%s)',
    async (how) => {
      const { primary, worker } = deploy();
      const server = await primary({ streams: [events, others] });
      await server.append(others, ['held']);
      const reader = worker();
      const entered = new Gate();
      const gate = new Gate();
      const hold = async (): Promise<void> => {
        entered.open();
        await gate.opened;
      };
      reader.subscribe(events, { from: 'start' }, () => {});
      if (how === 'unsubscribe') reader.subscribe(others, { from: 'start' }, hold);
      else reader.subscribeAll({ from: 'start' }, hold);
      const started = reader.start();
      await entered.opened;
      const left = reader.unsubscribe(how === 'unsubscribe' ? others : EVERY_NAME);
      await started;
      gate.open();
      await left;
    },
  );

  test('by a checkpoint that cannot be read can be called again, which reads it again', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    await server.append(events, ['row']);
    let loads = 0;
    const reader = worker({
      checkpoint: {
        load: async () => {
          if (loads++ < 2) throw new Error('the database is starting');
          return new Map();
        },
      },
    });
    const seen = new Collector();
    reader.subscribe(events, { fallback: 'start' }, seen.handler);
    expect(await Promise.all([codeOf(reader.start()), codeOf(reader.start())])).toEqual([
      'CHECKPOINT_FAILED',
      'CHECKPOINT_FAILED',
    ]);
    expect(loads, 'they share one read').toBe(1);
    expect(await codeOf(reader.start())).toBe('CHECKPOINT_FAILED');
    await reader.start();
    expect(seen.rows).toEqual(['row']);
  });

  // SPEC W9
  test('says why: an event and a line of the log after 5 s, then seldom, for each thing that can hold it up', async () => {
    const clock = new VirtualClock();
    const { primary, worker } = deploy();
    const lines: string[] = [];
    const logger = {
      debug: () => {},
      info: () => {},
      error: () => {},
      warn: (_: object, text: string) => lines.push(text),
    };
    let load!: (stored: Map<string, never>) => void;
    const checkpoint = { load: async () => new Promise<Map<string, never>>((resolve) => (load = resolve)) };
    const limits = { minBackoffMs: 100, maxBackoffMs: 100 };
    const reader = worker({ clock, logger, checkpoint, limits });
    const gate = new Gate();
    reader.subscribe(events, { fallback: 'start' }, () => gate.opened);
    const waiting: WorkerEvents['waiting'][0][] = [];
    reader.on('waiting', (event) => waiting.push(event));
    const takeWaiting = (): unknown[] =>
      waiting.splice(0).map(({ waitedMs, holdups, count }) => [waitedMs, count, holdups[0]!.what, holdups[0]!.stream]);
    const started = reader.start();
    await pass(clock, 4_999);
    expect(takeWaiting()).toEqual([]);
    await pass(clock, 1);
    expect(takeWaiting()).toEqual([[5_000, 1, 'checkpoint', undefined]]);
    load(new Map<string, never>());
    await pass(clock, 10_000);
    expect(takeWaiting()).toEqual([[15_000, 1, 'connection', undefined]]);
    const made = primary({ streams: [events], clock, log: memoryLog({ clock }) });
    await pass(clock, 0);
    const appended = (await made).append(events, ['row']);
    await pass(clock, 20_000);
    await appended;
    expect(takeWaiting()).toEqual([[35_000, 1, 'handler', 'events']]);
    expect(lines.filter((text) => text.startsWith('not live'))).toEqual([
      'not live after 5000 ms: the checkpoint is still being read',
      'not live after 15000 ms: the worker is not connected: cannot connect to unix:/primary: nothing listens there; is the primary running?',
      expect.stringMatching(
        /^not live after 35000 ms: the handler of stream events has been busy with a batch for \d+ ms$/,
      ),
    ]);
    gate.open();
    await pass(clock, 0);
    await started;
    await pass(clock, 3_600_000);
    expect(takeWaiting()).toEqual([]);
  });

  test('a loop over batches that is held up is told in the same way', async () => {
    const clock = new VirtualClock();
    const { worker } = deploy();
    const reader = worker({ clock });
    const told: unknown[] = [];
    reader.on('waiting', ({ waitedMs }) => told.push(waitedMs));
    const abort = new AbortController();
    const loop = reader.follow(events, { from: 'start', signal: abort.signal }).next();
    await pass(clock, 15_000);
    expect(told).toEqual([5_000, 15_000]);
    abort.abort();
    await expect(loop).rejects.toThrow('aborted');
  });
});

test('a subscription that failed holds nothing up: no event tells that the worker waits', async () => {
  const clock = new VirtualClock();
  const { primary, worker } = deploy();
  await primary({ streams: [events] });
  const reader = worker({ clock });
  const told: unknown[] = [];
  reader.on('waiting', (event) => told.push(event));
  reader.subscribe('nosuch', { from: 'start' }, () => {});
  const started = codeOf(reader.start());
  await pass(clock, 1_000);
  expect(await started).toBe('UNKNOWN_STREAM');
  await pass(clock, 60_000);
  expect(told).toEqual([]);
});

describe('an error of a subscription', () => {
  test('that comes with the abort of a start is not taken by that start', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    await server.append(events, ['row']);
    const reader = worker();
    const heard: unknown[] = [];
    reader.on('error', ({ code }) => heard.push(code));
    const abort = new AbortController();
    const reason = new Error('enough');
    reader.subscribe(events, { from: 'start' }, () => {
      abort.abort(reason);
      throw new Error('a bug');
    });
    await expect(reader.start({ signal: abort.signal })).rejects.toBe(reason);
    await settle();
    expect(heard).toEqual(['HANDLER_FAILED']);
  });

  /** Collects what is emitted as `error`, and promises that nobody handled. */
  async function fail(how: 'done' | 'start' | 'loop' | 'nobody'): Promise<unknown[]> {
    const heard: unknown[] = [];
    const unhandled = (reason: unknown): unknown => heard.push({ unhandled: reason });
    process.on('unhandledRejection', unhandled);
    onTestFinished(() => void process.off('unhandledRejection', unhandled));
    const { primary, worker } = deploy();
    await primary({ streams: [events] });
    const reader = worker();
    reader.on('error', ({ code }) => heard.push(code));
    if (how === 'start') {
      reader.subscribe('nosuch', { from: 'start' }, () => {});
      expect(await codeOf(reader.start())).toBe('UNKNOWN_STREAM');
    } else {
      await reader.start();
      if (how === 'loop') expect(await codeOf(reader.follow('nosuch').next())).toBe('UNKNOWN_STREAM');
      else {
        const subscription = reader.subscribe('nosuch', { from: 'start' }, () => {});
        if (how === 'done') expect(await codeOf(subscription.done)).toBe('UNKNOWN_STREAM');
        while (!subscription.isEnded) await settle();
        if (how === 'nobody') expect(await codeOf(subscription.done)).toBe('UNKNOWN_STREAM');
      }
    }
    await settle();
    return heard;
  }

  // SPEC W10
  test.each([
    ['done', []],
    ['start', []],
    ['loop', []],
    ['nobody', ['UNKNOWN_STREAM']],
  ] as const)('that %s takes is emitted only when nobody has, and no promise is left unhandled', async (how, heard) => {
    expect(await fail(how)).toEqual(heard);
  });

  test('that start has thrown is thrown again by the next one, until the stream is left or subscribed again', async () => {
    const { primary, worker } = deploy();
    await primary({ streams: [events] });
    const reader = worker();
    reader.subscribe('nosuch', { from: 'start' }, () => {});
    reader.subscribe(events, { from: 'start' }, () => {});
    expect(await codeOf(reader.start())).toBe('UNKNOWN_STREAM');
    expect(await codeOf(reader.start())).toBe('UNKNOWN_STREAM');
    await reader.unsubscribe('nosuch');
    await reader.start();
  });
});

describe('done', () => {
  test('resolves when the subscription was ended and its handler is finished, by unsubscribe and by stop', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events, others] });
    const reader = worker();
    const gate = new Gate();
    const entered = new Gate();
    const first = reader.subscribe(events, { from: 'start' }, async () => {
      entered.open();
      await gate.opened;
    });
    const second = reader.subscribe(others, { from: 'start' }, () => {});
    let isDone = false;
    void first.done.then(() => (isDone = true));
    await server.append(events, ['row']);
    void reader.start();
    await entered.opened;
    const left = reader.unsubscribe(events);
    await settle();
    expect(isDone).toBe(false);
    gate.open();
    await left;
    await first.done;
    await reader.stop();
    await second.done;
    expect(second.error).toBeUndefined();
  });

  test('rejects when the handler fails at its last batch, and nobody else is told', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    const reader = worker();
    const heard: unknown[] = [];
    reader.on('error', (error) => heard.push(error));
    const subscription = reader.subscribe(events, { from: 'start' }, () => {
      void reader.unsubscribe(events);
      throw new UsageError('INVALID_OPTION', 'a bug');
    });
    const { done } = subscription;
    await reader.start();
    await server.append(events, ['row']);
    expect(await codeOf(done)).toBe('HANDLER_FAILED');
    await settle();
    expect(heard).toEqual([]);
  });
});
