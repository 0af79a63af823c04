/** Ends with a time limit, of a worker and of a primary. */

import { describe, expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { pass } from '../../test/support/pass-time.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { KeptLog } from '../log/kept-log.ts';
import { memoryLog } from '../log/memory.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Listener, Transport } from '../transport/transport.ts';

const events = defineStream<string>('events');

describe('a stop with a time limit', () => {
  // SPEC E7
  test('abandons a handler that never settles, names it, and lets it move nothing any more', async () => {
    const clock = new VirtualClock();
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    const saved: (readonly (Position | undefined)[])[] = [];
    const checkpoint = {
      load: async () => new Map<string, Position>(),
      save: async (changed: ReadonlyMap<string, Position | undefined>) => void saved.push([...changed.values()]),
    };
    const reader = worker({ clock, checkpoint });
    const entered = new Gate();
    const gate = new Gate();
    const subscription = reader.subscribe(events, { fallback: 'start' }, async ({ token }) => {
      if (token !== 2) return;
      entered.open();
      await gate.opened;
    });
    void reader.start().catch(() => {});
    await settle();
    await server.append(events, ['one']);
    await server.append(events, ['two']);
    await pass(clock, 1_000);
    await entered.opened;
    const left = reader.unsubscribe(events);
    const forEver = reader.stop();
    const stopped = reader.stop({ timeoutMs: 5_000 });
    const all = Promise.allSettled([forEver, stopped, subscription.done]);
    await pass(clock, 4_999);
    expect(await Promise.race([all, settle()])).toBeUndefined();
    await pass(clock, 1);
    for (const { reason } of (await all) as PromiseRejectedResult[]) {
      expect(reason).toMatchObject({
        name: 'HandlerError',
        code: 'STOP_TIMEOUT',
        message:
          'worker reader-1 did not stop within 5000 ms: the handler of stream events is still at its batch of token 2',
        facts: { timeoutMs: 5_000, unfinished: [{ what: 'handler', stream: 'events', token: 2 }] },
      });
    }
    await left;
    await pass(clock, 1_000);
    gate.open();
    await pass(clock, 1_000);
    expect(saved.flat().map((position) => position?.token)).toEqual([1]);
    expect(subscription.position?.token).toBe(1);
  });

  test('names a save that never ends, and is in time where all ends', async () => {
    const clock = new VirtualClock();
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    const checkpoint = { load: async () => new Map<string, Position>(), save: async () => new Promise<void>(() => {}) };
    const reader = worker({ clock, checkpoint });
    reader.subscribe(events, { fallback: 'start' }, () => {});
    void reader.start().catch(() => {});
    await settle();
    await server.append(events, ['one']);
    await pass(clock, 1_000);
    const stopped = expect(reader.stop({ timeoutMs: 1_000 })).rejects.toThrow('a save of the checkpoint has not ended');
    await pass(clock, 1_000);
    await stopped;
    const other = worker({ name: 'reader-2' });
    await other.start();
    await other.stop({ timeoutMs: 10_000 });
  });
});

describe('a close with a time limit', () => {
  test('names what did not end: here the log', async () => {
    const clock = new VirtualClock();
    const { primary } = deploy();
    const store = { open: async () => [], write: async () => {}, close: async () => new Promise<void>(() => {}) };
    const made = primary({ streams: [events], clock, log: new KeptLog({ name: 'stuck', store }) });
    await pass(clock, 0);
    const server = await made;
    const closed = expect(server.close({ timeoutMs: 2_000 })).rejects.toMatchObject({
      name: 'LogError',
      code: 'STOP_TIMEOUT',
      message: 'primary example.com did not close within 2000 ms: log stuck has not closed',
      facts: { unfinished: 'log' },
    });
    await pass(clock, 2_000);
    await closed;
    await server.close().catch(() => {});
  });

  test('a listener that is opened while it closes is closed before the close ends', async () => {
    const { primary, transport } = deploy();
    const opening = new Gate();
    let isClosed = false;
    const slow: Transport = {
      connect: transport.connect.bind(transport),
      listen: async (): Promise<Listener> => {
        await opening.opened;
        return { address: ADDRESS, close: async () => void (isClosed = true) };
      },
    };
    const server = await primary({ streams: [events], transport: slow, log: memoryLog() });
    const listened = expect(server.listen(ADDRESS)).rejects.toMatchObject({ code: 'CLOSED' });
    const closed = server.close().then(() => expect(isClosed).toBe(true));
    await settle();
    opening.open();
    await listened;
    await closed;
  });
});

test('worker, primary and loop can be disposed of', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  await server.append(events, ['one']);
  const reader = worker();
  const loop = reader.follow(events, { from: 'start' });
  await loop.next();
  await loop[Symbol.asyncDispose]();
  expect(await loop.next()).toMatchObject({ done: true });
  await reader[Symbol.asyncDispose]();
  await expect(reader.start()).rejects.toMatchObject({ code: 'CLOSED' });
  await server[Symbol.asyncDispose]();
  await expect(server.append(events, ['two'])).rejects.toMatchObject({ code: 'CLOSED' });
});
