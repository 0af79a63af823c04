import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { deploy, placeOf, settle } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { tcpTransport } from '../transport/tcp.ts';

interface Fact {
  readonly id: number;
}

const events = defineStream<Fact>('events');
const receipts = defineStream<Fact>('receipts');
const streams = [events, receipts];

test('a batch that is appended reaches the handler whole', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  const position = await server.append(events, [{ id: 1 }, { id: 2 }]);
  await seen.reached(1);
  expect(seen.batches).toEqual([{ stream: 'events', token: 1, position, rows: [{ id: 1 }, { id: 2 }] }]);
  expect(reader.position(events)).toEqual(position);
});

test('many batches come in order, each once, over real sockets', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams, transport: tcpTransport });
  const connect = await server.listen({ host: '127.0.0.1', port: 0 });
  const reader = worker({ transport: tcpTransport, connect });
  const seen = new Collector<Fact>();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  const before = await Promise.all(
    Array.from({ length: 2_000 }, async (_, id) => server.append(events, [{ id }, { id }])),
  );
  await reader.start();
  const after = await Promise.all(Array.from({ length: 2_000 }, async (_, id) => server.append(events, [{ id }])));
  await reader.waitFor(after.at(-1)!);
  expect(seen.batches.map(({ position }) => position)).toEqual([...before, ...after]);
  expect(seen.rows.length).toBe(6_000);
});

test('the next batch waits for the promise of the handler', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const gates = [new Gate(), new Gate()];
  const begun: number[] = [];
  reader.subscribe(events, { from: 'now' }, async ({ token }) => {
    begun.push(token);
    await gates[token - 1]!.opened;
  });
  await reader.start();
  await server.append(events, [{ id: 1 }]);
  await server.append(events, [{ id: 2 }]);
  await settle();
  expect(begun).toEqual([1]);
  expect(reader.position(events)?.token).toBe(0);
  gates[0]!.open();
  await reader.waitFor(placeOf(server, events, 1));
  await settle();
  expect(begun).toEqual([1, 2]);
  gates[1]!.open();
  await reader.waitFor(placeOf(server, events, 2));
});

test('a synchronous handler gets neighbouring batches without a microtask between them', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  let microtasks = 0;
  const seen: [number, number][] = [];
  reader.subscribe(events, { from: 'now' }, ({ token }) => {
    if (token === 1) queueMicrotask(() => microtasks++);
    seen.push([token, microtasks]);
  });
  await reader.start();
  await Promise.all(Array.from({ length: 100 }, async (_, id) => server.append(events, [{ id }])));
  await reader.waitFor(placeOf(server, events, 100));
  expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => [i + 1, 0]));
});

test.each([
  ['at once', () => undefined],
  ['by its promise', async () => settle(1)],
])('a handler that throws %s ends its subscription, position unmoved, and the others go on', async (_, pause) => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const calls: number[] = [];
  const others = new Collector<Fact>();
  const cause = new Error('no such account');
  const failing = reader.subscribe(events, { from: 'now' }, ({ token }) => {
    calls.push(token);
    const paused = pause();
    if (token < 2) return paused;
    if (paused === undefined) throw cause;
    return paused.then(() => Promise.reject(cause));
  });
  reader.subscribe(receipts, { from: 'now' }, others.handler);
  await reader.start();
  const failed = once(reader, 'error');
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  const [error] = await failed;
  expect(error).toMatchObject({
    name: 'HandlerError',
    code: 'HANDLER_FAILED',
    message: 'the handler of stream events failed at token 2: no such account',
    cause,
  });
  await server.append(receipts, [{ id: 9 }]);
  await others.reached(1);
  await settle();
  expect(calls).toEqual([1, 2]);
  expect(reader.position(events)?.token).toBe(1);
  expect(failing).toMatchObject({ error, isLive: false, position: placeOf(server, events, 1) });
  await expect(reader.waitFor(placeOf(server, events, 3))).rejects.toBe(error);
});

test('after a failure the stream can be subscribed again, from where it stands', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, ({ token }) => {
    if (token === 2) throw new Error('not yet');
  });
  await reader.start();
  const failed = once(reader, 'error');
  for (let id = 1; id <= 3; id++) await server.append(events, [{ id }]);
  await failed;
  const again = new Collector<Fact>();
  reader.subscribe(events, { from: reader.position(events)! }, again.handler);
  await again.reached(2);
  expect(again.tokens).toEqual([2, 3]);
});

test("a handler's own INVALID_ROW is not blamed on the primary", async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, async () => {
    await server.append(receipts, []);
  });
  await reader.start();
  const failed = once(reader, 'error');
  await server.append(events, [{ id: 1 }]);
  expect((await failed)[0]).toMatchObject({
    name: 'HandlerError',
    code: 'HANDLER_FAILED',
    cause: { code: 'INVALID_ROW' },
  });
});

test('a handler may be a thenable of another library', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const query = {
    // oxlint-disable-next-line unicorn/no-thenable -- query builders are such objects
    then(resolve: () => void): void {
      resolve();
    },
  };
  reader.subscribe(events, { from: 'now' }, () => query as unknown as Promise<void>);
  await reader.start();
  await reader.waitFor(await server.append(events, [{ id: 1 }]));
});

test('a slow handler of one stream does not hold up the other streams', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const gate = new Gate();
  const quick = new Collector<Fact>();
  reader.subscribe(events, { from: 'now' }, () => gate.opened);
  reader.subscribe(receipts, { from: 'now' }, quick.handler);
  await reader.start();
  await server.append(events, [{ id: 1 }]);
  for (let id = 0; id < 10; id++) await server.append(receipts, [{ id }]);
  await quick.reached(10);
  expect(reader.position(events)?.token).toBe(0);
  gate.open();
});

test('a connection whose rows are not taken is paused, and goes on without loss', async () => {
  const { primary, worker } = deploy(createMemoryTransport({ highWaterBytes: 4_096 }));
  const server = await primary({ streams, limits: { pageBytes: 4_096 } });
  const reader = worker({ limits: { maxQueuedBytes: 10_000 } });
  const gate = new Gate();
  const seen: number[] = [];
  reader.subscribe(events, { from: 'start' }, async ({ token }) => {
    if (token === 1) await gate.opened;
    seen.push(token);
  });
  const started = reader.start();
  const text = 'x'.repeat(1_000);
  for (let i = 0; i < 20; i++)
    await Promise.all(Array.from({ length: 10 }, async () => server.append('events', [{ text }])));
  await settle(200);
  const sent = server.status().connections[0]!.subscriptions[0]!.sent;
  expect(sent).toBeLessThan(80);
  gate.open();
  await started;
  await reader.waitFor(placeOf(server, events, 200));
  expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
});

test('what waited for a handler is given up with its subscription, and the connection goes on for the others', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ limits: { maxQueuedBytes: 500 } });
  const gate = new Gate();
  const others = new Collector<Fact>();
  reader.subscribe(events, { from: 'now' }, () => gate.opened);
  reader.subscribe(receipts, { from: 'now' }, others.handler);
  await reader.start();
  for (let id = 0; id < 50; id++) await server.append('events', ['x'.repeat(100)]);
  await server.append(receipts, [{ id: 1 }]);
  await settle();
  expect(others.tokens).toEqual([]);
  const through = reader.unsubscribe(events);
  await others.reached(1);
  gate.open();
  await through;
});

test('rows that were applied are let go, also when the handler never catches up', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ limits: { maxQueuedBytes: 20_000 } });
  const alive = new Set<number>();
  const registry = new FinalizationRegistry<number>((token) => alive.delete(token));
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  let kept = 0;
  reader.subscribe(events, { from: 'start' }, async ({ token, rows }) => {
    alive.add(token);
    registry.register(rows, token);
    await Promise.resolve();
    // Measured while very many rows still wait: an empty queue would forget them anyway.
    if (token === 4_000) {
      await settle(2);
      collectGarbage();
      await settle(2);
      kept = alive.size;
    }
  });
  await Promise.all(Array.from({ length: 5_000 }, async (_, id) => server.append(events, [{ id }])));
  await reader.start();
  expect(kept).toBeGreaterThan(0);
  expect(kept).toBeLessThan(2_500);
});

test('two workers each get every row', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const seen = [new Collector<Fact>(), new Collector<Fact>()];
  for (const [i, { handler }] of seen.entries()) {
    const reader = worker({ name: `reader-${i}` });
    reader.subscribe(events, { from: 'start' }, handler);
    await reader.start();
  }
  for (let id = 0; id < 50; id++) await server.append(events, [{ id }]);
  await Promise.all(seen.map((s) => s.reached(50)));
  for (const { rows } of seen) expect(rows).toEqual(Array.from({ length: 50 }, (_, id) => ({ id })));
  expect(
    server
      .status()
      .connections.map(({ name }) => name)
      .sort(),
  ).toEqual(['reader-0', 'reader-1']);
});
