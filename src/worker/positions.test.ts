/** Positions in the public API of a worker: what batches, subscriptions and checkpoints say, and what from takes. */

import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { eraNumberOf, formatHistory, logIdOf } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import type { Primary } from '../primary/primary.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import { formatPosition } from '../core/model/position.ts';

const events = defineStream<number>('events');
const typing = defineStream<number>('typing', { durable: false });
const streams = [events, typing];

async function appendTo(server: Primary, count: number): Promise<Position[]> {
  const positions: Position[] = [];
  for (let i = 0; i < count; i++) positions.push(await server.append(events, [i]));
  return positions;
}

// SPEC H3
test('what append resolves to, a batch has, the subscription stands at, and a checkpoint holds', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const seen = new Collector<number>();
  const subscription = reader.subscribe(events, { fallback: 'now' }, seen.handler);
  expect([subscription.position, reader.position(events)]).toEqual([undefined, undefined]);
  await reader.start();
  const [, position] = await appendTo(server, 2);
  await reader.waitFor(position!);
  expect(seen.batches.at(-1)?.position).toEqual(position);
  expect(subscription.position).toEqual(position);
  expect(reader.position('events')).toEqual(position);
  await reader.stop();
  expect((await checkpoint.load()).get('events')).toEqual(position);
});

test('from takes a position, and goes on behind it', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const [, second] = await appendTo(server, 4);
  const reader = worker();
  const seen = new Collector<number>();
  reader.subscribe(events, { from: second! }, seen.handler);
  await reader.start();
  expect(seen.tokens).toEqual([3, 4]);
});

test('a position of another stream, or one that is none, is refused at once', () => {
  const reader = deploy().worker({ checkpoint: memoryCheckpoint() });
  const other: Position = { stream: 'typing', token: 1, history: undefined };
  for (const [from, code] of [
    [other, 'INVALID_POSITION'],
    [{ stream: 'events', token: 1, history: 'x' }, 'INVALID_POSITION'],
    [{ stream: 'events', token: -1, history: undefined }, 'INVALID_TOKEN'],
  ] as const) {
    expect(() => reader.subscribe(events, { from }, () => {})).toThrow(expect.objectContaining({ code }));
    expect(() => reader.subscribe(events, { fallback: from }, () => {})).toThrow(expect.objectContaining({ code }));
  }
});

test('a position of a history that is not the primary’s is a reset, told by its code, whatever its number', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  await appendTo(server, 4);
  const real = placeOf(server, events, 2);
  const history = formatHistory({
    logId: logIdOf(real.history!),
    number: eraNumberOf(real.history!),
    random: 'ffffffff',
  });
  const reader = worker();
  const seen = new Collector<number>();
  const reset = once(reader, 'reset');
  reader.subscribe(events, { from: { ...real, history }, onReset: 'earliest' }, seen.handler);
  await reader.start();
  expect((await reset)[0]).toMatchObject({
    stream: 'events',
    error: { code: 'RESET', facts: { position: { ...real, history }, latest: 4 } },
  });
  expect(seen.tokens).toEqual([1, 2, 3, 4]);
});

// SPEC D10
test('batches have the attributes that were appended with them, where the worker asks for them', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const [curious, other] = [new Collector<number>(), new Collector<number>()];
  for (const [attributes, { handler }] of [
    [true, curious],
    [false, other],
  ] as const) {
    const reader = worker({ name: `reader-${attributes}`, attributes });
    reader.subscribe(events, { from: 'start' }, handler);
    await reader.start();
  }
  await server.append(events, [1, 2], { attributes: { trace: 'a1' } });
  await server.append(events, [3]);
  await Promise.all([curious.reached(2), other.reached(2)]);
  expect(curious.batches.map(({ attributes }) => attributes)).toEqual([{ trace: 'a1' }, undefined]);
  expect(other.batches.map(({ attributes }) => attributes)).toEqual([undefined, undefined]);
});

test('the primary hears what was applied, and what of it a checkpoint holds', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const gate = new Gate();
  let isWritten = false;
  const checkpoint = memoryCheckpoint();
  const reader = worker({
    limits: { appliedIntervalMs: 1 },
    checkpoint: {
      load: () => checkpoint.load(),
      save: async (changed, all) => {
        await gate.opened;
        await checkpoint.save(changed, all);
        isWritten = true;
      },
    },
  });
  reader.subscribe(events, { fallback: 'start' }, () => {});
  await reader.start();
  await reader.waitFor((await appendTo(server, 3)).at(-1)!);
  const told = (): object => server.status().connections[0]!.subscriptions[0]!;
  await expect.poll(told).toMatchObject({ sent: 3, applied: 3, appliedLagRows: 0, saved: undefined });
  gate.open();
  await expect.poll(told).toMatchObject({ applied: 3, saved: 3 });
  expect(isWritten).toBe(true);
});

// SPEC S3
test('14 trimmed streams from the start are live on one connection', async () => {
  const { primary, worker } = deploy();
  const many = Array.from({ length: 14 }, (_, i) => defineStream<number>(`stream-${i}`));
  const server = await primary({ streams: many });
  for (const stream of many) for (let i = 0; i < 6; i++) await server.append(stream, [i]);
  for (const stream of many) await server.trim(stream, 4);
  const reader = worker();
  const seen = new Collector();
  let ends = 0;
  reader.on('disconnected', () => ends++);
  for (const stream of many) reader.subscribe(stream, { from: 'start' }, seen.handler);
  await reader.start();
  expect([ends, seen.batches.length]).toEqual([0, 14 * 2]);
});

// SPEC S2
test('a stream in the steady state of its retention becomes live from the start, while rows are dropped as they come', async () => {
  const { primary, worker } = deploy();
  const kept = defineStream<number>('kept', { retain: { rows: 200 } });
  const server = await primary({ streams: [kept], limits: { pageBytes: 64 } });
  for (let i = 0; i < 400; i++) await server.append(kept, [i]);
  let isDone = false;
  const appending = (async () => {
    for (let i = 0; !isDone; i++) {
      await server.append(kept, [i]);
      await settle(1);
    }
  })();
  const reader = worker();
  let ends = 0;
  reader.on('disconnected', () => ends++);
  reader.subscribe(kept, { from: 'start', onReset: 'earliest' }, () => {});
  await reader.start();
  isDone = true;
  await appending;
  expect(ends).toBe(0);
});

test('a new subscription while the handler of the old one is busy: each batch comes once, to one of them', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ checkpoint: memoryCheckpoint() });
  const gate = new Gate();
  const got: string[] = [];
  reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, async ({ rows }) => {
    got.push(`old ${rows[0]!}`);
    if (rows[0] === 1) await gate.opened;
  });
  await reader.start();
  await appendTo(server, 3);
  await settle();
  const through = reader.unsubscribe(events);
  gate.open();
  await through;
  const seen = new Collector<number>();
  reader.subscribe(events, { from: 'checkpoint' }, seen.handler);
  await seen.reached(1);
  expect(got).toEqual(['old 0', 'old 1']);
  expect(seen.rows).toEqual([2]);
});

// SPEC S5
test('a subscription that is ended and begun again and again on one connection ends up with every row once', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ checkpoint: memoryCheckpoint() });
  const tokens: number[] = [];
  let ends = 0;
  reader.on('disconnected', () => ends++);
  await reader.start();
  for (let round = 0; round < 10; round++) {
    reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ token }) => void tokens.push(token));
    await appendTo(server, 3);
    await settle(round % 5);
    await reader.unsubscribe(events);
  }
  reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ token }) => void tokens.push(token));
  await reader.waitFor(server.position(events));
  expect(tokens).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
  expect(ends).toBe(0);
});

test('the text of a position is what people and files see', async () => {
  const { primary } = deploy();
  const server = await primary({ streams });
  const [position] = await appendTo(server, 1);
  expect(formatPosition(position!)).toMatch(/^events=1@[0-9a-f]{16}\.\d+\.[0-9a-f]{8}$/);
});

test('a number that a person named proves nothing: a wait does not take it for applied', async () => {
  const clock = new VirtualClock();
  const { worker } = deploy();
  const reader = worker({ clock });
  reader.subscribe(events, { from: 1_000 }, () => {});
  reader.start().catch(() => {});
  await settle(2);
  const wait = reader.waitFor({ stream: 'events', token: 900, history: undefined }, { timeoutMs: 5 });
  const refused = expect(wait).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' });
  clock.step(clock.now() + 5);
  await refused;
  expect(reader.position(events)).toBeUndefined();
});

// SPEC W6
test('a bare number is refused by a Rowcast primary’s worker, at once or as soon as it knows', async () => {
  const { primary, worker } = deploy();
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  const bare: Position = { stream: 'events', token: 3, history: undefined };
  const early = expect(reader.waitFor(bare)).rejects.toMatchObject({
    code: 'INVALID_POSITION',
    facts: { position: bare },
  });
  await primary({ streams });
  await reader.start();
  await early;
  await expect(reader.waitFor(bare)).rejects.toMatchObject({ code: 'INVALID_POSITION' });
  expect(() => reader.hasReached(bare)).toThrow(expect.objectContaining({ code: 'INVALID_POSITION' }));
  await reader.waitFor({ ...bare, token: 0 });
});

// SPEC W5
test('a position of another log is refused, and a reset leaves waits for the new one alone', async () => {
  const { primary, worker } = deploy();
  const first = await primary({ streams });
  const reader = worker();
  const seen = new Collector<number>();
  reader.subscribe(typing, { from: 'now' }, seen.handler);
  await reader.start();
  await reader.waitFor(await first.append(typing, [1]));
  const log = memoryLog();
  const other = await deploy().primary({ streams, log });
  const elsewhere = await other.append(typing, [1]);
  await expect(reader.waitFor(elsewhere)).rejects.toMatchObject({ code: 'OTHER_LOG', facts: { position: elsewhere } });
  const old = expect(reader.waitFor(placeOf(first, typing, 9))).rejects.toMatchObject({ code: 'RESET' });
  const gone = once(reader, 'disconnected');
  await first.close();
  await gone;
  // The primary comes back: its volatile log is another one, and a row of it is waited for before the worker has heard.
  const second = await primary({ streams });
  const wait = reader.waitFor(await second.append(typing, [2]));
  await old;
  await wait;
  expect(seen.rows).toEqual([1, 2]);
});
