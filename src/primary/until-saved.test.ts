/** Retention by acknowledgement, with real primaries, workers and checkpoints. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { survivingLog } from '../../test/support/surviving-log.ts';
import { LogError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream, type Stream, type StreamName } from '../core/model/stream.ts';
import type { Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { sqliteLog } from '../log/sqlite.ts';
import { type Checkpoint, memoryCheckpoint } from '../worker/checkpoint.ts';
import type { Worker } from '../worker/worker.ts';
import type { Primary } from './primary.ts';
import type { Cutting, HolderStatus } from './options.ts';

const events = defineStream<number>('events', { retain: { untilSavedBy: ['reader-*'] } });

const limits = { appliedIntervalMs: 1 };

async function append(primary: Primary, count: number, stream: Stream<number> = events): Promise<void> {
  for (let i = 0; i < count; i++) await primary.append(stream, [i]);
}

function holders(primary: Primary, stream: StreamName = 'events'): [string, number | undefined, number][] {
  const { streams } = primary.status({ match: stream });
  return streams[0]!.holders!.map(({ worker, saved, lagRows }) => [worker, saved?.token, lagRows]);
}

const earliest = (primary: Primary, stream: StreamName = 'events'): number =>
  primary.status({ match: stream }).streams[0]!.earliest;

function follow(worker: Worker, seen = new Collector<number>()): Collector<number> {
  worker.subscribe(events, { from: 'checkpoint', fallback: 'start' }, seen.handler);
  return seen;
}

/** Resolves when the primary knows that the worker has saved everything up to the token. */
async function hasSaved(primary: Primary, worker: string, token: number): Promise<void> {
  await expect.poll(() => holders(primary).find(([name]) => name === worker)?.[1]).toBe(token);
}

/** A checkpoint of what another one holds now, as a worker that dies leaves it. */
async function asLeft(checkpoint: Checkpoint): Promise<Checkpoint> {
  const left = memoryCheckpoint();
  const held = await checkpoint.load();
  await left.save(held, held);
  return left;
}

test('a worker that dies and comes again below what others have saved has missed nothing', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const checkpoint = memoryCheckpoint();
  const dying = worker({ name: 'reader-1', checkpoint, limits });
  follow(dying);
  const other = worker({ name: 'reader-2', checkpoint: memoryCheckpoint(), limits });
  follow(other);
  await Promise.all([dying.start(), other.start()]);
  await append(server, 10);
  await hasSaved(server, 'reader-1', 10);
  const left = await asLeft(checkpoint);
  await dying.stop();
  await append(server, 20);
  await hasSaved(server, 'reader-2', 30);
  await append(server, 1);
  expect([earliest(server), holders(server)[0]]).toEqual([11, ['reader-1', 10, 21]]);
  const again = worker({ name: 'reader-1', checkpoint: left, limits });
  const resets: unknown[] = [];
  again.on('reset', (reset) => resets.push(reset));
  const seen = follow(again);
  await again.start();
  await seen.reached(21);
  expect(seen.tokens).toEqual(Array.from({ length: 21 }, (_, i) => 11 + i));
  expect(resets).toEqual([]);
  await hasSaved(server, 'reader-1', 31);
  await append(server, 1);
  expect(earliest(server)).toBe(32);
});

// SPEC K2
test('a worker whose handler is slow holds the rows that it has received and not saved', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const gate = new Gate();
  const slow = worker({ name: 'reader-slow', checkpoint: memoryCheckpoint(), limits });
  slow.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ token }) =>
    token > 3 ? gate.opened : undefined,
  );
  await slow.start();
  await append(server, 10);
  await hasSaved(server, 'reader-slow', 3);
  await append(server, 10);
  expect(earliest(server)).toBe(4);
  gate.open();
  await hasSaved(server, 'reader-slow', 20);
  expect(earliest(server)).toBe(21);
});

// SPEC K3
test('a worker that is gone for good is forgotten by command, and what it held is dropped', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const gone = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
  follow(gone);
  const other = worker({ name: 'reader-2', checkpoint: memoryCheckpoint(), limits });
  follow(other);
  await Promise.all([gone.start(), other.start()]);
  await append(server, 10);
  await hasSaved(server, 'reader-1', 10);
  await gone.stop();
  await append(server, 10);
  await hasSaved(server, 'reader-2', 20);
  expect(earliest(server)).toBe(11);
  expect(await server.forgetWorker('reader-1')).toEqual(['events']);
  expect(await server.forgetWorker('reader-1')).toEqual([]);
  await append(server, 1);
  expect(earliest(server)).toBe(21);
  expect(holders(server).map(([name]) => name)).toEqual(['reader-2']);
});

test.each(['memory', 'sqlite'])('who holds rows in a %s log is known after a restart of the primary', async (kind) => {
  const { primary, worker, transport } = deploy();
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-holders-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const surviving = survivingLog();
  const openLog = (): Log => (kind === 'memory' ? surviving : sqliteLog({ path: join(directory, 'log.db') }));
  const server = await primary({ streams: [events], log: openLog() });
  const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
  follow(reader);
  await reader.start();
  await append(server, 10);
  await hasSaved(server, 'reader-1', 10);
  await reader.stop();
  await server.close();
  const next = await primary({ streams: [events], log: openLog(), transport });
  await append(next, 20);
  expect(holders(next)).toEqual([['reader-1', 10, 20]]);
  expect(earliest(next)).toBe(11);
});

test('a worker whose checkpoint is older than what it had saved gets GAP for what is gone', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const checkpoint = memoryCheckpoint();
  const reader = worker({ name: 'reader-1', checkpoint, limits });
  follow(reader);
  await reader.start();
  await append(server, 5);
  await hasSaved(server, 'reader-1', 5);
  const older = await asLeft(checkpoint);
  await append(server, 5);
  await hasSaved(server, 'reader-1', 10);
  await append(server, 5);
  await hasSaved(server, 'reader-1', 15);
  await reader.stop();
  const restored = worker({ name: 'reader-1', checkpoint: older, limits });
  const resets: string[] = [];
  restored.on('reset', ({ error }) => resets.push(error.code));
  const seen = new Collector<number>();
  restored.subscribe(events, { from: 'checkpoint', fallback: 'start', onReset: 'earliest' }, seen.handler);
  await restored.start();
  expect(resets).toEqual(['GAP']);
  await append(server, 3);
  await seen.reached(3);
  expect(seen.tokens).toEqual([16, 17, 18]);
});

test('one that starts afresh holds everything until it has saved something again', async () => {
  const { primary, worker } = deploy();
  const server = await primary({
    streams: [defineStream('events', { retain: { untilSavedBy: ['reader-1', 'audit'] } })],
  });
  const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
  follow(reader);
  await reader.start();
  await append(server, 10);
  await hasSaved(server, 'reader-1', 10);
  await reader.stop();
  const afresh = worker({ name: 'reader-1', limits });
  afresh.subscribe(events, { from: 'start' }, () => {});
  await afresh.start();
  expect(holders(server)).toEqual([
    ['reader-1', undefined, 10],
    ['audit', undefined, 10],
  ]);
});

test('a worker without a checkpoint saves nothing, so it holds everything', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker({ name: 'reader-1', limits });
  const seen = new Collector<number>();
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  await append(server, 10);
  await seen.reached(10);
  expect(holders(server)).toEqual([['reader-1', undefined, 10]]);
});

test('with a checkpoint that is only read, a batch is saved when its handler is finished', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const gate = new Gate();
  let stored: Position | undefined;
  const load = async (): Promise<ReadonlyMap<string, Position>> => new Map(stored && [['events', stored]]);
  const reader = worker({ name: 'reader-1', checkpoint: { load }, limits });
  reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, async ({ position, token }) => {
    if (token > 4) await gate.opened;
    stored = position;
  });
  await reader.start();
  await append(server, 10);
  await hasSaved(server, 'reader-1', 4);
  expect(earliest(server)).toBe(5);
  gate.open();
  await hasSaved(server, 'reader-1', 10);
  expect(stored?.token).toBe(10);
});

describe('streams that are made while it runs', () => {
  const rooms = defineStreams<number>('room:*', { retain: { untilSavedBy: ['reader-*', 'audit'] } });

  test('are held from their first row by those who follow them before', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [rooms] });
    const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
    const gate = new Gate();
    reader.subscribe('room:1', { from: 'start' }, () => gate.opened);
    await reader.start();
    expect(holders(server, 'room:1')).toEqual([]);
    await append(server, 3, rooms.stream('room:1'));
    await append(server, 3, rooms.stream('room:2'));
    expect(holders(server, 'room:1').map(([name]) => name)).toEqual(['audit', 'reader-1']);
    expect(holders(server, 'room:2').map(([name]) => name)).toEqual(['reader-*', 'audit']);
    gate.open();
  });

  test('are held for a worker that follows them by a pattern', async () => {
    const { primary, worker } = deploy();
    const readers = defineStreams<number>('room:*', { retain: { untilSavedBy: ['reader-*'] } });
    const server = await primary({ streams: [readers] });
    const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
    const seen = new Collector<number>();
    reader.subscribeMatching(readers, { from: 'checkpoint', fallback: 'start' }, seen.handler);
    await reader.start();
    for (const name of ['room:1', 'room:2']) await append(server, 5, readers.stream(name));
    await seen.reached(10);
    for (const name of ['room:1', 'room:2']) {
      await expect.poll(() => holders(server, name)).toEqual([['reader-1', 5, 0]]);
      expect(earliest(server, name)).toBe(6);
    }
    await server.delete('room:1');
    await append(server, 3, readers.stream('room:1'));
    await seen.reached(13);
    await expect.poll(() => holders(server, 'room:1')).toEqual([['reader-1', 3, 0]]);
  });
});

describe('rows that a worker needs and that rows or ageMs cut', () => {
  // SPEC K5
  test('are told before they are dropped, once for each worker until it has caught up', async () => {
    const bounded = defineStream<number>('events', { retain: { untilSavedBy: ['audit', 'reader-*'], rows: 20 } });
    const { primary, worker } = deploy();
    const lines: string[] = [];
    const quiet = { debug: () => {}, info: () => {}, error: () => {} };
    const logger = { ...quiet, warn: (_: unknown, text: string) => void lines.push(text) };
    const server = await primary({ streams: [bounded], logger });
    const told: (Cutting & { readonly earliest: number })[] = [];
    server.on('cutting', (cutting) => told.push({ ...cutting, earliest: earliest(server) }));
    const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
    follow(reader);
    await reader.start();
    await append(server, 20);
    await hasSaved(server, 'reader-1', 20);
    expect(told).toEqual([]);
    await append(server, 20);
    await hasSaved(server, 'reader-1', 40);
    expect(told).toEqual([{ stream: 'events', worker: 'audit', saved: undefined, lagRows: 21, upTo: 1, earliest: 1 }]);
    expect(earliest(server)).toBe(21);
    expect(lines).toEqual([
      'rows of stream events up to 1 are about to be dropped: worker audit has saved nothing of it and is 21 rows behind',
    ]);
  });
});

describe('the status', () => {
  test('lists who holds rows of a stream, furthest behind first, and who of them is there', async () => {
    const both = defineStream<number>('events', { retain: { untilSavedBy: ['audit', 'reader-*'] } });
    const { primary, worker } = deploy();
    const server = await primary({ streams: [both, defineStream('others')] });
    await append(server, 10);
    const reader = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
    follow(reader);
    await reader.start();
    await hasSaved(server, 'reader-1', 10);
    const [ofEvents, ofOthers] = server.status().streams;
    const position: Position = server.position('events');
    const expected: HolderStatus[] = [
      { worker: 'audit', saved: undefined, lagRows: 10, connected: false },
      { worker: 'reader-1', saved: position, lagRows: 0, connected: true },
    ];
    expect(ofEvents).toMatchObject({ holders: expected, holderCount: 2 });
    expect(ofOthers).not.toHaveProperty('holders');
  });
});

test('a log that cannot tell who holds rows leaves that out of the status', async () => {
  const { primary } = deploy();
  const log = memoryLog();
  const of = (): never => {
    throw new LogError('LOG_DAMAGED', 'it is damaged');
  };
  Object.defineProperty(log, 'holders', { value: { ...log.holders!, of } });
  const server = await primary({ streams: [events], log });
  await append(server, 1);
  expect(server.status().streams[0]).toMatchObject({ latest: 1 });
  expect(server.status().streams[0]).not.toHaveProperty('holders');
});

test('a worker with a longer name than 255 characters holds rows by the name that is kept of it', async () => {
  const { primary, transport } = deploy();
  const server = await primary({ streams: [events] });
  await append(server, 3);
  const hand = new Netcat(transport, ADDRESS);
  hand.send(`NAME reader-${'x'.repeat(1_000)}`, 'PING 1 rowcast/2', 'REPLICATE events START');
  await hand.line('POSITION events 3');
  expect(holders(server).map(([name]) => name)).toContain(`reader-${'x'.repeat(248)}`);
});

test('an old connection of the same worker, whose end is not noticed yet, holds back what it had not saved', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const checkpoint = memoryCheckpoint();
  const first = worker({ name: 'reader-1', checkpoint, limits });
  const gate = new Gate();
  first.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ token }) =>
    token > 3 ? gate.opened : undefined,
  );
  await first.start();
  await append(server, 10);
  await hasSaved(server, 'reader-1', 3);
  const second = worker({ name: 'reader-1', checkpoint: memoryCheckpoint(), limits });
  const seen = follow(second);
  await second.start();
  await seen.reached(7);
  await expect.poll(() => server.status().connections.at(-1)!.subscriptions[0]!.saved).toBe(10);
  expect(holders(server)).toEqual([['reader-1', 3, 7]]);
  const gone = once(server, 'disconnected');
  gate.open();
  await first.stop();
  await gone;
  await hasSaved(server, 'reader-1', 10);
});

test('a log that keeps no acknowledgements refuses a stream that needs them, at open', async () => {
  const { primary } = deploy();
  const log = memoryLog();
  Object.defineProperty(log, 'holders', { value: undefined });
  await expect(primary({ streams: [events], log })).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  const memory = defineStream('events', { durable: false, retain: { untilSavedBy: ['a'] } });
  await expect(primary({ streams: [memory], log })).resolves.toBeDefined();
});
