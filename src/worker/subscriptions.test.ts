import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import type { Position } from '../core/model/position.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import { type Checkpoint, memoryCheckpoint } from './checkpoint.ts';
import type { SubscribeOptions } from './options.ts';

interface Fact {
  readonly id: number;
}

const events = defineStream<Fact>('events');
const receipts = defineStream<Fact>('receipts');
const typing = defineStream<Fact>('typing', { durable: false });
const streams = [events, receipts, typing];

async function checkpointAt(position: Position): Promise<Checkpoint> {
  const checkpoint = memoryCheckpoint();
  const positions = new Map([['events', position]]);
  await checkpoint.save(positions, positions);
  return checkpoint;
}

test.each<[SubscribeOptions, number | undefined, number[]]>([
  [{ from: 'start' }, undefined, [1, 2, 3, 4]],
  [{ from: 'now' }, undefined, [4]],
  [{ from: 2 }, undefined, [3, 4]],
  [{ from: 3 }, 1, [4]],
  [{ from: 'checkpoint' }, 1, [2, 3, 4]],
  [{}, 2, [3, 4]],
  [{}, undefined, [4]],
  [{ from: 'start' }, 3, [1, 2, 3, 4]],
])('a subscription with %o and checkpoint %s gets %o', async (options, stored, tokens) => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  const reader = worker(
    stored === undefined ? {} : { checkpoint: await checkpointAt(placeOf(server, events, stored)) },
  );
  const seen = new Collector<Fact>();
  reader.subscribe(events, options, seen.handler);
  await reader.start();
  await reader.waitFor(await server.append(events, [{ id: 4 }]));
  expect(seen.tokens).toEqual(tokens);
});

test.each<[SubscribeOptions['fallback'], number[]]>([
  ['start', [1, 2]],
  ['now', []],
  [1, [2]],
  [undefined, []],
])('where the checkpoint knows nothing of the stream, fallback %s says where to begin', async (fallback, tokens) => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 2; id++) await server.append(events, [{ id }]);
  const reader = worker({ checkpoint: memoryCheckpoint() });
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'checkpoint', ...(fallback !== undefined && { fallback }) }, seen.handler);
  await reader.start();
  expect(seen.tokens).toEqual(tokens);
});

test.each<[object, string]>([
  [{ from: -1 }, 'INVALID_TOKEN'],
  [{ from: 1.5 }, 'INVALID_TOKEN'],
  [{ from: 'checkpoint', fallback: Number.NaN }, 'INVALID_TOKEN'],
  [{ from: 'checkpoint' }, 'INVALID_OPTION'],
  [{ from: 'beginning' }, 'INVALID_OPTION'],
  [{ fallback: 'checkpoint' }, 'INVALID_OPTION'],
  [{ onReset: 'skip' }, 'INVALID_OPTION'],
  [{ readWithinMs: 0 }, 'INVALID_OPTION'],
  [{ readWithinMs: Number.NaN }, 'INVALID_OPTION'],
])('a subscription with %o is refused: %s', async (options, code) => {
  const reader = deploy().worker();
  expect(() => reader.subscribe(events, options as SubscribeOptions, () => {})).toThrow(
    expect.objectContaining({ name: 'UsageError', code }),
  );
  // A token is of one stream, so no pattern begins at one, right or wrong.
  expect(() => reader.subscribeAll(options as SubscribeOptions, () => {})).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' }),
  );
  reader.subscribe(events, {}, () => {});
});

test('a stream is subscribed once at a time', () => {
  const reader = deploy().worker();
  reader.subscribe(events, {}, () => {});
  expect(() => reader.subscribe('events', {}, () => {})).toThrow(expect.objectContaining({ code: 'DUPLICATE_STREAM' }));
  expect(() => reader.subscribe('two words', {}, () => {})).toThrow(
    expect.objectContaining({ code: 'INVALID_STREAM_NAME' }),
  );
  for (const pattern of ['room:*', defineStreams('room:*') as unknown as Stream])
    expect(() => reader.subscribe(pattern, {}, () => {})).toThrow(
      expect.objectContaining({ code: 'INVALID_STREAM_NAME', message: expect.stringContaining('subscribeMatching') }),
    );
  reader.subscribeAll({}, () => {});
  expect(() => reader.subscribeAll({}, () => {})).toThrow(expect.objectContaining({ code: 'DUPLICATE_STREAM' }));
});

test('a stream that the primary does not have fails its subscription and no other', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe('nothing', { from: 'now' }, () => {});
  reader.subscribe(events, { from: 'start' }, seen.handler);
  await expect(reader.start()).rejects.toMatchObject({ name: 'PeerError', code: 'UNKNOWN_STREAM' });
  await server.append(events, [{ id: 1 }]);
  await seen.reached(1);
});

test('a stream can be subscribed on a live connection', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  await reader.start();
  await server.append(receipts, [{ id: 1 }]);
  const seen = new Collector<Fact>();
  reader.subscribe(receipts, { from: 'start' }, seen.handler);
  expect(reader.isLive).toBe(false);
  await seen.reached(1);
  await server.append(receipts, [{ id: 2 }]);
  await seen.reached(2);
  expect(reader.isLive).toBe(true);
  expect(server.status().connections[0]!.id).toBe(1);
});

test('nothing comes after unsubscribe, and a new subscription from the checkpoint misses nothing and repeats nothing', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const first = new Collector<Fact>();
  const others = new Collector<Fact>();
  reader.subscribe(events, { fallback: 'start' }, first.handler);
  reader.subscribe(receipts, { fallback: 'start' }, others.handler);
  await reader.start();
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  await first.reached(3);
  await reader.unsubscribe(events);
  expect(reader.position(events)).toBeUndefined();
  for (let id = 4; id <= 6; id++) {
    await server.append(events, [{ id }]);
    await server.append(receipts, [{ id }]);
  }
  await others.reached(3);
  expect(first.tokens).toEqual([1, 2, 3]);
  const second = new Collector<Fact>();
  reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, second.handler);
  for (let id = 7; id <= 8; id++) {
    await server.append(events, [{ id }]);
    await server.append(receipts, [{ id }]);
  }
  await second.reached(5);
  await others.reached(5);
  expect(second.tokens).toEqual([4, 5, 6, 7, 8]);
  expect(others.tokens).toEqual([1, 2, 3, 4, 5]);
  await reader.stop();
  expect((await checkpoint.load()).get('events')?.token).toBe(8);
});

test('a checkpoint keeps the position of a stream that was unsubscribed', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const gate = new Gate();
  reader.subscribe(events, {}, () => gate.opened);
  reader.subscribe(receipts, {}, () => {});
  await reader.start();
  await server.append(events, [{ id: 1 }]);
  await settle();
  const through = reader.unsubscribe(events);
  const stopped = reader.stop();
  await settle();
  gate.open();
  await through;
  await stopped;
  expect((await checkpoint.load()).get('events')?.token).toBe(1);
});

test('unsubscribe resolves when the handler is through, also when called twice', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const gate = new Gate();
  const order: string[] = [];
  reader.subscribe(events, { from: 'now' }, async () => {
    await gate.opened;
    order.push('handled');
  });
  await reader.start();
  await server.append(events, [{ id: 1 }]);
  await settle();
  const waiting = expect(reader.waitFor(placeOf(server, events, 1))).rejects.toMatchObject({ code: 'CLOSED' });
  const both = Promise.all([reader.unsubscribe(events).then(() => order.push('ended')), reader.unsubscribe('events')]);
  await settle();
  gate.open();
  await both;
  await waiting;
  expect(order).toEqual(['handled', 'ended']);
});

test('all streams: every stream comes to one handler, those subscribed by name to their own', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  await server.append(events, [{ id: 1 }]);
  const reader = worker();
  const named = new Collector<Fact>();
  const rest = new Collector();
  reader.subscribe(receipts, { from: 'start' }, named.handler);
  reader.subscribeAll({ from: 'start' }, rest.handler);
  await reader.start();
  await server.append(receipts, [{ id: 2 }]);
  await server.append(typing, [{ id: 3 }]);
  await named.reached(1);
  await rest.reached(2);
  expect(rest.batches.map(({ stream }) => stream)).toEqual(['events', 'typing']);
  await reader.waitFor(placeOf(server, 'typing', 1));
});

test('all streams with a checkpoint: known streams go on where they were, new ones by the fallback', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  for (let id = 1; id <= 2; id++) await server.append(receipts, [{ id }]);
  const checkpoint = await checkpointAt(placeOf(server, events, 2));
  const reader = worker({ checkpoint });
  const seen = new Collector();
  reader.subscribeAll({ fallback: 'start' }, seen.handler);
  await reader.start();
  expect(seen.batches.map(({ stream, token }) => `${stream} ${token}`).sort()).toEqual([
    'events 3',
    'receipts 1',
    'receipts 2',
  ]);
  await reader.stop();
  const stored = await checkpoint.load();
  expect([...stored].map(([stream, { token }]) => `${stream} ${token}`).sort()).toEqual([
    '$streams.volatile/** 0',
    '$streams/** 2',
    'events 3',
    'receipts 2',
  ]);
});

test('all streams: one that is unsubscribed stays away, the others go on', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  reader.subscribeAll({ from: 'now' }, seen.handler);
  await reader.start();
  await reader.unsubscribe(events);
  const again = once(reader, 'connected');
  transport.cutAll();
  await again;
  await settle();
  await server.append(events, [{ id: 1 }]);
  await server.append(receipts, [{ id: 1 }]);
  await seen.reached(1);
  expect(seen.batches.map(({ stream }) => stream)).toEqual(['receipts']);
});

test('handlers may send, subscribe, unsubscribe, wait for another stream and stop', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const commands: string[] = [];
  server.on('command', ({ command }) => commands.push(command.name));
  const others = new Collector<Fact>();
  reader.subscribe(receipts, { from: 'now' }, others.handler);
  reader.subscribe(events, { from: 'now' }, async ({ token, rows }) => {
    if (token === 1) reader.send({ name: 'FEDERATION_ACK', token });
    if (token === 2) reader.subscribe(typing, { from: 'start' }, () => {});
    if (token === 3) await reader.waitFor(placeOf(server, receipts, rows[0]!.id));
    if (token === 4) await reader.unsubscribe(typing);
    if (token === 5) void reader.stop();
  });
  await reader.start();
  await server.append(events, [{ id: 1 }]);
  await server.append(events, [{ id: 2 }]);
  await server.append(events, [{ id: 1 }]);
  await settle();
  expect(reader.position(events)?.token).toBe(2);
  await server.append(receipts, [{ id: 1 }]);
  await reader.waitFor(placeOf(server, events, 3));
  expect(reader.position(typing)?.token).toBe(0);
  await server.append(events, [{ id: 4 }]);
  await reader.waitFor(placeOf(server, events, 4));
  expect(reader.position(typing)).toBeUndefined();
  await server.append(events, [{ id: 5 }]);
  await once(server, 'disconnected');
  await reader.stop();
  expect(reader.position(events)?.token).toBe(5);
  expect(commands).toEqual(['FEDERATION_ACK']);
});

test('synchronous handlers may do the same', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'now' }, ({ token }) => {
    if (token === 1) reader.subscribe(receipts, { from: 'start' }, seen.handler);
    if (token === 2) void reader.unsubscribe(receipts);
    if (token === 3) void reader.stop();
  });
  await reader.start();
  await server.append(receipts, [{ id: 1 }]);
  await server.append(events, [{ id: 1 }]);
  await seen.reached(1);
  await server.append(events, [{ id: 2 }]);
  await reader.waitFor(placeOf(server, events, 2));
  await server.append(events, [{ id: 3 }]);
  await server.append(events, [{ id: 4 }]);
  await once(server, 'disconnected');
  await reader.stop();
  expect(reader.position(events)?.token).toBe(3);
});
