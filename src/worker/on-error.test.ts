/** Batches whose handler throws, or of which the validator refuses a row. */

// oxlint-disable unicorn/no-thenable -- the member of an option is called `then`, and is no function

import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Logger } from '../core/model/logger.ts';
import { defineStream } from '../core/model/stream.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { Failure, OnError } from './failures.ts';
import type { WorkerOptions } from './options.ts';

const events = defineStream<number>('events');
const Fact = defineStream('facts', { row: z.object({ id: z.number().int() }) });
const facts = defineStream('facts');

/** A primary with the batches [1], [2], [3] of events, and a worker that cannot apply [2] `times` times. */
async function failing(onError: OnError | undefined, times = Infinity, options: Partial<WorkerOptions> = {}) {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events, facts, defineStreams('room:*')] });
  for (const row of [1, 2, 3]) await server.append(events, [row]);
  const reader = worker(options);
  const seen: number[] = [];
  const thrown = new Error('no room for two');
  let failures = 0;
  const subscription = reader.subscribe(
    events,
    { from: 'start', ...(onError !== undefined && { onError }) },
    async ({ rows }) => {
      await Promise.resolve();
      if (rows[0] === 2 && failures++ < times) throw thrown;
      seen.push(...rows);
    },
  );
  const ended = subscription.done.then(
    () => undefined,
    (error: RowcastError) => error,
  );
  return { server, worker: reader, ended, seen, thrown, failures: () => failures };
}

describe('a batch whose handler throws', () => {
  test('stops its stream, names itself in fields of the error, and leaves the other streams alone', async () => {
    const { server, worker, ended, seen, thrown } = await failing(undefined);
    const others = new Collector();
    worker.subscribe(facts, {}, others.handler);
    worker.start().catch(() => {});
    const error = (await ended)!;
    expect(error).toMatchObject({ code: 'HANDLER_FAILED', cause: thrown });
    expect(error.facts).toMatchObject({ stream: 'events', token: 2, position: { token: 2 }, attempt: 1 });
    expect(error.facts['rows']).toEqual(['2']);
    expect(Object.keys(error.facts), 'rows may be private').not.toContain('rows');
    await server.append(facts, ['fine']);
    await others.reached(1);
    expect(seen).toEqual([1]);
    expect(worker.position(events)?.token).toBe(1);
  });

  // SPEC D11
  test('is skipped when onError says so: the position and the checkpoint move past it, and the worker tells', async () => {
    const checkpoint = memoryCheckpoint();
    const warn = vi.fn<Logger['warn']>();
    const logger = { debug: () => {}, info: () => {}, warn, error: () => {} };
    const { server, worker, seen } = await failing('skip', Infinity, { checkpoint, logger });
    const skipped = once(worker, 'skipped');
    await worker.start();
    expect((await skipped)[0]).toMatchObject({
      stream: 'events',
      position: { stream: 'events', token: 2 },
      error: { code: 'HANDLER_FAILED' },
    });
    expect(seen).toEqual([1, 3]);
    expect(warn.mock.calls).toContainEqual([
      { stream: 'events', code: 'HANDLER_FAILED', token: 2 },
      'skipped a batch: the handler of stream events failed at token 2: no room for two',
    ]);
    await server.append(events, [2]);
    await worker.waitFor(server.position(events));
    await worker.stop();
    expect((await checkpoint.load()).get('events')).toMatchObject({ token: 4 });
  });

  test('is tried again, as rows that no attempt has changed, until it succeeds', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [facts] });
    await server.append(facts, [{ id: 1 }]);
    const reader = worker();
    const attempts: unknown[] = [];
    const onError = { retry: { times: 3, backoffMs: 1 } };
    reader.subscribe(facts, { from: 'start', onError }, ({ rows, token }) => {
      const row = rows[0] as { id: number };
      attempts.push([token, row.id]);
      row.id = 99;
      if (attempts.length < 3) throw new Error('not yet');
    });
    await reader.start();
    expect(attempts).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect(reader.position(facts)?.token).toBe(1);
  });

  test.each([
    ['stops', undefined, [1]],
    ['is skipped', 'skip', [1, 3]],
  ] as const)('%s after the last attempt', async (_what, then, expected) => {
    const { worker, ended, seen, failures } = await failing({
      retry: { times: 2, backoffMs: 0 },
      ...(then !== undefined && { then }),
    });
    const told = then === undefined ? ended : once(worker, 'skipped').then(([{ error }]) => error);
    const started = worker.start();
    started.catch(() => {});
    expect(await told).toMatchObject({ code: 'HANDLER_FAILED', facts: { attempt: 3 } });
    if (then === 'skip') await started;
    expect(seen).toEqual(expected);
    expect(failures()).toBe(3);
  });

  test('is what a function decides about, each time, with what it needs for a dead-letter stream', async () => {
    const told: Failure[] = [];
    const { worker, seen, thrown } = await failing(async (failure) => {
      await Promise.resolve();
      told.push(failure);
      return failure.attempt < 3 ? 'retry' : 'skip';
    });
    await worker.start();
    expect(seen).toEqual([1, 3]);
    expect(told.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(told[2]).toMatchObject({ stream: 'events', token: 2, position: { token: 2 }, rows: ['2'], cause: thrown });
    expect(told[2]!.error).toMatchObject({ code: 'HANDLER_FAILED' });
  });

  test.each<[string, OnError, string | RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no dead letters today');
      },
      /^onError of stream events threw: no dead letters today \(it was asked about token 2: the handler of /,
    ],
    ['rejects', async () => Promise.reject(new Error('no dead letters today')), /threw: no dead letters today/],
    ['says something else', () => 'later' as never, /^onError of stream events gave "later", not 'stop', 'skip' or/],
    ['says nothing', (() => {}) as never, /gave undefined/],
  ])('stops its stream when the function %s, and the error names the function', async (_what, onError, text) => {
    const { worker, ended, seen } = await failing(onError);
    worker.start().catch(() => {});
    const error = (await ended)!;
    expect(error.code).toBe('HANDLER_FAILED');
    expect(error.message).toMatch(text);
    expect(error.facts).toMatchObject({ stream: 'events', token: 2, attempt: 1 });
    expect(seen).toEqual([1]);
  });

  test.each(['stop', 'unsubscribe'] as const)(
    'does not hold %s up while it waits for its next attempt',
    async (how) => {
      const { worker, seen } = await failing({ retry: { times: Infinity, backoffMs: 3_600_000 } });
      worker.on('error', () => {});
      const started = worker.start();
      started.catch(() => {});
      await expect.poll(() => seen).toEqual([1]);
      await (how === 'stop' ? worker.stop() : worker.unsubscribe(events));
      expect(seen).toEqual([1]);
    },
  );

  test('leaves other streams alone while it waits for its next attempt', async () => {
    const { server, worker } = await failing({ retry: { times: Infinity, backoffMs: 3_600_000 } });
    const others = new Collector();
    worker.subscribe(facts, {}, others.handler);
    worker.start().catch(() => {});
    await once(worker, 'live');
    for (let i = 0; i < 20; i++) await server.append(facts, [i]);
    await others.reached(20);
  });

  test('that a function says to skip while the worker stops counts as skipped', async () => {
    const checkpoint = memoryCheckpoint();
    const gate = new Gate();
    const asked = new Gate();
    const { worker } = await failing(
      async (): Promise<'skip'> => {
        asked.open();
        await gate.opened;
        return 'skip';
      },
      Infinity,
      { checkpoint },
    );
    worker.start().catch(() => {});
    await asked.opened;
    const stopped = worker.stop();
    gate.open();
    await stopped;
    expect((await checkpoint.load()).get('events')).toMatchObject({ token: 2 });
  });

  test('in streams of a pattern concerns each stream alone', async () => {
    const { server, worker } = await failing(undefined);
    await worker.unsubscribe(events);
    const seen: string[] = [];
    worker.subscribeMatching('room:*', { from: 'start', onError: 'skip' }, ({ stream, rows }) => {
      if (rows[0] === 'bad') throw new Error('bad');
      seen.push(`${stream} ${String(rows[0])}`);
    });
    for (const row of ['bad', 'good']) for (const room of ['room:1', 'room:2']) await server.append(room, [row]);
    await worker.start();
    expect(seen.toSorted()).toEqual(['room:1 good', 'room:2 good']);
  });
});

describe('a row that the validator refuses', () => {
  test('is skipped with its batch, or given to a dead-letter stream as the text that came', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [facts] });
    await server.appendTexts(facts, ['{"id":1}', '{ "id": 12345678901234567890.10 }']);
    await server.append(facts, [{ id: 3 }]);
    const reader = worker();
    const told: Failure[] = [];
    const seen = new Collector();
    const onError = (failure: Failure): 'skip' => {
      told.push(failure);
      return 'skip';
    };
    reader.subscribe(Fact, { from: 'start', onError }, seen.handler);
    await reader.start();
    expect(seen.rows).toEqual([{ id: 3 }]);
    expect(told).toMatchObject([{ token: 1, rows: ['{"id":1}', '{ "id": 12345678901234567890.10 }'], attempt: 1 }]);
    expect(told[0]!.error).toMatchObject({
      name: 'PeerError',
      code: 'INVALID_ROW',
      facts: { stream: 'facts', token: 1 },
    });
  });

  test('is skipped in a loop too, whose own errors are its own', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [facts] });
    for (const id of ['one', 2]) await server.append(facts, [{ id }]);
    const reader = worker();
    for await (const { rows } of reader.follow(Fact, { from: 'start', onError: 'skip' })) {
      expect(rows).toEqual([{ id: 2 }]);
      break;
    }
  });
});

test.each<[unknown, RegExp]>([
  ['ignore', /^option onError of subscribe is 'stop', 'skip', \{ retry, then \} or a function, not 'ignore'$/],
  [{}, /^option retry of onError of subscribe is missing/],
  [{ retry: 3 }, /^option retry of onError of subscribe is an object of options/],
  [{ retry: { times: -1 } }, /^option retry.times of onError of subscribe is a number of times, or Infinity, not -1$/],
  [{ retry: { times: 1.5 } }, /not 1.5$/],
  [{ retry: { times: 1, backoffMs: Number.NaN } }, /^option retry.backoffMs .* is a number of ms from 0, not NaN$/],
  [{ retry: { times: 1 }, then: 'retry' }, /^option then of onError of subscribe is 'stop' or 'skip', not 'retry'$/],
  [{ retry: { times: 1, backofMs: 3 } }, /did you mean retry.backoffMs\?$/],
])('an onError that is none is refused: %j', (onError, text) => {
  const { worker } = deploy();
  const subscribe = (): unknown => worker().subscribe('events', { onError: onError as OnError }, () => {});
  expect(subscribe).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  expect(subscribe).toThrow(text);
});
