import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { type Checkpoint, memoryCheckpoint } from './checkpoint.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { fileCheckpoint } from './file-checkpoint.ts';
import type { Runner } from './subscription.ts';

type Changed = ReadonlyMap<string, Position | undefined>;

const HISTORY = '8f3c1d2e4b5a6978.7.a1b2c3d4';

function positionOf(stream: string, token: number): Position {
  return { stream, token, history: HISTORY };
}

test('a memory checkpoint keeps a copy, and forgets what is gone', async () => {
  const checkpoint = memoryCheckpoint();
  expect(await checkpoint.load()).toEqual(new Map());
  const mine = new Map<string, Position | undefined>([['events', positionOf('events', 1)]]);
  await checkpoint.save(mine, new Map());
  mine.set('events', positionOf('events', 2));
  expect(await checkpoint.load()).toEqual(new Map([['events', positionOf('events', 1)]]));
  await checkpoint.save(new Map([['events', undefined]]), new Map());
  expect(await checkpoint.load()).toEqual(new Map());
});

test.each<[unknown, string]>([
  [undefined, 'its load gave undefined, not a Map of positions'],
  [{ events: positionOf('events', 1) }, 'its load gave an object, not a Map of positions'],
  [
    new Map([['events', 'events=1']]),
    'its load gave no position for events: a position is an object with stream, token and history, as append gives ' +
      'it, not a string: parsePosition reads text',
  ],
])('a load that gives %s is refused with what it gave', async (stored, why) => {
  const writer = new CheckpointWriter({
    workerName: 'reader-1',
    clock: new VirtualClock(),
    checkpoint: { load: async () => stored as ReadonlyMap<string, Position> },
    runnerOf: () => undefined,
    onSaved: () => {},
    onError: () => {},
  });
  await expect(writer.load()).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: `cannot read the checkpoint: ${why}`,
  });
});

test('a worker that stops while it waits for the last save of another one does not load a checkpoint that it has closed', async () => {
  const gate = new Gate();
  const calls: string[] = [];
  const checkpoint: Checkpoint = {
    load: async () => {
      calls.push('load');
      return new Map();
    },
    save: async () => gate.opened,
    close: async () => void calls.push('close'),
  };
  const clock = new VirtualClock();
  const { worker } = deploy();
  const before = new CheckpointWriter({
    workerName: 'reader-1',
    clock,
    checkpoint,
    runnerOf: () => undefined,
    onSaved: () => {},
    onError: () => {},
  });
  before.handleChanged('$streams/room:*', positionOf('$streams/room:*', 1));
  clock.step(clock.now() + 100);
  expect(before.isWriting).toBe(true);
  const reader = worker({ checkpoint });
  const started = expect(reader.start()).rejects.toMatchObject({ code: 'CLOSED' });
  await reader.stop();
  gate.open();
  await started;
  await settle();
  expect(calls).toEqual(['close']);
});

/** A writer, and what its checkpoint gets. */
class Writing {
  readonly clock = new VirtualClock();
  readonly errors: RowcastError[] = [];
  readonly saves: Changed[] = [];
  readonly alls: string[][] = [];
  readonly told: string[] = [];
  readonly writer: CheckpointWriter;
  readonly #runners = new Map<string, Runner>();

  constructor(save: Checkpoint['save'] = async () => {}, stored: readonly Position[] = []) {
    this.writer = new CheckpointWriter({
      workerName: 'reader-1',
      clock: this.clock,
      checkpoint: {
        load: async () => new Map(stored.map((position) => [position.stream, position])),
        save: async (changed, all) => {
          this.saves.push(new Map(changed));
          this.alls.push([...all.values()].map(({ stream, token }) => `${stream} ${token}`));
          await save(changed, all);
        },
      },
      runnerOf: (stream) => this.#runners.get(stream),
      onSaved: (own) => this.told.push(own.map(({ position: { stream, token } }) => `${stream} ${token}`).join()),
      onError: (error) => this.errors.push(error),
    });
  }

  /** The position of a stream moves. Undefined: it is void. */
  move(stream: string, token: number | undefined): void {
    const toSave = token === undefined ? undefined : positionOf(stream, token);
    const isToSave = this.#runners.get(stream)?.isToSave ?? false;
    const machine = { delivery: { toSave, applied: toSave, lineage: 0 } };
    const runner = { stream, isToSave, machine } as unknown as Runner;
    // The writer holds the runner of the first move.
    const held = this.#runners.get(stream) ?? runner;
    Object.assign(held, { machine });
    this.#runners.set(stream, held);
    this.writer.handleMoved(held);
  }

  /** The time of a write passes. */
  async write(): Promise<Changed | undefined> {
    this.clock.step(this.clock.now() + 100);
    await settle(1);
    return this.saves.at(-1);
  }
}

test('a save has what moved since the last one, and all positions', async () => {
  const writing = new Writing(undefined, [positionOf('events', 1), positionOf('other', 9)]);
  await writing.writer.load();
  writing.move('events', 2);
  writing.move('users', 1);
  writing.move('events', 3);
  expect(await writing.write()).toEqual(
    new Map([
      ['events', positionOf('events', 3)],
      ['users', positionOf('users', 1)],
    ]),
  );
  writing.move('users', 2);
  writing.writer.handleChanged('other', undefined);
  expect(await writing.write()).toEqual(
    new Map([
      ['other', undefined],
      ['users', positionOf('users', 2)],
    ]),
  );
  expect(writing.alls).toEqual([
    ['events 3', 'other 9', 'users 1'],
    ['events 3', 'users 2'],
  ]);
  expect(writing.told).toEqual(['events 3,users 1', 'users 2']);
});

test('what stands where it stood, and what was never stored and is gone, is not written', async () => {
  const writing = new Writing(undefined, [positionOf('events', 1)]);
  await writing.writer.load();
  writing.move('events', 1);
  writing.move('brief', undefined);
  writing.writer.handleChanged('gone', undefined);
  expect(await writing.write()).toBeUndefined();
  expect(writing.told, 'it is saved all the same').toEqual(['events 1']);
});

test('positions that move within 100 ms share a write, and one write waits for the other', async () => {
  const gate = new Gate();
  const writing = new Writing(async () => gate.opened);
  const { clock, saves } = writing;
  writing.move('events', 1);
  writing.move('events', 2);
  expect(clock.step(clock.now() + 99)).toBe(false);
  expect(clock.step(clock.now() + 1)).toBe(true);
  expect(saves.length).toBe(1);
  writing.move('events', 3);
  clock.step(clock.now() + 1_000);
  expect(saves.length).toBe(1);
  const closed = writing.writer.close();
  await settle(2);
  expect(saves.length).toBe(1);
  gate.open();
  await closed;
  expect(saves.length).toBe(2);
});

test('a position that moves during a write is written after it, though nothing moves any more', async () => {
  const gate = new Gate();
  const writing = new Writing(async () => gate.opened);
  const { clock, saves } = writing;
  writing.move('events', 1);
  await writing.write();
  writing.move('events', 2);
  clock.step(clock.now() + 1_000);
  gate.open();
  await settle(2);
  expect(await writing.write()).toEqual(new Map([['events', positionOf('events', 2)]]));
  expect(saves.length).toBe(2);
  expect(writing.told).toEqual(['events 1', 'events 2']);
});

test('nothing is written when nothing moved', async () => {
  const { writer, saves } = new Writing();
  await writer.close();
  expect(saves.length).toBe(0);
});

test('a write that fails is reported, and comes again with what changed since, at the latest at the end', async () => {
  const writing = new Writing(async () => {
    if (writing.saves.length < 3) throw new Error('disk full');
  });
  const { clock, writer, errors } = writing;
  writing.move('events', 1);
  writing.move('room:1', 1);
  await writing.write();
  expect(errors).toMatchObject([{ code: 'CHECKPOINT_FAILED', message: 'cannot write the checkpoint: disk full' }]);
  expect(clock.step(clock.now() + 10_000)).toBe(false);
  writing.move('room:1', undefined);
  expect(await writing.write(), 'the checkpoint never had room:1').toEqual(
    new Map([['events', positionOf('events', 1)]]),
  );
  expect(writing.told).toEqual([]);
  await writer.close();
  expect(writing.saves.length).toBe(3);
  expect(writing.saves[2]).toEqual(writing.saves[1]);
  expect(writing.told).toEqual(['events 1,room:1 1']);
  expect(errors.length).toBe(2);
});

test('a worker whose checkpoint is damaged does not start', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-checkpoint-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'reader-1.checkpoint');
  await writeFile(path, 'not JSON');
  const { worker } = deploy();
  const reader = worker({ checkpoint: fileCheckpoint(path) });
  await expect(reader.start()).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
  await reader.stop();
});

test('a checkpoint without save is only read, and what was applied counts as saved', async () => {
  const { primary, worker } = deploy();
  const events = defineStream<number>('events');
  const server = await primary({ streams: [events] });
  const first = await server.append(events, [1]);
  await server.append(events, [2]);
  const reader = worker({
    checkpoint: { load: async () => new Map([['events', first]]) },
    limits: { appliedIntervalMs: 1 },
  });
  const seen: unknown[] = [];
  reader.subscribe(events, {}, ({ rows }) => void seen.push(...rows));
  await reader.start();
  expect(seen).toEqual([2]);
  await expect.poll(() => server.status().connections[0]?.subscriptions[0]).toMatchObject({ applied: 2, saved: 2 });
});

test('a worker whose checkpoint cannot be written says so and goes on', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [{ name: 'events', durable: true, retain: {} }] });
  const reader = worker({
    checkpoint: { load: async () => new Map(), save: async () => Promise.reject(new Error('disk full')) },
  });
  reader.subscribe('events', {}, () => {});
  await reader.start();
  const failed = once(reader, 'error');
  const token = await server.append('events', [1]);
  await reader.waitFor(token);
  const stopped = reader.stop();
  expect((await failed)[0]).toMatchObject({ name: 'HandlerError', code: 'CHECKPOINT_FAILED' });
  await stopped;
});

test('where handlers store positions, the worker stores what no batch brings, and the next batch waits for it', async () => {
  const { primary, worker } = deploy();
  const events = defineStream<number>('events');
  const server = await primary({ streams: [events] });
  await server.append(events, [1]);
  const told: string[] = [];
  const gate = new Gate();
  const reader = worker({
    checkpoint: {
      load: async () => new Map(),
      saveMoves: async (changed) => {
        for (const [key, position] of changed) told.push(`save ${key} ${position?.token}`);
        await gate.opened;
      },
    },
  });
  reader.subscribe(events, { from: 'now', onError: 'skip' }, ({ token }) => {
    if (token === 3) throw new Error('bad');
    told.push(`batch ${token}`);
  });
  const started = reader.start();
  await expect.poll(() => told).toEqual(['save events 1']);
  for (const row of [2, 3, 4]) await server.append(events, [row]);
  await settle();
  expect(told).toEqual(['save events 1']);
  gate.open();
  await started;
  await reader.waitFor(server.position(events));
  expect(told).toEqual(['save events 1', 'batch 2', 'save events 3', 'batch 4']);
});

test('a move that cannot be stored is reported, and the stream goes on', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineStream('events')] });
  await server.append('events', [1]);
  const checkpoint = { load: async () => new Map(), saveMoves: async () => Promise.reject(new Error('disk full')) };
  const reader = worker({ checkpoint });
  const failed = once(reader, 'error');
  reader.subscribe('events', { from: 'now' }, () => {});
  await reader.start();
  expect((await failed)[0]).toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: 'cannot write the checkpoint: disk full',
  });
  const both = { ...checkpoint, save: async () => {} };
  expect(() => worker({ checkpoint: both })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
