/** subscribeAll toward a Rowcast primary: streams that are gained, lost, restarted, and very many of them. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';
import { sqliteLog } from '../log/sqlite.ts';
import { memoryCheckpoint } from './checkpoint.ts';

const [a, b, c] = ['a', 'b', 'c'].map((name) => defineStream<string>(name)) as [Stream, Stream, Stream];
const typing = defineStream<string>('typing', { durable: false });
type Stream = ReturnType<typeof defineStream<string>>;

/** Where a durable log outlives its primaries. */
async function path(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-follow-all-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return join(directory, 'rowcast.db');
}

const told = (seen: Collector): string[] => seen.batches.map(({ stream, rows }) => `${stream} ${rows.join()}`);

// SPEC S8
test('a stream that the primary gains while the worker is cut off is followed from its first row, also from now', async () => {
  const { primary, worker } = deploy();
  const log = { path: await path() };
  const first = await primary({ streams: [a], log: sqliteLog(log) });
  await first.append(a, ['before']);
  const reader = worker();
  const seen = new Collector();
  reader.subscribeAll({ from: 'now' }, seen.handler);
  await reader.start();
  await first.append(a, ['1']);
  await seen.reached(1);
  const cut = once(reader, 'disconnected');
  await first.close();
  await cut;
  const second = await primary({ streams: [a, b], log: sqliteLog(log) });
  await second.append(a, ['2']);
  await second.append(b, ['first']);
  await second.append(b, ['second']);
  await seen.reached(4);
  expect(told(seen).toSorted()).toEqual(['a 1', 'a 2', 'b first', 'b second']);
});

// SPEC S9
test('and while the worker is away: its checkpoint knows where $streams stood', async () => {
  const { primary, worker } = deploy();
  const log = { path: await path() };
  const checkpoint = memoryCheckpoint();
  const first = await primary({ streams: [a, c], log: sqliteLog(log) });
  await first.append(c, ['old']);
  const before = worker({ checkpoint });
  before.subscribeAll({ from: 'checkpoint', fallback: 'now' }, () => {});
  await before.start();
  await before.stop();
  const stored = await checkpoint.load();
  expect([...stored.keys()].toSorted()).toEqual(['$streams.volatile/**', '$streams/**', 'c']);
  expect(stored.get('$streams/**')).toEqual({ ...placeOf(first, c, 1), stream: '$streams/**' });
  await first.close();
  const second = await primary({ streams: [a, b, c], log: sqliteLog(log) });
  await second.append(b, ['first']);
  await second.append(c, ['new']);
  const after = worker({ checkpoint });
  const seen = new Collector();
  after.subscribeAll({ from: 'checkpoint', fallback: 'now' }, seen.handler);
  await after.start();
  expect(told(seen).toSorted()).toEqual(['b first', 'c new']);
});

test('the boundary is stored as soon as it is known, also where there is no stream yet', async () => {
  const { primary, worker } = deploy();
  const log = { path: await path() };
  const checkpoint = memoryCheckpoint();
  const first = await primary({ streams: [], log: sqliteLog(log) });
  const before = worker({ checkpoint });
  before.subscribeAll({}, () => {});
  await before.start();
  await before.stop();
  expect((await checkpoint.load()).get('$streams/**')?.token).toBe(0);
  await first.close();
  const second = await primary({ streams: [a], log: sqliteLog(log) });
  await second.append(a, ['first']);
  const after = worker({ checkpoint });
  const seen = new Collector();
  after.subscribeAll({ from: 'checkpoint', fallback: 'now' }, seen.handler);
  await after.start();
  expect(told(seen)).toEqual(['a first']);
});

test('a volatile restart resets what is followed, and a volatile stream that is new is followed from its first row', async () => {
  const { primary, worker } = deploy();
  const presence = defineStream<string>('presence', { durable: false });
  const log = { path: await path() };
  const first = await primary({ streams: [a, typing], log: sqliteLog(log) });
  const reader = worker();
  const seen = new Collector();
  const resets: string[] = [];
  reader.on('reset', ({ stream, error }) => resets.push(`${stream} ${error.code}`));
  reader.subscribeAll({ from: 'now' }, seen.handler);
  await reader.start();
  await first.append(typing, ['1']);
  await first.append(a, ['1']);
  await seen.reached(2);
  const cut = once(reader, 'disconnected');
  await first.close();
  await cut;
  const second = await primary({ streams: [a, typing, presence], log: sqliteLog(log) });
  await second.append(typing, ['anew']);
  await second.append(presence, ['first']);
  await second.append(a, ['2']);
  await seen.reached(5);
  expect(told(seen).toSorted()).toEqual(['a 1', 'a 2', 'presence first', 'typing 1', 'typing anew']);
  expect(resets).toEqual(['typing RESET']);
});

test('a stream that is declared no more is left quietly, and goes on where it was when it comes back', async () => {
  const { primary, worker } = deploy();
  const log = { path: await path() };
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const seen = new Collector();
  const errors: unknown[] = [];
  reader.on('error', (error) => errors.push(error));
  reader.subscribeAll({ from: 'checkpoint', fallback: 'start' }, seen.handler);
  const first = await primary({ streams: [a, b], log: sqliteLog(log) });
  await reader.start();
  await first.append(b, ['1']);
  await seen.reached(1);
  await first.close();
  const second = await primary({ streams: [a], log: sqliteLog(log) });
  await second.append(a, ['1']);
  await seen.reached(2);
  await expect.poll(() => reader.isLive).toBe(true);
  expect(second.status().connections[0]!.subscriptions.map(({ stream }) => stream)).not.toContain('b');
  await second.close();
  const third = await primary({ streams: [a, b], log: sqliteLog(log) });
  await third.append(b, ['2']);
  await seen.reached(3);
  expect(told(seen)).toEqual(['b 1', 'a 1', 'b 2']);
  expect(errors).toEqual([]);
});

test('1,500 streams are followed on one connection; one that was trimmed is no gap from the start', async () => {
  const { primary, worker } = deploy();
  const streams = Array.from({ length: 1_500 }, (_, i) => defineStream<number>(`room-${i}`));
  const server = await primary({ streams });
  for (let row = 0; row < 3; row++) await Promise.all(streams.map(async (stream) => server.append(stream, [row])));
  await server.trim('room-7', 2);
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  let [ends, rows] = [0, 0];
  reader.on('disconnected', () => ends++);
  reader.subscribeAll({ from: 'checkpoint', fallback: 'start' }, (batch) => void (rows += batch.rows.length));
  await reader.start();
  expect([ends, rows, reader.isLive]).toEqual([0, 1_500 * 3 - 2, true]);
  await reader.waitFor(server.position(streams.at(-1)!));
  await reader.stop();
  expect((await checkpoint.load()).size).toBe(1_502);
  await server.append('room-7', [3]);
  const again = worker({ checkpoint });
  const seen = new Collector();
  again.subscribeAll({ from: 'checkpoint' }, seen.handler);
  await again.start();
  await settle();
  expect(seen.batches.map(({ stream, token }) => `${stream} ${token}`)).toEqual(['room-7 4']);
});
