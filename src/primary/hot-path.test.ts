/** What a row may cost, counted: no test here looks at a watch. */

import { expect, test, vi } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { type Clock, type Millis, systemClock, type Timer } from '../base/clock.ts';
import { defineStream } from '../core/model/stream.ts';
import { createMemoryTransport, type MemoryTransport } from '../transport/memory.ts';

const WORKERS = 5;
const ROWS = 1_000;

interface Fact {
  readonly id: number;
}

const events = defineStream<Fact>('events');

class CountingClock implements Clock {
  reads = 0;
  timers = 0;

  now(): Millis {
    this.reads++;
    return systemClock.now();
  }

  wallNow(): Millis {
    this.reads++;
    return systemClock.wallNow();
  }

  wakeIn(delayMs: Millis, wake: () => void): Timer {
    this.timers++;
    return systemClock.wakeIn(delayMs, wake);
  }
}

/** What the primary writes, by connection. */
function recordWrites(inner: MemoryTransport): { transport: MemoryTransport; written: Uint8Array[][] } {
  const written: Uint8Array[][] = [];
  const transport: MemoryTransport = {
    ...inner,
    connect: (address, handler) => inner.connect(address, handler),
    listen: (address, accept) =>
      inner.listen(address, (connection) => {
        const ofConnection: Uint8Array[] = [];
        written.push(ofConnection);
        const { write } = connection;
        connection.write = (bytes) => {
          ofConnection.push(bytes);
          return write.call(connection, bytes);
        };
        return accept(connection);
      }),
  };
  return { transport, written };
}

async function liveDeployment() {
  const { transport, written } = recordWrites(createMemoryTransport());
  const { primary, worker } = deploy(transport);
  const clocks = { primary: new CountingClock(), worker: new CountingClock() };
  const server = await primary({ streams: [events], clock: clocks.primary });
  const collectors: Collector<Fact>[] = [];
  for (let i = 0; i < WORKERS; i++) {
    const reader = worker({ clock: clocks.worker });
    const seen = new Collector<Fact>();
    reader.subscribe(events, { from: 'now' }, seen.handler);
    await reader.start();
    collectors.push(seen);
  }
  await settle();
  for (const ofConnection of written) ofConnection.length = 0;
  return { transport, server, clocks, written, collectors };
}

// SPEC E1
test('a row is made JSON once and a commit made bytes once, however many workers follow: all get the same buffer', async () => {
  const { server, written, collectors } = await liveDeployment();
  let encoded = 0;
  const row = (id: number): Fact => ({
    id,
    // @ts-expect-error What JSON.stringify calls is not part of a fact.
    toJSON: () => {
      encoded++;
      return { id };
    },
  });
  await Promise.all(Array.from({ length: ROWS }, (_, id) => server.append(events, [row(id)])));
  for (const seen of collectors) await seen.reached(ROWS);
  expect(encoded).toBe(ROWS);
  const pages = written.map((ofConnection) => ofConnection.filter((bytes) => Buffer.from(bytes).includes('RDATA')));
  expect(pages[0]!.length).toBeGreaterThan(0);
  for (const ofConnection of pages) {
    expect(ofConnection.length).toBe(pages[0]!.length);
    for (const [i, page] of ofConnection.entries()) expect(page).toBe(pages[0]![i]);
  }
});

test('a peer that is not Rowcast gets that buffer, too; those who ask for attributes share another', async () => {
  const { transport, server, written } = await liveDeployment();
  const [plain, asking, too] = [1, 2, 3].map(() => new Netcat(transport, ADDRESS)) as [Netcat, Netcat, Netcat];
  for (const hand of [asking, too]) hand.send('PING 1 rowcast/2 attr');
  for (const hand of [plain, asking, too]) {
    hand.send('REPLICATE events NOW');
    await hand.line('POSITION');
  }
  for (const ofConnection of written) ofConnection.length = 0;
  await server.append(events, [{ id: 1 }, { id: 2 }], { attributes: { trace: 7 } });
  await Promise.all([plain, asking, too].map(async (hand) => hand.line('RDATA events 1')));
  const pages = written.map((ofConnection) => ofConnection.filter((bytes) => Buffer.from(bytes).includes('RDATA')));
  expect(pages).toHaveLength(WORKERS + 3);
  for (const [first] of pages.slice(0, -2)) expect(first).toBe(pages[0]![0]);
  expect(pages.at(-1)![0]).toBe(pages.at(-2)![0]);
  expect(asking.lines.slice(-4)).toEqual([
    expect.stringMatching(/^HISTORY events 0 /),
    'ATTR events 1 {"trace":7}',
    'RDATA events batch {"id":1}',
    'RDATA events 1 {"id":2}',
  ]);
});

// SPEC E2
test('rows set no timer and do not ask for the time, at either end', async () => {
  const { server, clocks, collectors } = await liveDeployment();
  const count = (): number[] => [
    clocks.primary.timers,
    clocks.worker.timers,
    clocks.primary.reads,
    clocks.worker.reads,
  ];
  const before = count();
  await Promise.all(Array.from({ length: ROWS }, (_, id) => server.append(events, [{ id }])));
  for (const seen of collectors) await seen.reached(ROWS);
  const [primaryTimers, workerTimers, primaryReads, workerReads] = count().map((value, i) => value - before[i]!);
  // Some for each page or chunk of bytes; a thousand rows are one or two.
  expect(primaryTimers).toBeLessThanOrEqual(WORKERS);
  expect(workerTimers).toBeLessThanOrEqual(WORKERS);
  expect(primaryReads).toBeLessThan(ROWS / 5);
  expect(workerReads).toBeLessThan(ROWS / 5);
});

test('a row is parsed once at each worker, and a handler that returns nothing costs no promise', async () => {
  const { server, collectors } = await liveDeployment();
  await server.append(events, [{ id: -1 }]);
  for (const seen of collectors) await seen.reached(1);
  const parse = vi.spyOn(JSON, 'parse');
  try {
    await Promise.all(Array.from({ length: ROWS }, (_, id) => server.append(events, [{ id }])));
    for (const seen of collectors) await seen.reached(1 + ROWS);
    expect(parse).toHaveBeenCalledTimes(WORKERS * ROWS);
  } finally {
    parse.mockRestore();
  }
});
