/** Ends with a time limit, of a worker and of a primary. */

import { describe, expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { pass } from '../../test/support/pass-time.ts';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { KeptLog } from '../log/kept-log.ts';
import type { Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Connection, Listener, Transport } from '../transport/transport.ts';

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

  test('names a connection that does not end, and still stores what was applied and closes the checkpoint', async () => {
    const clock = new VirtualClock();
    const { primary, worker, transport } = deploy();
    const server = await primary({ streams: [events] });
    const told: string[] = [];
    const checkpoint = {
      load: async () => new Map<string, Position>(),
      save: async (changed: ReadonlyMap<string, Position | undefined>) =>
        void told.push(`saved ${[...changed.values()][0]?.token}`),
      close: async () => void told.push('closed'),
    };
    const reader = worker({ clock, checkpoint, transport: stuck(transport) });
    reader.subscribe(events, { fallback: 'start' }, () => {});
    void reader.start().catch(() => {});
    await settle();
    await server.append(events, ['one']);
    await settle();
    const stopped = expect(reader.stop({ timeoutMs: 1_000 })).rejects.toMatchObject({
      code: 'STOP_TIMEOUT',
      message: 'worker reader-1 did not stop within 1000 ms: the connection to unix:/primary has not ended',
      facts: { unfinished: [{ what: 'connection' }] },
    });
    await pass(clock, 1_000);
    await stopped;
    await settle();
    expect(told).toEqual(['saved 1', 'closed']);
  });

  test('lets a batch be skipped no more, once it is abandoned', async () => {
    const clock = new VirtualClock();
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    const reader = worker({ clock });
    const gate = new Gate();
    const skipped: unknown[] = [];
    reader.on('skipped', (event) => skipped.push(event));
    const onError = async (): Promise<'skip'> => gate.opened.then(() => 'skip');
    const subscription = reader.subscribe(events, { from: 'start', onError }, () => {
      throw new Error('bad');
    });
    await server.append(events, ['one']);
    void reader.start().catch(() => {});
    await settle();
    const stopped = expect(reader.stop({ timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'STOP_TIMEOUT' });
    await pass(clock, 1_000);
    await stopped;
    gate.open();
    await settle();
    expect(skipped).toEqual([]);
    expect(subscription.position).toBeUndefined();
  });
});

/** Connections and listeners of it never end. */
function stuck(transport: Transport, what: 'connections' | 'listeners' = 'connections'): Transport {
  const never = async (): Promise<void> => new Promise(() => {});
  const hold = (connection: Connection): Connection =>
    new Proxy(connection, {
      get: (target, name): unknown => {
        if (name === 'close' || name === 'abort') return () => {};
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return {
    connect: (address, handler) => hold(transport.connect(address, handler)),
    listen: async (address, accept) => {
      const listener = await transport.listen(address, (connection) =>
        accept(what === 'connections' ? hold(connection) : connection),
      );
      onTestFinished(() => listener.close());
      return what === 'connections' ? listener : { address: listener.address, close: never };
    },
  };
}

/** A log in memory that tells when it is closed. */
function watchedLog(): { readonly log: Log; readonly isClosed: () => boolean } {
  const log = memoryLog();
  let isClosed = false;
  const close = log.close.bind(log);
  log.close = async () => {
    isClosed = true;
    await close();
  };
  return { log, isClosed: () => isClosed };
}

describe('a close with a time limit', () => {
  test.each([
    ['connections', /a connection has not ended \(.*reader-1.*\)$/, { what: 'connection', peer: 'reader-1' }],
    ['listeners', /a listener has not closed$/, { what: 'listener' }],
  ] as const)('names %s that do not end, and closes the log nevertheless', async (what, text, unfinished) => {
    const clock = new VirtualClock();
    const { primary, worker, transport } = deploy();
    const { log, isClosed } = watchedLog();
    const server = await primary({ streams: [events], clock, log, transport: stuck(transport, what) });
    await server.listen(ADDRESS);
    await worker().start();
    await settle();
    const closed = expect(server.close({ timeoutMs: 2_000 })).rejects.toMatchObject({
      name: 'LogError',
      code: 'STOP_TIMEOUT',
      message: expect.stringMatching(text),
      facts: { timeoutMs: 2_000, unfinished: [unfinished] },
    });
    await pass(clock, 2_000);
    await closed;
    await settle();
    expect(isClosed()).toBe(true);
  });

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
      facts: { unfinished: [{ what: 'log' }] },
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
