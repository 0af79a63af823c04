import { once } from 'node:events';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Collector, Gate } from '../../test/support/collector.ts';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import type { Batch } from '../core/model/batch.ts';
import { originOf } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import type { SourceListener } from '../log/log.ts';
import { KeptLog } from '../log/kept-log.ts';
import { memoryLog } from '../log/memory.ts';
import { defineStream } from '../core/model/stream.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import type { Transport } from '../transport/transport.ts';
import { createPrimary } from './primary.ts';
import type { PrimaryOptions } from './options.ts';

const events = defineStream('events');
const receipts = defineStream('receipts');
const typing = defineStream('typing', { durable: false });
const streams = [events, receipts, typing];

/** A connection by hand that says that it speaks rowcast/2. */
function rowcastHand(transport: Transport): Netcat {
  const hand = new Netcat(transport, ADDRESS);
  hand.send('PING 1 rowcast/2');
  return hand;
}

const cycle: { self?: unknown } = {};
cycle.self = cycle;

test.each<[string, string, readonly unknown[]]>([
  ['NO_SUCH_STREAM', 'nothing', [1]],
  ['INVALID_ROW', 'events', []],
  ['INVALID_ROW', 'events', [1, undefined]],
  ['INVALID_ROW', 'events', [1n]],
  ['INVALID_ROW', 'events', [cycle]],
  ['ROW_TOO_LARGE', 'events', [1, 'x'.repeat(1_000)]],
  ['BATCH_TOO_LARGE', 'events', Array.from({ length: 5 }, () => 'x'.repeat(900))],
])('a batch that cannot be sent is refused with %s, and nothing of it is appended', async (code, stream, rows) => {
  const { primary } = deploy();
  const server = await primary({ streams, limits: { maxLineBytes: 1_000, maxBatchBytes: 4_000 } });
  await expect(server.append(stream, rows)).rejects.toMatchObject({ name: 'UsageError', code });
  expect(server.status().streams.map(({ latest }) => latest)).toEqual([0, 0, 0]);
});

test.each<[string, Partial<PrimaryOptions>]>([
  ['INVALID_OPTION', { name: '' }],
  ['INVALID_OPTION', { name: 'two\nlines' }],
  ['INVALID_OPTION', { limits: { maxBatchBytes: -1 } }],
  ['INVALID_OPTION', { limits: { pageBytes: 0 } }],
  ['INVALID_OPTION', { limits: { pages: 7 } as PrimaryOptions['limits'] & {} }],
  ['INVALID_OPTION', { tailBytes: -1 }],
  ['INVALID_OPTION', { idRetentionMs: 0 }],
  ['INVALID_OPTION', { idRetentionMs: Number.NaN }],
  ['DUPLICATE_STREAM', { streams: [events, defineStream('events')] }],
])('a primary is refused with %s for %o, and its log is left closed', async (code, options) => {
  const log = memoryLog();
  await expect(createPrimary({ name: 'example.com', log, streams, ...options })).rejects.toMatchObject({
    name: 'UsageError',
    code,
  });
  const primary = await createPrimary({ name: 'example.com', log, streams });
  await primary.close();
});

test('appends that are not awaited keep their order, whatever size they have, also across commits', async () => {
  const { primary, transport } = deploy();
  const server = await primary({ streams });
  const names = [events, receipts, events, typing];
  const all = Array.from({ length: 40 }, (_, i) => ({
    stream: names[i % 4]!,
    row: `${i} ${'x'.repeat((i % 3) * 999)}`,
  }));
  const appending = all.map(async ({ stream, row }, i) => {
    // The later half joins while the first half is written.
    if (i >= 20) await Promise.resolve();
    return server.append(stream, [row]);
  });
  const appended = await Promise.all(appending);
  const hand = new Netcat(transport, ADDRESS);
  hand.send(...streams.map(({ name }) => `REPLICATE ${name} 0`));
  for (const { name } of streams) await hand.line(`POSITION ${name} `);
  for (const [i, { stream, row }] of all.entries()) {
    const rank = all.slice(0, i + 1).filter((other) => other.stream === stream).length;
    expect(appended[i]).toMatchObject({ stream: stream.name, token: rank, history: server.position(stream).history });
    expect(hand.lines).toContain(`RDATA ${stream.name} ${rank} ${JSON.stringify(row)}`);
  }
  expect(hand.lines.filter((line) => line.startsWith('RDATA '))).toHaveLength(all.length);
});

test('whoever listens is told of each batch that became durable, and not of one that was refused', async () => {
  const { primary } = deploy();
  const server = await primary({ streams });
  const told: unknown[] = [];
  server.on('appended', (batch) => told.push(batch));
  const first = await server.append(events, ['a', 'b']);
  await expect(server.append('nosuch', ['c'])).rejects.toMatchObject({ code: 'NO_SUCH_STREAM' });
  const second = await server.append('receipts', ['d'], { attributes: { trace: 1 } });
  expect(told).toEqual([
    { stream: 'events', token: 1, position: first, rows: ['a', 'b'] },
    { stream: 'receipts', token: 1, position: second, rows: ['d'], attributes: { trace: 1 } },
  ]);
});

// SPEC A5
test('listeners of appended get rows and attributes as workers do, whatever the caller does to its own', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker({ attributes: true });
  const seen = new Collector<unknown>();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  const told: Batch[] = [];
  server.on('appended', (batch) => told.push(batch));
  const row = { at: new Date(0), number: Number.NaN, nothing: undefined, list: [1] };
  const rows = [row];
  const attributes = { trace: [1] };
  const appended = server.append(events, rows, { attributes });
  row.list.push(2);
  rows.push(row);
  attributes.trace.push(2);
  await appended;
  await reader.start();
  await seen.reached(1);
  expect(told).toEqual([{ ...seen.batches[0] }]);
  expect(told[0]).toMatchObject({
    rows: [{ at: '1970-01-01T00:00:00.000Z', number: null, list: [1] }],
    attributes: { trace: [1] },
  });
  expect(told[0]!.rows).toBe(told[0]!.rows);
});

test('rows are parsed for a listener of `appended` only when it reads them', async () => {
  const { primary } = deploy();
  const server = await primary({ streams });
  const told: unknown[] = [];
  server.on('appended', (batch) => {
    if (batch.stream === 'events') told.push(...batch.rows);
  });
  const parse = vi.spyOn(JSON, 'parse');
  onTestFinished(() => parse.mockRestore());
  await server.append('receipts', ['not parsed']);
  await server.append('events', ['parsed']);
  expect(told).toEqual(['parsed']);
  expect(parse.mock.calls.filter(([text]) => text.includes('parsed'))).toEqual([['"parsed"']]);
});

test('its position in a stream is that of the newest row, and what append resolves to', async () => {
  const { primary } = deploy();
  const log = memoryLog();
  const server = await primary({ streams, log });
  expect(server.position(events)).toEqual({ stream: 'events', token: 0, history: originOf(log.id) });
  const position = await server.append(events, ['a']);
  expect(position).toEqual({ stream: 'events', token: 1, history: log.era });
  expect(server.position('events')).toEqual(position);
  expect(() => server.position('nosuch')).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'NO_SUCH_STREAM' }),
  );
});

test('without a logger neither side writes anything to the terminal, whatever goes wrong', async () => {
  const written: unknown[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    const spy = vi.spyOn(stream, 'write').mockImplementation((text) => written.push(text) > 0);
    onTestFinished(() => spy.mockRestore());
  }
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  reader.on('error', () => {});
  reader.subscribe(events, { from: 'now' }, () => {
    throw new Error('a bug of the application');
  });
  await reader.start();
  const failed = once(reader, 'error');
  await server.append(events, ['x']);
  await failed;
  const hand = new Netcat(transport, ADDRESS);
  hand.send('NONSENSE');
  await hand.closed;
  await server.close();
  await settle();
  expect(written).toEqual([]);
});

test('sync reaches every worker that is connected', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const readers = [worker(), worker({ name: 'reader-2' })];
  await Promise.all(readers.map(async (reader) => reader.start()));
  const heard = Promise.all(readers.map(async (reader) => once(reader, 'sync')));
  server.sync('are you there');
  expect(await heard).toEqual([[{ text: 'are you there' }], [{ text: 'are you there' }]]);
  expect(() => server.sync('')).toThrow(expect.objectContaining({ name: 'UsageError', code: 'INVALID_COMMAND' }));
});

test('sync refuses a text that is none, also while nobody is connected', async () => {
  const server = await deploy().primary({ streams });
  expect(() => server.sync('two\nlines')).toThrow(expect.objectContaining({ code: 'INVALID_COMMAND' }));
  expect(() => server.sync(undefined as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test('append never throws: whatever it is given, it rejects', async () => {
  const { primary } = deploy();
  const server = await primary({ streams: [events] });
  server.on('appended', () => {});
  const results = [
    server.append(undefined as never, []),
    server.append(events, undefined as never),
    server.append(events, 5 as never),
    server.append(events, [1], null as never),
    server.append(events, [1], { attributes: 'text' as never }),
    server.append(events, [1], { attributes: [1] as never }),
  ];
  for (const { status } of await Promise.allSettled(results)) expect(status).toBe('rejected');
});

test('close tells the workers, finishes what was appended, and resolves', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const hand = new Netcat(transport, ADDRESS);
  await hand.line('SERVER example.com');
  const reader = worker();
  await reader.start();
  const told = once(reader, 'peer-error');
  const lost = once(reader, 'disconnected');
  const ends: unknown[] = [];
  server.on('disconnected', ({ error }) => ends.push(error));
  const appended = server.append(events, ['last']);
  await Promise.all([server.close(), server.close()]);
  expect(await appended).toMatchObject({ stream: 'events', token: 1 });
  expect((await told)[0]).toEqual({ text: 'server stopping' });
  expect((await lost)[0].error).toMatchObject({ code: 'PEER_ERROR' });
  await hand.closed;
  expect(hand.lines.at(-1)).toBe('ERROR server stopping');
  expect(ends).toEqual([undefined, undefined]);
});

test('a primary that is closed refuses what is asked of it', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  await server.close();
  await server.close();
  const closed = { name: 'UsageError', code: 'CLOSED' };
  await expect(server.append(events, [1])).rejects.toMatchObject(closed);
  await expect(server.trim(events, 1)).rejects.toMatchObject(closed);
  await expect(server.listen({ path: '/other' })).rejects.toMatchObject(closed);
  expect(() => server.status()).toThrow(expect.objectContaining(closed));
  const reader = worker();
  const refused = once(reader, 'disconnected');
  void reader.start().catch(() => {});
  expect((await refused)[0].error).toMatchObject({ code: 'CONNECTION_LOST' });
});

test('a listener that opens while the primary closes is closed again, and who waits for it is told', async () => {
  const { primary, transport } = deploy();
  const gate = new Gate();
  const late: Transport = {
    connect: transport.connect.bind(transport),
    listen: async (address, accept) => {
      await gate.opened;
      return transport.listen(address, accept);
    },
  };
  const server = await primary({ streams, transport: late });
  const listening = server.listen(ADDRESS);
  const closed = server.close();
  gate.open();
  await expect(listening).rejects.toMatchObject({ name: 'UsageError', code: 'CLOSED' });
  await closed;
  const next = await transport.listen(ADDRESS, () => {
    throw new Error('nobody connects');
  });
  await next.close();
});

test('close waits for a worker that takes nothing no longer than flushTimeoutMs', async () => {
  const clock = new VirtualClock();
  const { primary, transport } = deploy(createMemoryTransport({ highWaterBytes: 100 }));
  const server = await primary({ streams, clock });
  await server.append(events, ['x'.repeat(1_000)]);
  const stuck = new Netcat(transport, ADDRESS);
  await stuck.line('PING');
  stuck.connection.pause();
  stuck.send('REPLICATE events 0');
  await settle();
  expect(server.status().connections[0]!.queueBytes).toBeGreaterThan(1_000);
  let isClosed = false;
  const closed = server.close().then(() => {
    isClosed = true;
  });
  await settle();
  clock.step(clock.now() + 999);
  await settle();
  expect(isClosed).toBe(false);
  clock.step(clock.now() + 1);
  await closed;
});

test('commands of a worker arrive with its name, those sent before it was connected too, in order', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen: [string | undefined, UpstreamCommand][] = [];
  const gate = new Gate();
  server.on('command', ({ command, worker: { name } }) => {
    seen.push([name, command]);
    if (seen.length === 4) gate.open();
  });
  const commands: UpstreamCommand[] = [
    { name: 'USER_SYNC', userId: '@a:b', state: 'start', lastSyncMs: 1490197665618 },
    { name: 'FEDERATION_ACK', token: 7 },
    { name: 'INVALIDATE_CACHE', cacheName: 'users', keys: ['@a:b'] },
    { name: 'REMOVE_PUSHER', appId: 'app', pushKey: 'key', userId: '@a:b' },
  ];
  for (const command of commands.slice(0, 2)) reader.send(command);
  await reader.start();
  for (const command of commands.slice(2)) reader.send(command);
  await gate.opened;
  expect(seen).toEqual(commands.map((command) => ['reader-1', command]));
});

test('a listener of commands may append: the worker that sent the command sees the rows', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  const appends: Promise<Position>[] = [];
  server.on('command', ({ command }) => appends.push(server.append(events, [command.name])));
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  for (let token = 1; token <= 20; token++) reader.send({ name: 'FEDERATION_ACK', token });
  await seen.reached(20);
  expect(await Promise.all(appends)).toEqual(seen.batches.map(({ position }) => position));
});

// SPEC B1
test('a connection that breaks the protocol is ended with a warning, and the others notice nothing', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  const warned = once(server, 'warning');
  const left = once(server, 'disconnected');
  const hand = new Netcat(transport, ADDRESS);
  hand.send('NAME hand', 'REPLICATE events 0', 'HELLO');
  await hand.closed;
  expect(hand.lines.at(-1)).toBe('ERROR invalid command: HELLO');
  expect((await warned)[0]).toMatchObject({
    worker: { name: 'hand', id: 2 },
    error: { name: 'PeerError', code: 'UNKNOWN_COMMAND' },
  });
  expect((await left)[0]).toMatchObject({ worker: { name: 'hand' }, error: { code: 'UNKNOWN_COMMAND' } });
  await server.append(events, [1]);
  await seen.reached(1);
  expect(server.status().connections.map(({ name }) => name)).toEqual(['reader-1']);
});

test('status tells of the log, of streams and of connections', async () => {
  const clock = new VirtualClock();
  const { primary, transport } = deploy();
  const log = memoryLog();
  const server = await primary({ streams, log, clock });
  const volatile = server.position(typing).history!;
  const hand = rowcastHand(transport);
  hand.send('NAME reader-1', 'REPLICATE events START');
  await hand.line('POSITION events 0');
  for (let i = 0; i < 5; i++) await server.append(events, [i, i]);
  await server.trim(events, 2);
  await hand.line('RDATA events 5');
  hand.send('APPLIED events 4 3');
  await settle();
  const history = log.era;
  expect(server.status()).toEqual({
    name: 'example.com',
    log: 'ok',
    patterns: [],
    streams: [
      { stream: 'events', source: 'memory', durable: true, earliest: 3, latest: 5, history },
      { stream: 'receipts', source: 'memory', durable: true, earliest: 1, latest: 0, history: originOf(log.id) },
      { stream: 'typing', source: 'memory', durable: false, earliest: 1, latest: 0, history: volatile },
    ],
    next: undefined,
    connections: [
      {
        id: 1,
        name: 'reader-1',
        peer: expect.any(String),
        connectedAtMs: clock.now(),
        queueBytes: 0,
        streams: 1,
        liveStreams: 1,
        subscriptions: [
          { stream: 'events', state: 'live', sent: 5, sentLagRows: 0, applied: 4, appliedLagRows: 2, saved: 3 },
        ],
      },
    ],
  });
  expect(volatile).not.toContain(log.id);
  hand.connection.close();
  await settle();
  expect(server.status().connections).toEqual([]);
});

test('a worker tells what it has applied', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker({ limits: { appliedIntervalMs: 1 } });
  const seen = new Collector();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  await reader.start();
  await server.append(events, ['a']);
  await seen.reached(1);
  await vi.waitFor(() => {
    expect(server.status().connections[0]?.subscriptions).toEqual([
      expect.objectContaining({ stream: 'events', applied: 1, appliedLagRows: 0 }),
    ]);
  });
});

test('the greeting names the era of either log', async () => {
  const { primary, transport } = deploy();
  const log = memoryLog();
  await primary({ streams, log });
  const hand = new Netcat(transport, ADDRESS);
  await hand.line('PING');
  expect(hand.lines[1]).toMatch(
    new RegExp(`^PING \\d+ rowcast/2 log=${log.era} mem=[0-9a-f]{16}\\.\\d+\\.[0-9a-f]{8}$`),
  );
});

// SPEC S1
test('a stream that a Rowcast worker may not have is refused with a warning, and its connection goes on', async () => {
  const { primary, transport } = deploy();
  const log = memoryLog();
  const server = await primary({ streams, log });
  const warnings: unknown[] = [];
  server.on('warning', ({ worker, error }) => warnings.push([worker.name, error.code]));
  for (let i = 1; i <= 4; i++) await server.append(events, [i]);
  await server.trim(events, 3);
  const hand = rowcastHand(transport);
  hand.send('NAME hand', `REPLICATE events 1 ${log.era}`, `REPLICATE receipts 7 ${log.era}`, 'REPLICATE nosuch START');
  hand.send('REPLICATE events START');
  await hand.line('POSITION events 4');
  expect(hand.lines.slice(2).toSorted()).toEqual([
    `HISTORY events 3 ${log.era}`,
    `POSITION events 4 ${log.era}`,
    'RDATA events 4 4',
    `REFUSED events GAP {"earliest":4,"latest":4,"history":"${log.era}"}`,
    'REFUSED nosuch UNKNOWN_STREAM {}',
    `REFUSED receipts RESET {"earliest":1,"latest":0,"history":"${originOf(log.id)}","deleted":true}`,
  ]);
  expect(warnings.toSorted()).toEqual([
    ['hand', 'GAP'],
    ['hand', 'RESET'],
    ['hand', 'UNKNOWN_STREAM'],
  ]);
});

test('an era that its log begins while it is open is told to every Rowcast peer, and to no other', async () => {
  const { primary, transport } = deploy();
  const log = memoryLog();
  const watch = log.watch.bind(log);
  const listeners: SourceListener[] = [];
  log.watch = (listener) => {
    listeners.push(listener);
    return watch(listener);
  };
  await primary({ streams, log });
  const [plain, rowcast] = [new Netcat(transport, ADDRESS), rowcastHand(transport)];
  for (const hand of [plain, rowcast]) {
    hand.send('REPLICATE events NOW');
    await hand.line('POSITION');
  }
  for (const listener of listeners) listener({ kind: 'era', era: `${log.id}.1764281499.a1b2c3d4` });
  await rowcast.line('ERA');
  expect(rowcast.lines.slice(3)).toEqual([
    `ERA ${log.id} 1764281499.a1b2c3d4`,
    `POSITION events 0 ${originOf(log.id)}`,
  ]);
  await settle();
  expect(plain.lines).toHaveLength(3);
});

test('an ERROR of a worker is told, and ends nothing', async () => {
  const { primary, transport } = deploy();
  const server = await primary({ streams });
  const told = once(server, 'peer-error');
  const hand = new Netcat(transport, ADDRESS);
  hand.send('NAME hand', 'ERROR out of sorts');
  expect((await told)[0]).toMatchObject({ worker: { name: 'hand' }, text: 'out of sorts' });
  expect(server.status().connections).toHaveLength(1);
});

test('where the volatile log does not open, the durable one is closed again', async () => {
  const log = memoryLog();
  // The volatile log asks for the time when it opens.
  const clock = new VirtualClock();
  clock.wallNow = () => {
    throw new Error('no time');
  };
  await expect(createPrimary({ name: 'example.com', log, streams, clock })).rejects.toThrow('no time');
  const primary = await createPrimary({ name: 'example.com', log, streams });
  await primary.close();
});

test.each(['serve', 'refuse'] as const)('rows that are gone, to a peer that is not Rowcast: %s', async (trimmed) => {
  const { primary, transport } = deploy();
  const server = await primary({ streams, ...(trimmed === 'refuse' && { trimmed }) });
  for (let i = 1; i <= 4; i++) await server.append(events, [i]);
  await server.trim(events, 3);
  const warned = once(server, 'warning');
  const hand = new Netcat(transport, ADDRESS);
  hand.send('NAME hand', 'REPLICATE events 1');
  const error = trimmed === 'serve' ? { name: 'PeerError', code: 'TRIMMED' } : { name: 'PeerError', code: 'GAP' };
  expect((await warned)[0]).toMatchObject({ worker: { name: 'hand' }, error });
  if (trimmed === 'serve') await hand.line('POSITION');
  else await hand.closed;
  expect(hand.lines.slice(2)).toEqual(
    trimmed === 'serve' ? ['RDATA events 4 4', 'POSITION events 4'] : ['ERROR stream events starts at 4, asked for 1'],
  );
});

test('the streams of each log can be followed like any other, by a Rowcast peer', async () => {
  const { primary, transport } = deploy();
  const server = await primary({ streams });
  for (const name of ['events', 'receipts', 'typing']) await server.append(name, [1]);
  const hand = rowcastHand(transport);
  hand.send('REPLICATE $streams START', 'REPLICATE $streams.volatile START');
  await hand.line('POSITION $streams.volatile');
  const made = hand.lines.flatMap(
    (line) => /^RDATA (\S+) \S+ \{"stream":"(\w+)","made":\d+\}$/.exec(line)?.slice(1) ?? [],
  );
  expect(made).toEqual(['$streams', 'events', '$streams', 'receipts', '$streams.volatile', 'typing']);
});

test('trim wants a stream that is there and a token', async () => {
  const { primary } = deploy();
  const server = await primary({ streams });
  await expect(server.trim('nothing', 1)).rejects.toMatchObject({ code: 'NO_SUCH_STREAM' });
  await expect(server.trim(events, -1)).rejects.toMatchObject({ code: 'INVALID_TOKEN' });
});

test.each(['disconnect', 'catch-up'] as const)(
  'a live worker over maxLagRows behind: %s; it gets every row once either way',
  async (slowConsumer) => {
    const { primary, worker } = deploy(createMemoryTransport({ highWaterBytes: 1_000 }));
    const server = await primary({ streams, slowConsumer, limits: { maxLagRows: 100, pageBytes: 1_000 } });
    const reader = worker({ limits: { maxQueuedBytes: 1_000 } });
    const gate = new Gate();
    const warnings: unknown[] = [];
    const ends: unknown[] = [];
    server.on('warning', ({ error }) => warnings.push(error.code));
    reader.on('disconnected', ({ error }) => ends.push(error.message));
    const tokens: number[] = [];
    reader.subscribe(events, { from: 'now' }, async ({ token }) => {
      await gate.opened;
      tokens.push(token);
    });
    await reader.start();
    for (let i = 1; i <= 300; i++) {
      await server.append(events, ['x'.repeat(100)]);
      await settle(1);
    }
    gate.open();
    await reader.waitFor(server.position(events));
    expect(tokens).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    expect(warnings).toEqual(slowConsumer === 'disconnect' ? ['SLOW_CONSUMER'] : []);
    expect(ends).toEqual(slowConsumer === 'disconnect' ? ['the primary ended the connection: Failed to keep up'] : []);
  },
);

test('a worker whose socket takes nothing for stalledTimeoutMs is cut, whatever the policy', async () => {
  const clock = new VirtualClock();
  const { primary, transport } = deploy(createMemoryTransport({ highWaterBytes: 100 }));
  const server = await primary({ streams, clock, slowConsumer: 'catch-up', limits: { stalledTimeoutMs: 30_000 } });
  await server.append(events, ['x'.repeat(1_000)]);
  const stuck = new Netcat(transport, ADDRESS);
  await stuck.line('PING');
  // The greeting has been taken, and the primary has heard so.
  await settle();
  stuck.connection.pause();
  stuck.send('REPLICATE events 0');
  await settle();
  const warned = once(server, 'warning');
  while (clock.step(clock.now() + 1_000) || clock.elapsedMs < 31_000);
  expect((await warned)[0]).toMatchObject({ error: { code: 'SLOW_CONSUMER' } });
  stuck.connection.resume();
  await stuck.closed;
});

test('a batch with an id that makes a deleted stream again is told, also while the deletion is on its way', async () => {
  const write = async (): Promise<void> => new Promise(setImmediate);
  const store = { open: async () => [], write, close: async () => {} };
  const { primary } = deploy();
  const server = await primary({ streams: [events], log: new KeptLog({ name: 'slow', store }) });
  const told: unknown[] = [];
  server.on('appended', ({ token, rows }) => told.push([token, rows]));
  await server.append(events, [1]);
  await server.append(events, [2]);
  const deleted = server.delete(events);
  const again = server.append(events, [3], { id: 'a' });
  await deleted;
  expect(await again).toMatchObject({ token: 1 });
  expect(await server.append(events, [3], { id: 'a' })).toEqual(await again);
  expect(told).toEqual([
    [1, [1]],
    [2, [2]],
    [1, [3]],
  ]);
});
