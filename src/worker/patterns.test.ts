/** subscribeMatching, against a primary whose every line comes from the test. */

import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { settle } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { at, ERA, era, MEMORY, ORIGIN, rowcast } from '../../test/support/worker-ends.ts';
import { defineStreams } from '../core/model/declarations.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { WorkerOptions } from './options.ts';
import { createWorker, type Worker } from './worker.ts';

const MEMORY_ORIGIN = `${MEMORY.slice(0, 16)}.0.00000000`;
const NOW = { from: 'now' } as const;

const made = (token: number, stream: string): string => `RDATA $streams ${token} {"stream":"${stream}","made":1}`;
const deleted = (token: number, stream: string): string => `RDATA $streams ${token} {"stream":"${stream}","deleted":1}`;

/** Its primary has no stream until the test makes one. */
class Scene {
  readonly primary = new ScriptedPrimary();
  readonly worker: Worker;
  /** Resets and batches, in the order in which the application is told. */
  readonly told: string[] = [];
  readonly errors: RowcastError[] = [];
  #catalog = 0;

  constructor(options: Partial<WorkerOptions> = {}) {
    this.worker = createWorker({
      name: 'reader',
      connect: { host: '127.0.0.1', port: 1 },
      transport: this.primary.transport,
      limits: { minBackoffMs: 1, maxBackoffMs: 1 },
      ...options,
    });
    this.worker.on('reset', ({ stream, error }) =>
      this.told.push(`${stream} ${error.code}${error.facts['deleted'] === true ? ' deleted' : ''}`),
    );
    this.worker.on('error', (error) => this.errors.push(error));
    onTestFinished(() => void this.worker.stop());
  }

  readonly handler = ({ stream, rows }: { readonly stream: string; readonly rows: readonly unknown[] }): void => {
    this.told.push(`${stream} ${JSON.stringify(rows)}`);
  };

  /** Connects, and the catalogs are read. */
  async start(): Promise<this> {
    this.worker.start().catch(() => {});
    await this.connect();
    const { primary } = this;
    for (const [catalog, history] of [
      ['$streams', this.#catalog === 0 ? ORIGIN : ERA],
      ['$streams.volatile', MEMORY_ORIGIN],
    ] as const) {
      const token = catalog === '$streams' ? this.#catalog : 0;
      primary.send([`POSITION ${catalog} ${token} ${history}`]);
      primary.send([`RELEASED ${catalog}`, `POSITION ${catalog} ${token} ${history}`]);
    }
    primary.takeLines();
    return this;
  }

  async connect(present: string = ERA): Promise<void> {
    const { primary } = this;
    while (!primary.isAwaited) await settle(1);
    primary.open();
    primary.send(['SERVER example.com', `PING ${rowcast(present)}`]);
  }

  /** The primary makes a stream that the worker does not ask for. */
  list(stream: string, history = ERA): void {
    const token = ++this.#catalog;
    this.primary.send([`HISTORY $streams ${token - 1} ${history}`, made(token, stream)]);
  }

  /** The primary makes a stream, and the worker asks for it. */
  make(stream: string, rows: readonly unknown[] = [], history = ERA): void {
    this.list(stream, history);
    this.primary.send([`HISTORY ${stream} 0 ${history}`]);
    this.primary.send(rows.map((row, i) => `RDATA ${stream} ${i + 1} ${JSON.stringify(row)}`));
    this.primary.send([`POSITION ${stream} ${rows.length} ${history}`]);
  }

  delete(stream: string): void {
    this.unlist(stream);
    this.primary.send([`REFUSED ${stream} RESET {"deleted":true}`, `RELEASED ${stream}`]);
  }

  /** The primary deletes a stream that it does not replicate to the worker. */
  unlist(stream: string): void {
    this.primary.send([deleted(++this.#catalog, stream)]);
  }

  async stop(): Promise<void> {
    const stopped = this.worker.stop();
    this.primary.cut();
    await stopped;
  }
}

test('streams are followed as they are made, each by its own subscription', async () => {
  const scene = new Scene();
  scene.worker.subscribeMatching('room:*', NOW, scene.handler);
  await scene.start();
  expect(scene.worker.isLive).toBe(true);
  scene.make('room:1', ['a', 'b']);
  scene.list('other');
  scene.make('room:2', ['c']);
  expect(scene.told).toEqual(['room:1 ["a"]', 'room:1 ["b"]', 'room:2 ["c"]']);
  expect(scene.worker.position('room:1')).toEqual(at('room:1', 2));
  expect(scene.worker.isLive).toBe(true);
});

test('rows pass the validator of the pattern', async () => {
  const scene = new Scene();
  const rooms = defineStreams<string>('room:*', {
    row: {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value) => (typeof value === 'string' ? { value } : { issues: [{ message: 'it is no text' }] }),
      },
    },
  });
  scene.worker.subscribeMatching(rooms, NOW, ({ rows }) => void scene.told.push(...rows));
  await scene.start();
  scene.make('room:1', ['text', 7]);
  await settle(2);
  expect(scene.told).toEqual(['text']);
  expect(scene.errors.map(({ code, facts }) => `${facts['stream'] as string} ${code}`)).toEqual(['room:1 INVALID_ROW']);
});

test.each<[string, string]>([
  ['room:*', 'room:*'],
  ['room:*', 'room:a*'],
  ['**', '**'],
])('two patterns that share names are refused: %s and %s', (one, other) => {
  const { worker, handler } = new Scene();
  worker.subscribeMatching(one, NOW, handler);
  expect(() => worker.subscribeMatching(other, NOW, handler)).toThrow(
    expect.objectContaining({ code: 'DUPLICATE_STREAM' }),
  );
});

test.each([
  ['no star', 'INVALID_STREAM_NAME', 'room:1', {}],
  ['names of the logs', 'INVALID_STREAM_NAME', '$streams*', {}],
  ['a pattern whose boundary no checkpoint could keep', 'INVALID_STREAM_NAME', `${'x'.repeat(230)}*`, {}],
  ['a token, which is of one stream', 'INVALID_OPTION', 'room:*', { from: 5 }],
  ['no checkpoint to begin at', 'INVALID_OPTION', 'room:*', { from: 'checkpoint' }],
] as const)('%s: %s', (_what, code, pattern, options) => {
  const { worker, handler } = new Scene();
  expect(() => worker.subscribeMatching(pattern, options, handler)).toThrow(expect.objectContaining({ code }));
});

test('a stream that is deleted is told by reset after the batch that the handler is at, and forgotten', async () => {
  const checkpoint = memoryCheckpoint();
  const scene = new Scene({ checkpoint });
  const gate = new Gate();
  scene.worker.subscribeMatching('room:*', NOW, async (batch) => {
    await gate.opened;
    scene.handler(batch);
  });
  await scene.start();
  scene.make('room:1', ['a', 'b']);
  scene.delete('room:1');
  expect(scene.told).toEqual([]);
  expect(scene.worker.position('room:1'), 'it is told in order').toBeUndefined();
  gate.open();
  await settle(3);
  expect(scene.told).toEqual(['room:1 ["a"]', 'room:1 ["b"]', 'room:1 RESET deleted']);
  expect(scene.worker.position('room:1')).toBeUndefined();
  expect(scene.worker.isLive).toBe(true);
  await scene.stop();
  expect([...(await checkpoint.load()).keys()].sort()).toEqual(['$streams.volatile/room:*', '$streams/room:*']);
  expect(scene.errors).toEqual([]);
});

test('a stream that is deleted and made again while the handler is busy comes in order: old rows, reset, new rows', async () => {
  const scene = new Scene({ checkpoint: memoryCheckpoint() });
  const gate = new Gate();
  scene.worker.subscribeMatching('room:*', NOW, async (batch) => {
    await gate.opened;
    scene.handler(batch);
  });
  await scene.start();
  scene.make('room:1', ['old']);
  for (const [number, row] of [
    [8, 'newer'],
    [9, 'newest'],
  ] as const) {
    scene.delete('room:1');
    scene.primary.send([`ERA ${era(number).replace('.', ' ')}`]);
    scene.make('room:1', [row], era(number));
  }
  gate.open();
  await settle(5);
  expect(scene.told).toEqual([
    'room:1 ["old"]',
    'room:1 RESET deleted',
    'room:1 ["newer"]',
    'room:1 RESET deleted',
    'room:1 ["newest"]',
  ]);
  expect(scene.worker.position('room:1')).toEqual(at('room:1', 1, era(9)));
  expect(scene.worker.isLive).toBe(true);
});

test('a stream that failed and is deleted then is followed when it is made again', async () => {
  const scene = new Scene();
  scene.worker.subscribeMatching('room:*', NOW, (batch) => {
    if (scene.told.length === 0) {
      scene.told.push('failed');
      throw new Error('no room');
    }
    scene.handler(batch);
  });
  await scene.start();
  scene.make('room:1', ['a']);
  scene.primary.send(['RELEASED room:1']);
  scene.make('room:2', ['b']);
  scene.unlist('room:1');
  scene.make('room:1', ['c']);
  await settle(1);
  expect(scene.told).toEqual(['failed', 'room:2 ["b"]', 'room:1 ["c"]']);
  expect(scene.errors.map(({ code }) => code)).toEqual(['HANDLER_FAILED']);
});

test('a stream that is deleted before anything was told of it is forgotten without a word', async () => {
  const scene = new Scene();
  scene.worker.subscribeMatching('room:*', NOW, scene.handler);
  await scene.start();
  scene.list('room:1');
  scene.delete('room:1');
  expect(scene.told).toEqual([]);
  expect(scene.worker.isLive).toBe(true);
  scene.make('room:1', ['a']);
  expect(scene.told).toEqual(['room:1 ["a"]']);
});

test('nothing is kept of streams that were deleted, however many they were', async () => {
  const saves: number[] = [];
  const stored = new Map<string, Position>();
  const scene = new Scene({
    checkpoint: {
      load: async () => stored,
      save: async (changed, all) => {
        saves.push(all.size);
        for (const [key, position] of changed) if (position === undefined) stored.delete(key);
      },
    },
  });
  scene.worker.subscribeMatching('room:*', NOW, scene.handler);
  await scene.start();
  for (let i = 0; i < 1_000; i++) {
    scene.make(`room:${i}`, [i]);
    scene.delete(`room:${i}`);
    // So many lines are more than one turn of the event loop.
    if (i % 100 === 99) await new Promise(setImmediate);
  }
  expect(scene.told).toHaveLength(2_000);
  expect(scene.worker.isLive).toBe(true);
  await scene.stop();
  expect(saves.at(-1)).toBe(2);
});

test('a wait for a stream that a pattern matches waits until it is made and applied', async () => {
  const scene = new Scene();
  scene.worker.subscribeMatching('room:*', NOW, scene.handler);
  const early = scene.worker.waitFor(at('room:1', 1));
  await scene.start();
  const later = scene.worker.waitFor(at('room:1', 2), { timeoutMs: 60_000 });
  const never = scene.worker.waitFor(at('room:2', 1), { timeoutMs: 1 });
  expect(scene.worker.hasReached(at('room:1', 1))).toBe(false);
  await expect(never).rejects.toMatchObject({
    code: 'WAIT_TIMEOUT',
    message: expect.stringContaining('the primary has not made the stream'),
  });
  scene.make('room:1', ['a']);
  await early;
  expect(scene.worker.hasReached(at('room:1', 1))).toBe(true);
  scene.primary.send(['RDATA room:1 2 "b"']);
  await later;
  await expect(scene.worker.waitFor(at('users', 1))).rejects.toMatchObject({ code: 'NOT_SUBSCRIBED' });
  await expect(scene.worker.waitFor({ ...at('room:3', 1), history: undefined })).rejects.toMatchObject({
    code: 'INVALID_POSITION',
  });
  await expect(scene.worker.waitFor(at('room:3', 1, 'cccccccccccccccc.7.00000000'))).rejects.toMatchObject({
    code: 'OTHER_LOG',
  });
});

test('a wait for what a stream will have once it is made again outlives its deletion', async () => {
  const scene = new Scene();
  scene.worker.subscribeMatching('room:*', NOW, scene.handler);
  await scene.start();
  scene.make('room:1', ['a']);
  const old = scene.worker.waitFor(at('room:1', 9));
  const next = scene.worker.waitFor(at('room:1', 1, era(8)));
  old.catch(() => {});
  scene.delete('room:1');
  await expect(old).rejects.toMatchObject({ code: 'RESET' });
  scene.primary.send([`ERA ${era(8).replace('.', ' ')}`]);
  scene.make('room:1', ['b'], era(8));
  await next;
});

test('to unsubscribe a pattern ends its streams, its waits, and waits for its handlers', async () => {
  const scene = new Scene();
  const gate = new Gate();
  scene.worker.subscribeMatching('room:*', NOW, async (batch) => {
    await gate.opened;
    scene.handler(batch);
  });
  await scene.start();
  scene.make('room:1', ['a', 'b']);
  const wait = scene.worker.waitFor(at('room:9', 1));
  wait.catch(() => {});
  scene.primary.takeLines();
  let isEnded = false;
  const ended = scene.worker.unsubscribe('room:*').then(() => {
    isEnded = true;
  });
  expect(scene.primary.takeLines()).toEqual(['RELEASE $streams', 'RELEASE $streams.volatile', 'RELEASE room:1']);
  await expect(wait).rejects.toMatchObject({ code: 'CLOSED' });
  expect(isEnded).toBe(false);
  gate.open();
  await ended;
  expect(scene.told).toEqual(['room:1 ["a"]']);
  await expect(scene.worker.waitFor(at('room:9', 1))).rejects.toMatchObject({ code: 'NOT_SUBSCRIBED' });
  expect(scene.worker.isLive).toBe(true);
});

test('a pattern that is subscribed beside all takes over the streams that all has brought, where they are', async () => {
  const scene = new Scene({ checkpoint: memoryCheckpoint() });
  scene.worker.subscribeAll(NOW, scene.handler);
  await scene.start();
  scene.make('room:1', ['a']);
  scene.make('users', ['u']);
  scene.primary.takeLines();
  scene.worker.subscribeMatching(
    'room:*',
    { from: 'checkpoint' },
    ({ rows }) => void scene.told.push(`rooms ${rows.join()}`),
  );
  expect(scene.primary.takeLines()).toContain('RELEASE room:1');
  scene.primary.send(['RELEASED room:1', 'RELEASED $streams', `HISTORY $streams 0 ${ERA}`]);
  scene.primary.send([made(1, 'room:1'), made(2, 'users'), `POSITION $streams 2 ${ERA}`]);
  scene.primary.send(['RDATA room:1 2 "b"', 'RDATA users 2 "v"']);
  expect(scene.told).toEqual(['room:1 ["a"]', 'users ["u"]', 'rooms b', 'users ["v"]']);
});

test('a stream by name is live at token 0 before it is made, and its rows come when it is', async () => {
  const scene = new Scene();
  scene.worker.subscribe('room:1', { from: 'start' }, scene.handler);
  scene.worker.start().catch(() => {});
  await scene.connect();
  scene.primary.send([`POSITION room:1 0 ${ORIGIN}`]);
  expect(scene.worker.isLive).toBe(true);
  expect(scene.worker.position('room:1')).toEqual(at('room:1', 0, ORIGIN));
  const wait = scene.worker.waitFor(at('room:1', 1));
  scene.primary.send([`HISTORY room:1 0 ${ERA}`, 'RDATA room:1 1 "first"']);
  await wait;
  expect(scene.told).toEqual(['room:1 ["first"]']);
});
