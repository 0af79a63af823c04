import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryCheckpoint } from './checkpoint.ts';

interface Fact {
  readonly id: number;
}

const events = defineStream<Fact>('events');
const receipts = defineStream<Fact>('receipts');
const streams = [events, receipts];

test('a loop gets the batches in order, and leaving it ends the subscription', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 5; id++) await server.append(events, [{ id }]);
  const reader = worker();
  const seen: number[] = [];
  for await (const { token, rows } of reader.follow(events, { from: 0 })) {
    seen.push(token, rows[0]!.id);
    if (token === 3) break;
  }
  expect(seen).toEqual([1, 1, 2, 2, 3, 3]);
  expect(reader.position(events)).toBeUndefined();
  const again = new Collector<Fact>();
  reader.subscribe(events, { from: 'start' }, again.handler);
  await again.reached(5);
});

test('a batch counts as applied when the next one is asked for', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  for await (const { token } of reader.follow(events, { fallback: 'start' })) {
    await settle(5);
    expect(reader.position(events)?.token ?? 0).toBe(token - 1);
    if (token === 3) break;
  }
  await reader.stop();
  expect((await checkpoint.load()).get('events')?.token).toBe(2);
});

test('a signal ends the loop with its reason: while it waits, in the middle of a body, and before it begins', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const reason = new Error('enough');
  const run = async (controller: AbortController, from: number, inBody?: () => void): Promise<number[]> => {
    const seen: number[] = [];
    try {
      for await (const { token } of reader.follow(events, { from, signal: controller.signal })) {
        seen.push(token);
        inBody?.();
      }
      seen.push(-1);
    } catch (thrown) {
      expect(thrown).toBe(reason);
    }
    return seen;
  };
  const waiting = new AbortController();
  const first = run(waiting, 0);
  await server.append(events, [{ id: 1 }]);
  await settle();
  waiting.abort(reason);
  expect(await first).toEqual([1]);
  expect(await run(waiting, 0)).toEqual([]);
  const inBody = new AbortController();
  expect(await run(inBody, 0, () => inBody.abort(reason))).toEqual([1]);
});

test('a loop that was aborted leaves a later subscription of the stream alone', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  await server.append(events, [{ id: 1 }]);
  const reader = worker();
  const controller = new AbortController();
  const seen = new Collector<Fact>();
  const loop = async (): Promise<void> => {
    for await (const { token } of reader.follow(events, { from: 'start', signal: controller.signal })) {
      expect(token).toBe(1);
      controller.abort();
      reader.subscribe(events, { from: 'start' }, seen.handler);
      await settle(3);
    }
  };
  await expect(loop()).rejects.toMatchObject({ name: 'AbortError' });
  await server.append(events, [{ id: 2 }]);
  await seen.reached(2);
});

test('a worker that stops ends the loop in good order, without the batch that it is at', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  const checkpoint = memoryCheckpoint();
  const reader = worker({ checkpoint });
  const seen: number[] = [];
  for await (const { token } of reader.follow(events, { fallback: 'start' })) {
    seen.push(token);
    if (token === 2) await reader.stop();
  }
  expect(seen).toEqual([1, 2]);
  expect((await checkpoint.load()).get('events')?.token).toBe(1);
  await expect(reader.follow(events).next()).rejects.toMatchObject({ code: 'CLOSED' });
});

test('a failure is thrown into the loop and nowhere else', async () => {
  const { primary, worker } = deploy();
  await primary({ streams });
  const reader = worker();
  const errors: unknown[] = [];
  reader.on('error', (error) => errors.push(error));
  await expect(reader.follow('nothing').next()).rejects.toMatchObject({ name: 'PeerError', code: 'UNKNOWN_STREAM' });
  expect(errors).toEqual([]);
});

test('a loop hears nothing of the failure of another subscription', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe('nothing', {}, () => {});
  const failed = once(reader, 'error');
  const loop = reader.follow(events, { from: 'start' });
  const first = loop.next();
  await failed;
  await server.append(events, [{ id: 1 }]);
  expect(await first).toMatchObject({ done: false, value: { token: 1 } });
  // Begun after the failure, it is as well off.
  await server.append(receipts, [{ id: 2 }]);
  const later = reader.follow(receipts, { from: 'start' });
  expect(await later.next()).toMatchObject({ done: false, value: { token: 1 } });
  await loop.return();
  await later.return();
});

test('a body that throws ends the loop with its own error', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  await server.append(events, [{ id: 1 }]);
  const reader = worker();
  const run = async (): Promise<void> => {
    for await (const { token } of reader.follow(events, { from: 'start' })) throw new Error(`broken at ${token}`);
  };
  await expect(run()).rejects.toThrow('broken at 1');
  expect(reader.position(events)).toBeUndefined();
});

test('a checkpoint that cannot be read ends the loop', async () => {
  const { primary, worker } = deploy();
  await primary({ streams });
  const reader = worker({
    checkpoint: { load: async () => Promise.reject(new Error('no disk')), save: async () => {} },
  });
  await expect(reader.follow(events).next()).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: 'cannot read the checkpoint: no disk',
  });
});

test('return ends an iterator that waits for a batch', async () => {
  const { primary, worker } = deploy();
  await primary({ streams });
  const reader = worker();
  const loop = reader.follow(events, { from: 'now' });
  const next = loop.next();
  await reader.start();
  await loop.return();
  expect(await next).toEqual({ done: true, value: undefined });
  expect(reader.position(events)).toBeUndefined();
});
