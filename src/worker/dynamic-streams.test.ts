/** Streams that are made and deleted while a worker follows them, with real primaries. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { sqliteLog } from '../log/sqlite.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import { fileCheckpoint } from './file-checkpoint.ts';
import type { Worker } from './worker.ts';

const rooms = defineStreams<string>('room:*');
const users = defineStreams<string>('user:*', { durable: false });
const streams = [rooms, users];

async function folder(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-dynamic-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

const told = (seen: Collector<string>): string[] => seen.batches.map(({ stream, rows }) => `${stream} ${rows.join()}`);

/** `room:1 deleted`, for each reset that the application is told. */
function resetsOf(worker: Worker): string[] {
  const resets: string[] = [];
  worker.on('reset', ({ stream, error }) =>
    resets.push(`${stream} ${error.facts['deleted'] === true ? 'deleted' : error.code}`),
  );
  return resets;
}

describe('by name, before it exists', () => {
  test('a stream is empty at token 0 and live, and its first rows come when it is made', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const reader = worker({ checkpoint: memoryCheckpoint() });
    const seen = new Collector<string>();
    reader.subscribe(rooms.stream('room:42'), {}, seen.handler);
    await reader.start();
    expect(reader.position('room:42')?.token).toBe(0);
    const position = await server.append(rooms.stream('room:42'), ['first']);
    await reader.waitFor(position);
    expect(seen.rows).toEqual(['first']);
  });

  test('a name that nothing declares is unknown', async () => {
    const { primary, worker } = deploy();
    await primary({ streams });
    const reader = worker();
    reader.subscribe('lobby', { from: 'start' }, () => {});
    reader.on('error', () => {});
    await expect(reader.start()).rejects.toMatchObject({ code: 'UNKNOWN_STREAM' });
  });
});

describe('through a pattern', () => {
  // SPEC S14
  test('a stream is followed from its first row, whatever from says, also one that is made while the worker is cut off', async () => {
    const { primary, worker } = deploy();
    const log = join(await folder(), 'rows.db');
    const first = await primary({ streams, log: sqliteLog({ path: log }) });
    await first.append(rooms.stream('room:old'), ['before']);
    const reader = worker();
    const seen = new Collector<string>();
    reader.subscribeMatching(rooms, { from: 'now' }, seen.handler);
    await reader.start();
    await reader.waitFor(await first.append(rooms.stream('room:1'), ['a']));
    await reader.waitFor(await first.append(rooms.stream('room:old'), ['b']));
    await first.append(users.stream('user:1'), ['of another pattern']);
    const cut = once(reader, 'disconnected');
    await first.close();
    await cut;
    const second = await primary({ streams, log: sqliteLog({ path: log }) });
    await second.append(rooms.stream('room:2'), ['c']);
    await reader.waitFor(await second.append(rooms.stream('room:2'), ['d']));
    expect(told(seen)).toEqual(['room:1 a', 'room:old b', 'room:2 c', 'room:2 d']);
  });

  test('one that retention has cut before the worker came is a gap, not a silent start', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const checkpoint = memoryCheckpoint();
    const before = worker({ checkpoint });
    before.subscribeMatching(rooms, {}, () => {});
    await before.start();
    await before.stop();
    for (const row of ['a', 'b', 'c']) await server.append(rooms.stream('room:1'), [row]);
    await server.trim('room:1', 2);
    const after = worker({ checkpoint });
    const seen = new Collector<string>();
    const resets = resetsOf(after);
    after.subscribeMatching(rooms, { onReset: 'earliest' }, seen.handler);
    await after.start();
    expect([...resets, ...told(seen)]).toEqual(['room:1 GAP', 'room:1 c']);
  });

  // SPEC S15
  test('one that is deleted is told so in order, and one that is made again comes from its first row', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const reader = worker({ checkpoint: memoryCheckpoint() });
    const [begun, gate] = [new Gate(), new Gate()];
    const events: string[] = [];
    reader.on('reset', ({ stream, error }) => events.push(`${stream} ${String(error.facts['deleted'])}`));
    reader.subscribeMatching('room:*', { from: 'start' }, async ({ stream, rows }) => {
      begun.open();
      await gate.opened;
      events.push(`${stream} ${rows.join()}`);
    });
    await reader.start();
    const old = await server.append(rooms.stream('room:1'), ['old']);
    await begun.opened;
    await server.delete('room:1');
    const made = await server.append(rooms.stream('room:1'), ['new']);
    expect([old.token, made.token]).toEqual([1, 1]);
    expect(made.history).not.toBe(old.history);
    const reached = reader.waitFor(made);
    gate.open();
    await reached;
    expect(events).toEqual(['room:1 old', 'room:1 true', 'room:1 new']);
    expect(reader.position('room:1')).toEqual(made);
  });

  // SPEC S16
  test('one that is deleted while the worker is away is told so when it is back', async () => {
    await expectToldOfDeletion(false);
  });

  test('and so is one that is made again meanwhile, which comes from its first row', async () => {
    await expectToldOfDeletion(true);
  });

  test('one of a volatile log is reset by a restart of the primary, and comes from its first row', async () => {
    const { primary, worker } = deploy();
    const log = join(await folder(), 'rows.db');
    const first = await primary({ streams, log: sqliteLog({ path: log }) });
    const reader = worker();
    const seen = new Collector<string>();
    const resets = resetsOf(reader);
    reader.subscribeMatching(users, { from: 'now' }, seen.handler);
    await reader.start();
    await reader.waitFor(await first.append(users.stream('user:1'), ['a']));
    await reader.waitFor(await first.append(users.stream('user:2'), ['b']));
    const cut = once(reader, 'disconnected');
    await first.close();
    await cut;
    const second = await primary({ streams, log: sqliteLog({ path: log }) });
    await second.append(users.stream('user:2'), ['c']);
    await seen.reached(3);
    await expect.poll(() => reader.isLive).toBe(true);
    await reader.waitFor(await second.append(users.stream('user:1'), ['d']));
    expect(told(seen)).toEqual(['user:1 a', 'user:2 b', 'user:2 c', 'user:1 d']);
    expect(resets.toSorted()).toEqual(['user:1 deleted', 'user:2 RESET']);
  });

  // SPEC W7
  test('a wait for a row of a stream that was deleted ends, whenever it began', async () => {
    const { primary, worker, transport } = deploy();
    const server = await primary({ streams });
    const reader = worker();
    reader.subscribeMatching(rooms, { from: 'now' }, () => {});
    await reader.start();
    const cut = once(reader, 'disconnected');
    transport.cutAll();
    await cut;
    const before = await server.append(rooms.stream('room:1'), ['a']);
    const waiting = reader.waitFor(before);
    await server.delete('room:1');
    await expect(waiting).rejects.toMatchObject({ code: 'RESET', facts: { stream: 'room:1', deleted: true } });
    await reader.waitFor(before);
    await reader.waitFor(await server.append(rooms.stream('room:1'), ['b']));
  });

  // SPEC S17
  test('rooms that come and go all day leave nothing behind', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams });
    const checkpoint = memoryCheckpoint();
    const reader = worker({ checkpoint });
    const seen = new Collector<string>();
    const resets = resetsOf(reader);
    reader.subscribeMatching(rooms, { from: 'now' }, seen.handler);
    await reader.start();
    for (let i = 0; i < 300; i++) {
      await reader.waitFor(await server.append(rooms.stream(`room:${i}`), [String(i)]));
      await server.delete(`room:${i}`);
    }
    await expect.poll(() => resets.length).toBe(300);
    expect(seen.batches).toHaveLength(300);
    expect(reader.isLive).toBe(true);
    expect(server.status().connections[0]!.subscriptions.filter(({ stream }) => !stream.startsWith('$'))).toEqual([]);
    await reader.stop();
    expect((await checkpoint.load()).size).toBe(2);
  });
});

test('2,000 streams of a pattern are live after each start and cut; what did not change is not written again', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const names = Array.from({ length: 2_000 }, (_, i) => `room:${i}`);
  await Promise.all(names.map(async (name) => server.append(rooms.stream(name), ['a'])));
  const checkpoint = memoryCheckpoint();
  const written: number[] = [];
  const counting = {
    load: checkpoint.load,
    save: async (changed: Parameters<typeof checkpoint.save>[0], all: Parameters<typeof checkpoint.save>[1]) => {
      written.push(changed.size);
      await checkpoint.save(changed, all);
    },
  };
  const before = worker({ checkpoint: counting });
  const seen = new Collector<string>();
  before.subscribeMatching(rooms, { from: 'checkpoint', fallback: 'start' }, seen.handler);
  await before.start();
  expect(seen.batches).toHaveLength(2_000);
  await before.stop();
  expect((await checkpoint.load()).size).toBe(2_002);
  written.length = 0;
  const after = worker({ checkpoint: counting });
  after.subscribeMatching(rooms, { from: 'checkpoint', fallback: 'start' }, seen.handler);
  await after.start();
  await after.waitFor(await server.append(rooms.stream('room:7'), ['b']));
  await after.stop();
  expect(told(seen).slice(2_000)).toEqual(['room:7 b']);
  expect(written).toEqual([1]);
});

/** A worker with a checkpoint is stopped, misses a deletion, and starts again. */
async function expectToldOfDeletion(isMadeAgain: boolean): Promise<void> {
  const { primary, worker } = deploy();
  const directory = await folder();
  const log = join(directory, 'rows.db');
  const checkpoint = () => fileCheckpoint(join(directory, 'reader.checkpoint'));
  const first = await primary({ streams, log: sqliteLog({ path: log }) });
  await first.append(rooms.stream('room:1'), ['a', 'b']);
  await first.append(rooms.stream('room:2'), ['c']);
  const before = worker({ checkpoint: checkpoint() });
  before.subscribeMatching(rooms, { from: 'checkpoint', fallback: 'start' }, () => {});
  await before.start();
  await before.stop();
  expect((await checkpoint().load()).has('room:1')).toBe(true);
  await first.delete('room:1');
  if (isMadeAgain) {
    await first.append(rooms.stream('room:1'), ['d']);
    await first.append(rooms.stream('room:1'), ['e']);
  }
  const after = worker({ checkpoint: checkpoint() });
  const seen = new Collector<string>();
  const resets = resetsOf(after);
  const errors: unknown[] = [];
  after.on('error', (error) => errors.push(error));
  after.subscribeMatching(rooms, { from: 'checkpoint', fallback: 'now' }, seen.handler);
  await after.start();
  expect(resets).toEqual(['room:1 deleted']);
  expect(told(seen)).toEqual(isMadeAgain ? ['room:1 d', 'room:1 e'] : []);
  expect(errors).toEqual([]);
  await after.stop();
  expect((await checkpoint().load()).has('room:1')).toBe(isMadeAgain);
}
