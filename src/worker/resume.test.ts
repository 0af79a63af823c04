import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { sqliteLog } from '../log/sqlite.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import { fileCheckpoint } from './file-checkpoint.ts';
import type { BatchHandler } from './subscription.ts';

interface Fact {
  readonly id: number;
}

const events = defineStream<Fact>('events');
const receipts = defineStream<Fact>('receipts');
const typing = defineStream<Fact>('typing', { durable: false });
const streams = [events, receipts, typing];

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-worker-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

// SPEC D3
test('a worker whose connection is cut again and again gets every batch once and in order', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  await reader.start();
  for (let id = 1; id <= 300; id++) {
    await server.append(events, [{ id }, { id }]);
    if (id % 30 === 0) {
      await settle(id % 7);
      transport.cutAll();
    }
  }
  await reader.waitFor(placeOf(server, events, 300));
  expect(seen.tokens).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
});

test('rows that wait for a slow handler when the connection is cut are neither lost nor doubled', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const gate = new Gate();
  const seen: number[] = [];
  reader.subscribe(events, { from: 'start' }, async ({ token }) => {
    await gate.opened;
    seen.push(token);
  });
  const started = reader.start();
  for (let id = 1; id <= 10; id++) await server.append(events, [{ id }]);
  await settle();
  const lost = once(reader, 'disconnected');
  transport.cutAll();
  await lost;
  for (let id = 11; id <= 20; id++) await server.append(events, [{ id }]);
  gate.open();
  await started;
  await reader.waitFor(placeOf(server, events, 20));
  expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
});

test.each(['memory', 'file'])(
  'a worker that is started again with its %s checkpoint gets only new rows',
  async (kind) => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const checkpoint =
      kind === 'memory' ? memoryCheckpoint() : fileCheckpoint(join(await temporaryDirectory(), 'reader-1.json'));
    const first = worker({ checkpoint });
    const before = new Collector<Fact>();
    first.subscribe(events, { fallback: 'start' }, before.handler);
    await first.start();
    for (let id = 1; id <= 5; id++) await server.append(events, [{ id }]);
    await before.reached(5);
    await first.stop();
    for (let id = 6; id <= 8; id++) await server.append(events, [{ id }]);
    const second = worker({ checkpoint });
    const after = new Collector<Fact>();
    second.subscribe(events, { fallback: 'start' }, after.handler);
    await second.start();
    expect(after.tokens).toEqual([6, 7, 8]);
  },
);

// SPEC D7
test('a batch whose handler failed comes again after a restart', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const first = worker({ checkpoint });
  first.subscribe(events, { from: 'checkpoint' }, ({ token }) => {
    if (token === 2) throw new Error('broken');
  });
  await first.start();
  const failed = once(first, 'error');
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  await failed;
  await first.stop();
  const second = worker({ checkpoint });
  const seen = new Collector<Fact>();
  second.subscribe(events, { from: 'checkpoint' }, seen.handler);
  await second.start();
  expect(seen.tokens).toEqual([2, 3]);
});

test('a worker that stops lets the running handler finish, stores its position, and begins no other batch', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const gate = new Gate();
  const begun: number[] = [];
  reader.subscribe(events, { from: 'checkpoint' }, async ({ token }) => {
    begun.push(token);
    await gate.opened;
  });
  await reader.start();
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  await settle();
  let isStopped = false;
  const stopped = reader.stop().then(() => {
    isStopped = true;
  });
  await settle();
  expect(isStopped).toBe(false);
  gate.open();
  await stopped;
  expect(begun).toEqual([1]);
  expect((await checkpoint.load()).get('events')?.token).toBe(1);
});

test('a primary that starts again on the same log is resumed without loss', async () => {
  const directory = await temporaryDirectory();
  const { primary, worker } = deploy();
  const first = await primary({ streams, log: sqliteLog({ path: join(directory, 'rowcast.db') }) });
  const reader = worker();
  const seen = new Collector<Fact>();
  const resets: unknown[] = [];
  reader.on('reset', (reset) => resets.push(reset));
  reader.subscribe(events, { from: 'start' }, seen.handler);
  await reader.start();
  for (let id = 1; id <= 5; id++) await first.append(events, [{ id }]);
  const told = once(reader, 'disconnected');
  await first.close();
  expect((await told)[0].error).toMatchObject({
    code: 'PEER_ERROR',
    message: 'the primary ended the connection: server stopping',
  });
  const second = await primary({ streams, log: sqliteLog({ path: join(directory, 'rowcast.db') }) });
  for (let id = 6; id <= 9; id++) await second.append(events, [{ id }]);
  await seen.reached(9);
  expect(seen.rows).toEqual(Array.from({ length: 9 }, (_, i) => ({ id: i + 1 })));
  expect(resets).toEqual([]);
});

// SPEC H7
test('a volatile stream whose primary starts again is reset and goes on with what is kept', async () => {
  const { primary, worker } = deploy();
  const first = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const seen = new Collector<Fact>();
  reader.subscribe(typing, { from: 'now' }, seen.handler);
  await reader.start();
  for (let id = 1; id <= 5; id++) await first.append(typing, [{ id }]);
  await seen.reached(5);
  await first.close();
  const reset = once(reader, 'reset');
  const second = await primary({ streams });
  await second.append(typing, [{ id: 100 }]);
  expect((await reset)[0]).toMatchObject({ stream: 'typing', error: { code: 'RESET' } });
  await seen.reached(6);
  expect(seen.batches.at(-1)).toEqual({
    stream: 'typing',
    token: 1,
    position: second.position(typing),
    rows: [{ id: 100 }],
  });
  await reader.stop();
  expect((await checkpoint.load()).get('typing')?.token).toBe(1);
});

test('following all outlives a restart that resets the volatile streams, though nobody said how to go on', async () => {
  const { primary, worker } = deploy();
  const first = await primary({ streams: [typing] });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribeAll({ from: 'now' }, seen.handler as BatchHandler);
  await reader.start();
  await first.append(typing, [{ id: 1 }]);
  await seen.reached(1);
  await first.close();
  const reset = once(reader, 'reset');
  const second = await primary({ streams: [typing] });
  expect((await reset)[0]).toMatchObject({ stream: 'typing', error: { code: 'RESET' } });
  await second.append(typing, [{ id: 2 }]);
  await seen.reached(2);
});

// SPEC H6
test('a log of another history ends a durable subscription, which keeps its position', async () => {
  const { primary, worker } = deploy();
  const first = await primary({ streams });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  await reader.waitFor(await first.append(events, [{ id: 1 }]));
  const waiting = reader.waitFor(placeOf(first, events, 2));
  const failed = once(reader, 'error');
  waiting.catch(() => {});
  await first.close();
  const second = await primary({ streams });
  await second.append(events, [{ id: 2 }]);
  const [error] = await failed;
  expect(error).toMatchObject({ name: 'PeerError', code: 'RESET' });
  await expect(waiting).rejects.toBe(error);
  expect(reader.position(events)?.token).toBe(1);
  expect(seen.tokens).toEqual([1]);
});

test('waiters hear of a reset', async () => {
  const { primary, worker } = deploy();
  const first = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now', onReset: 'earliest' }, () => {});
  await reader.start();
  await reader.waitFor(await first.append(events, [{ id: 1 }]));
  const refused = expect(reader.waitFor(placeOf(first, events, 2))).rejects.toMatchObject({ code: 'RESET' });
  await first.close();
  await primary({ streams });
  await refused;
});

test('onReset now skips what a new history holds already', async () => {
  const { primary, worker } = deploy();
  const directory = await temporaryDirectory();
  const first = await primary({ streams });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'now', onReset: 'now' }, seen.handler);
  await reader.start();
  await reader.waitFor(await first.append(events, [{ id: 1 }]));
  await first.close();
  const quiet = await deploy().primary({ streams, log: sqliteLog({ path: join(directory, 'other.db') }) });
  await quiet.append(events, [{ id: 2 }]);
  await quiet.close();
  const live = once(reader, 'live');
  const second = await primary({ streams, log: sqliteLog({ path: join(directory, 'other.db') }) });
  await live;
  await reader.waitFor(await second.append(events, [{ id: 3 }]));
  expect(seen.rows).toEqual([{ id: 1 }, { id: 3 }]);
});

test.each([
  ['fail', [1]],
  ['earliest', [1, 5, 6]],
  ['now', [1, 7]],
] as const)('rows that were trimmed under a worker are a gap: %s', async (onReset, tokens) => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const first = worker({ checkpoint });
  first.subscribe(events, { from: 'now' }, () => {});
  await first.start();
  await first.waitFor(await server.append(events, [{ id: 1 }]));
  await first.stop();
  for (let id = 2; id <= 6; id++) await server.append(events, [{ id }]);
  await server.trim(events, 4);
  const reader = worker({ checkpoint });
  const seen = new Collector<Fact>();
  const subscription = reader.subscribe(events, { from: 'checkpoint', onReset }, seen.handler);
  if (onReset === 'fail') {
    await expect(reader.start()).rejects.toMatchObject({ name: 'PeerError', code: 'GAP' });
    expect(subscription.position?.token).toBe(1);
  } else {
    const reset = once(reader, 'reset');
    await reader.start();
    expect((await reset)[0]).toMatchObject({ stream: 'events', error: { code: 'GAP' } });
    if (onReset === 'now') await reader.waitFor(await server.append(events, [{ id: 7 }]));
  }
  expect([1, ...seen.tokens]).toEqual(tokens);
});

test('from the start of a trimmed stream is no gap', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 6; id++) await server.append(events, [{ id }]);
  await server.trim(events, 4);
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  await reader.start();
  expect(seen.tokens).toEqual([5, 6]);
});
