import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { HandlerError, UsageError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { WorkerOptions } from './options.ts';
import { createWorker } from './worker.ts';

const events = defineStream('events');
const receipts = defineStream('receipts');
const streams = [events, receipts];

test.each<Partial<WorkerOptions>>([
  { name: '' },
  { name: 'two\nlines' },
  { server: '' },
  { connect: { host: '127.0.0.1', port: 0 } },
  { connect: { path: '' } },
  { limits: { maxQueuedBytes: 0 } },
])('a worker with %o is refused', (options) => {
  const refused = expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' });
  expect(() => createWorker({ name: 'reader-1', connect: ADDRESS, ...options })).toThrow(refused);
});

test('a worker that subscribes to nothing starts, and sends commands', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  await Promise.all([reader.start(), reader.start()]);
  expect(reader.isLive).toBe(true);
  const came = once(server, 'command');
  reader.send({ name: 'SYNC', text: 'hello' });
  expect((await came)[0]).toMatchObject({ command: { name: 'SYNC', text: 'hello' }, worker: { name: 'reader-1' } });
});

test('a worker goes on connecting until its primary is there', async () => {
  const { primary, worker } = deploy();
  const reader = worker();
  const seen = new Collector();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  const started = reader.start();
  const [{ error, retryInMs }] = await once(reader, 'disconnected');
  expect(error).toMatchObject({ name: 'ConnectionError', code: 'CONNECTION_LOST' });
  expect(retryInMs).toBe(1);
  await once(reader, 'disconnected');
  const server = await primary({ streams });
  await server.append(events, [1]);
  await started;
  expect(seen.tokens).toEqual([1]);
});

test('start is over when handlers are finished with everything that came before the streams were live', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let i = 1; i <= 3; i++) await server.append(events, [i]);
  const reader = worker();
  const gate = new Gate();
  const applied: number[] = [];
  reader.subscribe(events, { from: 'start' }, async ({ token }) => {
    if (token === 2) await gate.opened;
    applied.push(token);
  });
  let isStarted = false;
  const started = reader.start().then(() => {
    isStarted = true;
  });
  await expect.poll(() => applied).toEqual([1]);
  await settle();
  expect([reader.isConnected, reader.isLive, isStarted]).toEqual([true, false, false]);
  gate.open();
  await started;
  expect(applied).toEqual([1, 2, 3]);
  expect(reader.isLive).toBe(true);
});

test('a worker of another server hears of it, and its start is over only when it is stopped', async () => {
  const { primary, worker } = deploy();
  await primary({ streams });
  const reader = worker({ server: 'elsewhere.org' });
  const started = reader.start();
  started.catch(() => {});
  expect((await once(reader, 'disconnected'))[0].error).toMatchObject({ name: 'PeerError', code: 'WRONG_SERVER' });
  await reader.stop();
  await expect(started).rejects.toMatchObject({ name: 'UsageError', code: 'CLOSED' });
});

test('a worker can be stopped at any time, and more than once', async () => {
  const { primary, worker } = deploy();
  await worker().stop();
  const connecting = worker();
  const started = connecting.start();
  started.catch(() => {});
  await Promise.all([connecting.stop(), connecting.stop()]);
  await expect(started).rejects.toMatchObject({ code: 'CLOSED' });
  const waiting = worker({ limits: { minBackoffMs: 60_000, maxBackoffMs: 60_000 } });
  waiting.start().catch(() => {});
  await once(waiting, 'disconnected');
  await waiting.stop();
  await primary({ streams });
  const live = worker();
  await live.start();
  await live.stop();
  await live.stop();
  expect(live.isLive).toBe(false);
});

test('a worker that was stopped while its checkpoint was read does not connect', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const gate = new Gate();
  const reader = worker({ checkpoint: { load: async () => gate.opened.then(() => new Map()), save: async () => {} } });
  const refused = expect(reader.start()).rejects.toMatchObject({ code: 'CLOSED' });
  const stopped = reader.stop();
  gate.open();
  await refused;
  await stopped;
  await settle();
  expect(server.status().connections).toEqual([]);
});

test('a worker that was stopped refuses what is asked of it', async () => {
  const { primary, worker } = deploy();
  await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  await reader.start();
  await reader.stop();
  const closed = { name: 'UsageError', code: 'CLOSED' };
  await expect(reader.start()).rejects.toMatchObject(closed);
  await expect(reader.waitFor({ stream: 'events', token: 0, history: undefined })).rejects.toMatchObject(closed);
  await expect(reader.follow(events).next()).rejects.toMatchObject(closed);
  expect(() => reader.send({ name: 'FEDERATION_ACK', token: 1 })).toThrow(expect.objectContaining(closed));
  expect(() => reader.subscribe(receipts, {}, () => {})).toThrow(expect.objectContaining(closed));
  expect(() => reader.subscribeAll({}, () => {})).toThrow(expect.objectContaining(closed));
  await reader.unsubscribe(events);
});

test('a failure that nobody listens for is thrown', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {
    throw new Error('broken');
  });
  await reader.start();
  const thrown = nextUncaught();
  await server.append(events, [1]);
  const error = await thrown;
  expect(error).toBeInstanceOf(HandlerError);
  expect(error).toMatchObject({ code: 'HANDLER_FAILED' });
});

test('a listener that throws is heard, and its stream goes on', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  reader.once('live', () => {
    throw new Error('a bug of the application');
  });
  reader.subscribe(events, { from: 'now' }, seen.handler);
  const thrown = nextUncaught();
  reader.start().catch(() => {});
  expect(await thrown).toMatchObject({ message: 'a bug of the application' });
  await server.append(events, [1]);
  await seen.reached(1);
});

test.each(['at once', 'by its promise'])(
  'a handler that ends its subscription and then fails %s has not applied its batch, and is heard',
  async (when) => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const checkpoint = memoryCheckpoint();
    const reader = worker({ checkpoint });
    reader.subscribe(events, {}, ({ token }) => {
      if (token === 1) return;
      void reader.unsubscribe(events);
      if (when === 'at once') throw new Error('broken');
      return settle(1).then(() => Promise.reject(new Error('broken')));
    });
    await reader.start();
    const failed = once(reader, 'error');
    await server.append(events, [1]);
    await server.append(events, [2]);
    expect((await failed)[0]).toMatchObject({
      code: 'HANDLER_FAILED',
      message: 'the handler of stream events failed at token 2: broken',
    });
    await reader.stop();
    expect((await checkpoint.load()).get('events')?.token).toBe(1);
  },
);

test('a handler that cannot go on because the worker stops is no failure, and has not applied its batch', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const errors: unknown[] = [];
  reader.on('error', (error) => errors.push(error));
  const outcome = new Collector<unknown>();
  reader.subscribe(receipts, { from: 'now' }, () => {});
  const subscription = reader.subscribe(events, { from: 'now' }, async () => {
    await reader.waitFor(placeOf(server, receipts, 9)).catch((error: unknown) => {
      outcome.handler({ stream: 'receipts', token: 9, position: placeOf(server, receipts, 9), rows: [error] });
      throw error;
    });
  });
  await reader.start();
  await server.append(events, [1]);
  await settle();
  await reader.stop();
  expect(outcome.rows[0]).toBeInstanceOf(UsageError);
  expect(outcome.rows[0]).toMatchObject({ code: 'CLOSED' });
  await settle();
  expect(errors).toEqual([]);
  expect(subscription.position?.token).toBe(0);
});

test('more commands than maxQueuedCommands lose the oldest, and say so', async () => {
  const { primary, worker } = deploy();
  const reader = worker({ limits: { maxQueuedCommands: 2 } });
  const dropped: string[] = [];
  reader.on('command-dropped', ({ line }) => dropped.push(line));
  for (let token = 1; token <= 3; token++) reader.send({ name: 'FEDERATION_ACK', token });
  expect(dropped).toEqual(['FEDERATION_ACK 1']);
  expect(() => reader.send({ name: 'SYNC', text: 'two\nlines' })).toThrow(
    expect.objectContaining({ code: 'INVALID_COMMAND' }),
  );
  const server = await primary({ streams });
  const tokens: unknown[] = [];
  const both = new Gate();
  server.on('command', ({ command }) => {
    if (tokens.push(command) === 2) both.open();
  });
  await reader.start();
  await both.opened;
  expect(tokens).toEqual([
    { name: 'FEDERATION_ACK', token: 2 },
    { name: 'FEDERATION_ACK', token: 3 },
  ]);
});

test('a position that the primary never reached is a reset, after which the stream is live', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  const reset = once(reader, 'reset');
  reader.subscribe(events, { from: 100, onReset: 'earliest' }, seen.handler);
  await reader.start();
  expect((await reset)[0]).toMatchObject({ stream: 'events', error: { code: 'RESET' } });
  await reader.waitFor(await server.append(events, [1]));
  expect(seen.tokens).toEqual([1]);
});

test('a worker and a hand at a terminal share a primary', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const hand = new Netcat(transport, ADDRESS);
  hand.send('REPLICATE events NOW');
  await hand.line('POSITION events 0');
  const reader = worker();
  reader.subscribe(events, { from: 'start' }, () => {});
  await reader.start();
  await reader.waitFor(await server.append(events, ['a', 'b']));
  await hand.line('RDATA events 1');
  expect(hand.lines.slice(-3)).toEqual(['POSITION events 0', 'RDATA events batch "a"', 'RDATA events 1 "b"']);
  hand.connection.close();
  await hand.closed;
});

/**
 * The error that ends a process without a listener. The test runner's own listeners are put back at
 * once.
 */
async function nextUncaught(): Promise<Error> {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const error = await new Promise<Error>((resolve) => {
    process.once('uncaughtException', resolve);
  });
  for (const listener of others) process.on('uncaughtException', listener);
  return error;
}

test('a stream says when it is live, when it is not any more, and when it is again', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const story: string[] = [];
  reader.on('live', ({ stream }) => story.push(`${stream} live`));
  reader.on('not-live', ({ stream }) => story.push(`${stream} not live`));
  const subscription = reader.subscribe(events, { from: 'now', onReset: 'now' }, () => {});
  await reader.start();
  expect(subscription.isLive).toBe(true);
  const cut = once(reader, 'disconnected');
  const again = once(reader, 'live');
  await server.close();
  await cut;
  expect(subscription.isLive).toBe(false);
  await primary({ streams });
  await again;
  await reader.stop();
  expect(story).toEqual(['events live', 'events not live', 'events live', 'events not live']);
});

test('a stream whose handler fails is not live any more', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.on('error', () => {});
  reader.subscribe(events, { from: 'now' }, () => {
    throw new Error('oops');
  });
  await reader.start();
  const ended = once(reader, 'not-live');
  await server.append(events, [1]);
  expect(await ended).toEqual([{ stream: 'events' }]);
});

test('slow handlers hold a stream that must be read in time up no longer than that; nothing is lost', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ limits: { maxQueuedBytes: 500 } });
  const gate = new Gate();
  const slow = new Collector();
  const urgent = new Collector();
  reader.subscribe(events, { from: 'now' }, async (batch) => {
    await gate.opened;
    slow.handler(batch);
  });
  reader.subscribe(receipts, { from: 'now', readWithinMs: 5 }, urgent.handler);
  await reader.start();
  const notLive = once(reader, 'not-live');
  for (let id = 0; id < 20; id++) await server.append(events, ['x'.repeat(100)]);
  await server.append(receipts, [1]);
  await notLive;
  expect(urgent.rows).toEqual([]);
  gate.open();
  await Promise.all([slow.reached(20), urgent.reached(1)]);
  expect(slow.tokens).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
});

test('an observer has nothing to send: neither its type nor the worker lets it', async () => {
  const { primary, transport } = deploy();
  const server = await primary({ streams });
  const observer = createWorker({ name: 'watcher', connect: ADDRESS, transport, observer: true });
  const seen = new Collector();
  observer.subscribe(events, { from: 'now' }, seen.handler);
  await observer.start();
  await server.append(events, [1]);
  await seen.reached(1);
  // @ts-expect-error -- an observer has no send
  const send = observer.send.bind(observer) as (command: object) => void;
  expect(() => send({ name: 'FEDERATION_ACK', token: 1 })).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'OBSERVER' }),
  );
  await observer.stop();
});
