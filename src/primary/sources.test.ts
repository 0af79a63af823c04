/** Sources beside the primary's own two logs, and sources that fail. */

import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ADDRESS, deploy, settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { defaultBatchLimits } from '../core/model/batch.ts';
import { type Declaration, Declarations, defineStreams } from '../core/model/declarations.ts';
import type { Verdict } from '../core/model/page.ts';
import { encodeRows } from '../core/model/row.ts';
import { defineStream, type StreamName } from '../core/model/stream.ts';
import type { Log, Source, SourceEvent } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import type { Transport } from '../transport/transport.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { StreamCatalog } from './stream-catalog.ts';

const events = defineStream('events');

function rowcastHand(transport: Transport): Netcat {
  const hand = new Netcat(transport, ADDRESS);
  hand.send('PING 1 rowcast/2');
  return hand;
}

/** A source over a log in memory, whose catalog is named after its log id. */
class FarSource implements Source {
  readonly log: Log = memoryLog();
  /** False: hints come without rows. */
  bringsRows = true;

  static async open(...declarations: Declaration[]): Promise<FarSource> {
    const far = new FarSource();
    const limits = defaultBatchLimits;
    await far.log.open({ declarations: new Declarations(declarations), limits, catalog: '$far' });
    return far;
  }

  readonly name = 'far';
  get id(): string {
    return this.log.id;
  }
  get era(): string {
    return this.log.era;
  }
  get catalog(): StreamName {
    return `$streams.${this.log.id}`;
  }
  serves(stream: StreamName): boolean {
    return this.log.serves(this.#inner(stream));
  }
  streams(): Iterable<StreamName> {
    return this.log.streams();
  }
  judge(...[position]: Parameters<Source['judge']>): Verdict | Promise<Verdict> {
    return this.log.judge({ ...position, stream: this.#inner(position.stream) });
  }
  bounds(stream: StreamName): ReturnType<Source['bounds']> {
    return this.log.bounds(this.#inner(stream));
  }
  async read(...[stream, options]: Parameters<Source['read']>): Promise<Awaited<ReturnType<Source['read']>>> {
    return { ...(await this.log.read(this.#inner(stream), options)), stream };
  }
  rowsAfter(...[stream, after]: Parameters<Source['rowsAfter']>): number {
    return this.log.rowsAfter(this.#inner(stream), after);
  }
  watch(listener: (event: SourceEvent) => void): () => void {
    return this.log.watch((event) => {
      if (event.kind !== 'rows') return listener(event);
      const stream = event.stream === '$far' ? this.catalog : event.stream;
      const { chunks, ...hint } = event;
      listener({ ...hint, stream, ...(this.bringsRows && chunks && { chunks }) });
    });
  }
  async append(stream: StreamName, ...rows: unknown[]): Promise<void> {
    await this.log.append(stream, encodeRows(stream, rows));
  }
  #inner(stream: StreamName): StreamName {
    return stream === this.catalog ? '$far' : stream;
  }
}

describe('a further source', () => {
  // SPEC S13
  test('is served beside the logs, and a stream that both have is of the log', async () => {
    const { primary, transport } = deploy();
    const far = await FarSource.open(defineStream('events'), defineStreams('far:*'));
    await far.append('events', 'of another log');
    const server = await primary({ streams: [events], sources: [far] });
    const hand = rowcastHand(transport);
    hand.send('REPLICATE far:1 START', `REPLICATE ${far.catalog} START`, 'REPLICATE events START');
    await hand.line('POSITION events 0');
    expect(hand.lines[1]).toMatch(new RegExp(` src=${far.era}$`));
    await far.append('far:1', 'row');
    await hand.line('RDATA far:1 1 "row"');
    await hand.line(`RDATA ${far.catalog} 2 {"stream":"far:1","made":`);
    expect(hand.lines).not.toContain('RDATA events 1 "of another log"');
    expect(server.status().streams).toEqual([
      expect.objectContaining({ stream: 'events', source: 'memory', durable: true, latest: 0 }),
      expect.objectContaining({ stream: 'far:1', source: 'far', durable: undefined, latest: 1 }),
    ]);
    expect(server.position('far:1')).toEqual({ stream: 'far:1', token: 1, history: far.era });
  });

  test.each([true, false])('is in ALL of a peer of the seed, with what is made later: %s', async (bringsRows) => {
    const { primary, transport } = deploy();
    const far = await FarSource.open(defineStreams('far:*'));
    far.bringsRows = bringsRows;
    await primary({ streams: [events], sources: [far] });
    await far.append('far:1', 'old');
    const hand = new Netcat(transport, ADDRESS);
    hand.send('REPLICATE ALL NOW');
    await hand.line('POSITION far:1 1');
    await far.append('far:2', 'first');
    await hand.line('RDATA far:2 1 "first"');
    expect(hand.lines.slice(2)).toEqual([
      'POSITION events 0',
      'POSITION far:1 1',
      'POSITION far:2 0',
      'RDATA far:2 1 "first"',
    ]);
  });

  test('whose catalog is read without an answer once is in ALL again with what is made after that', async () => {
    const { primary, transport } = deploy();
    const far = await FarSource.open(defineStreams('far:*'));
    far.bringsRows = false;
    await primary({ streams: [events], sources: [far], limits: { sourceTimeoutMs: 20 } });
    const hand = new Netcat(transport, ADDRESS);
    hand.send('REPLICATE ALL NOW');
    await hand.line('POSITION events 0');
    const read = vi.spyOn(far, 'read').mockReturnValue(new Promise(() => {}));
    await far.append('far:1', 'unheard');
    read.mockRestore();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await far.append('far:2', 'heard');
    await hand.line('RDATA far:1 1 "unheard"');
    await hand.line('RDATA far:2 1 "heard"');
  });

  test('is appended to elsewhere, and says where', async () => {
    const { primary } = deploy();
    const far = await FarSource.open(defineStreams('far:*'));
    const server = await primary({ streams: [events], sources: [far] });
    const refused = { name: 'UsageError', code: 'READ_ONLY_STREAM', facts: { stream: 'far:1', source: 'far' } };
    await expect(server.append('far:1', [1])).rejects.toMatchObject(refused);
    await expect(server.trim('far:1', 1)).rejects.toMatchObject(refused);
    await expect(server.delete('far:1')).rejects.toMatchObject(refused);
  });

  test('deletes its own streams and no others of the same name', async () => {
    const { primary, transport } = deploy();
    const far = await FarSource.open(defineStream('events'), defineStreams('far:*'));
    const server = await primary({ streams: [events], sources: [far] });
    await server.append(events, [1]);
    for (const stream of ['events', 'far:1']) await far.append(stream, 'x');
    const hand = rowcastHand(transport);
    hand.send('REPLICATE events NOW', 'REPLICATE far:1 START');
    await hand.line('POSITION far:1 1');
    for (const stream of ['events', 'far:1']) await far.log.delete(stream);
    await hand.line('REFUSED far:1 RESET');
    await server.append(events, [2]);
    await hand.line('RDATA events 2 2');
  });

  test('whose catalog has another name, whose log is served already, or one too many, is refused', async () => {
    const { primary } = deploy();
    const far = await FarSource.open(events);
    const wrong: readonly (readonly Source[])[] = [[far.log], [far, far], Array.from({ length: 15 }, () => far)];
    for (const sources of wrong) {
      const log = memoryLog();
      await expect(primary({ streams: [events], log, sources })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
      expect(() => log.bounds('events'), 'its log is closed').toThrow(expect.objectContaining({ code: 'CLOSED' }));
    }
  });

  test('is left open by the primary', async () => {
    const { primary } = deploy();
    const far = await FarSource.open(defineStreams('far:*'));
    const server = await primary({ streams: [events], sources: [far] });
    await server.close();
    await far.append('far:1', 'still');
    expect(far.bounds('far:1').latest).toBe(1);
  });
});

test.each([true, false])('hints that come twice, or late, count no row twice: with rows %s', async (bringsRows) => {
  const far = await FarSource.open(defineStreams('far:*'));
  const told: SourceEvent[] = [];
  let tell: (event: SourceEvent) => void = () => {};
  far.log.watch((event) => told.push(event));
  far.watch = (listener) => {
    tell = (event) => {
      if (event.kind !== 'rows' || bringsRows) return listener(event);
      const { chunks: _, ...hint } = event;
      listener(hint);
    };
    return () => {};
  };
  const catalog = new StreamCatalog({
    streams: [],
    log: memoryLog(),
    volatileLog: memoryLog(),
    sources: [far],
    limits: defaultBatchLimits,
    tailBytes: 0,
    sourceTimeoutMs: 1_000,
    clock: new VirtualClock(),
  });
  await catalog.open();
  onTestFinished(() => catalog.close());
  await far.append('far:1', 'before', 'anyone', 'follows');
  const stream = catalog.follow('far:1')!;
  for (const row of ['a', 'b', 'c']) await far.append('far:1', row);
  const hints = told.filter((event) => event.kind === 'rows' && event.stream === 'far:1');
  expect(hints).toHaveLength(4);
  for (const hint of [...hints, ...hints, hints[3]!, hints[1]!, hints[2]!, hints[3]!]) tell(hint);
  expect(stream.appendedRows).toBe(3);
  await far.append('far:1', 'd');
  const chunks = told.flatMap((event) =>
    event.kind === 'rows' && event.stream === 'far:1' ? (event.chunks ?? []) : [],
  );
  tell({ kind: 'rows', stream: 'far:1', latest: 5, chunks });
  expect(stream.appendedRows, 'with a hint that brings earlier rows again').toBe(4);
});

describe('a log that fails in its own way', () => {
  const failures: readonly [string, () => unknown][] = [
    ['rejects with an error that is none of ours', () => Promise.reject(new Error('ECONNRESET from the database'))],
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- this is what is tried
    ['rejects with no error at all', () => Promise.reject('broken')],
    [
      'throws at once',
      () => {
        throw new TypeError('no such table');
      },
    ],
    ['answers nothing', () => undefined],
    ['promises nothing', () => Promise.resolve(undefined)],
    ['answers something else', () => ({ rows: 7 })],
  ];
  const kinds = failures.flatMap(([what, fail]) => (['read', 'judge'] as const).map((call) => ({ call, what, fail })));

  test.each(kinds)('$call $what: the stream alone is refused as UNAVAILABLE', async ({ call, fail }) => {
    const { hand, seed, server, warnings } = await besideLog({ [call]: fail });
    hand.send('REPLICATE events NOW', 'REPLICATE far:1 0');
    await hand.line('REFUSED far:1 UNAVAILABLE');
    await server.append(events, ['goes on']);
    await hand.line('RDATA events 1 "goes on"');
    seed.send('REPLICATE far:1 0');
    await seed.line('ERROR cannot read stream far:1');
    await seed.closed;
    expect(warnings).toHaveLength(2);
    for (const warning of warnings) {
      expect(warning).toMatchObject({ code: 'LOG_UNAVAILABLE', message: expect.stringContaining('far:1') });
      expect((warning as Error).cause).toBeDefined();
    }
  });

  // SPEC B11
  test('is told with its cause, and leaves no session mute and no rejection unhandled', async () => {
    const cause = new Error('ECONNRESET from the database');
    const unhandled = vi.fn<(reason: unknown) => void>();
    process.on('unhandledRejection', unhandled);
    onTestFinished(() => void process.off('unhandledRejection', unhandled));
    const { hand, warnings } = await besideLog({ read: async () => Promise.reject(cause) });
    hand.send('REPLICATE far:1 START');
    await hand.line('REFUSED far:1 UNAVAILABLE');
    hand.send('REPLICATE far:1 START');
    await vi.waitFor(() => expect(hand.lines.filter((line) => line.startsWith('REFUSED'))).toHaveLength(2));
    await settle();
    expect(warnings).toEqual([expect.objectContaining({ cause }), expect.objectContaining({ cause })]);
    expect(unhandled).not.toHaveBeenCalled();
  });

  async function besideLog(failing: object) {
    const { primary, transport } = deploy();
    const far = await FarSource.open(defineStreams('far:*'));
    await far.append('far:1', 'x');
    Object.assign(far, failing);
    const server = await primary({ streams: [events], sources: [far] });
    const warnings: unknown[] = [];
    server.on('warning', ({ error }) => warnings.push(error));
    return { server, warnings, hand: rowcastHand(transport), seed: new Netcat(transport, ADDRESS) };
  }

  test('as the durable log: a worker asks again with back-off, and gets its rows', async () => {
    const { primary, worker } = deploy();
    let fails = 3;
    const log = new Proxy(memoryLog(), {
      get(target, key) {
        if (key === 'read' && fails > 0) return async () => Promise.reject(new Error(`down, ${fails--}`));
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const server = await primary({ streams: [events], log, tailBytes: 0 });
    await server.append(events, ['x']);
    const reader = worker();
    const seen: unknown[] = [];
    reader.subscribe(events, { from: 'start' }, ({ rows }) => void seen.push(...rows));
    void reader.start();
    await vi.waitFor(() => expect(seen).toEqual(['x']));
    expect(fails).toBe(0);
  });
});
