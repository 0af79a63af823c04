/** One subscription after another of the same stream, and ends that come in order. */

import { describe, expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { EVERY_NAME } from '../core/model/pattern.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { SubscribeOptions } from './options.ts';
import type { BatchHandler } from './subscription.ts';
import type { Worker } from './worker.ts';

const events = defineStream<number>('events');
const rooms = defineStreams<number>('room:*');

/** What handlers got, and that no two of them are at work. */
class Work {
  readonly got: string[] = [];
  readonly entered = new Gate();
  readonly gate = new Gate();
  #atWork = 0;

  get isIdle(): boolean {
    return this.#atWork === 0;
  }

  /** Holds at row 2 until the gate is open. */
  handler(name: string): BatchHandler<number> {
    return async ({ rows }) => {
      if (++this.#atWork > 1) this.got.push('two at work');
      this.got.push(`${name}${rows[0]}`);
      if (rows[0] === 2) {
        this.entered.open();
        await this.gate.opened;
      } else await Promise.resolve();
      this.#atWork--;
    };
  }
}

type Begin = (reader: Worker, options: SubscribeOptions, handler: BatchHandler<number>) => void;

const byName: Begin = (reader, options, handler) => void reader.subscribe('room:1', options, handler as BatchHandler);
const byPattern: Begin = (reader, options, handler) =>
  reader.subscribeMatching('room:*', options, handler as BatchHandler);

describe('a stream that is left, not awaited, and subscribed again while its handler is at work', () => {
  async function leave(begin: Begin, leaveIt: (reader: Worker) => Promise<void>) {
    const work = new Work();
    const { primary, worker } = deploy();
    const server: Primary = await primary({ streams: [events, rooms] });
    const reader = worker({ checkpoint: memoryCheckpoint() });
    begin(reader, { from: 'checkpoint', fallback: 'start' }, work.handler('old'));
    void reader.start();
    for (let i = 1; i <= 3; i++) await server.append('room:1', [i]);
    await work.entered.opened;
    const left = leaveIt(reader);
    return { work, server, reader, left };
  }

  // SPEC D12
  test.each([
    ['name', 'name', byName, byName],
    ['pattern', 'pattern', byPattern, byPattern],
    ['pattern', 'name', byPattern, byName],
  ] as const)(
    'by %s and then by %s gives each batch once, and has one handler at work',
    async (_a, _b, first, then) => {
      const { work, server, reader, left } = await leave(first, async (worker) =>
        worker.unsubscribe(first === byName ? 'room:1' : 'room:*'),
      );
      then(reader, { from: 'checkpoint', fallback: 'start' }, work.handler('new'));
      const started = reader.start();
      await settle();
      expect(work.got).toEqual(['old1', 'old2']);
      expect(reader.isLive).toBe(false);
      work.gate.open();
      await left;
      await started;
      const position = await server.append('room:1', [4]);
      await reader.waitFor(position);
      expect(work.got).toEqual(['old1', 'old2', 'new3', 'new4']);
    },
  );

  test('from the start gives all again, and only once the handler before it is finished', async () => {
    const { work, reader } = await leave(byName, async (worker) => worker.unsubscribe('room:1'));
    const again = new Work();
    reader.subscribe('room:1', { from: 'start' }, async (batch) => {
      expect(work.isIdle).toBe(true);
      again.gate.open();
      await again.handler('new')(batch as never);
    });
    await settle();
    work.gate.open();
    await reader.start();
    expect(again.got).toEqual(['new1', 'new2', 'new3']);
  });

  test('and left once more before it began, is not followed', async () => {
    const { work, reader, left } = await leave(byName, async (worker) => worker.unsubscribe('room:1'));
    const second = reader.subscribe('room:1', { from: 'checkpoint' }, work.handler('second') as BatchHandler);
    await reader.unsubscribe('room:1');
    await second.done;
    byPattern(reader, { from: 'checkpoint' }, work.handler('pattern'));
    await reader.unsubscribe('room:*');
    work.gate.open();
    await left;
    await reader.start();
    expect(work.got).toEqual(['old1', 'old2']);
    await expect(reader.waitFor({ stream: 'room:1', token: 3, history: undefined })).rejects.toMatchObject({
      code: 'NOT_SUBSCRIBED',
    });
  });

  test('within the handler itself, also in its synchronous part', async () => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [events] });
    for (let i = 1; i <= 2; i++) await server.append(events, [i]);
    const last = await server.append(events, [3]);
    const reader = worker({ checkpoint: memoryCheckpoint() });
    const got: string[] = [];
    reader.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ rows }) => {
      got.push(`old${rows[0]}`);
      if (rows[0] !== 2) return;
      void reader.unsubscribe(events);
      reader.subscribe(events, { from: 'checkpoint' }, (batch) => void got.push(`new${batch.rows[0]}`));
    });
    await reader.start();
    await reader.waitFor(last);
    expect(got).toEqual(['old1', 'old2', 'new3']);
  });

  test('through all streams, where another pattern takes it over', async () => {
    const { work, reader } = await leave(
      (worker, options, handler) => worker.subscribeAll(options, handler as BatchHandler),
      async () => {},
    );
    byPattern(reader, { from: 'checkpoint', fallback: 'start' }, work.handler('new'));
    await settle();
    expect(work.got).toEqual(['old1', 'old2']);
    work.gate.open();
    await reader.start();
    expect(work.got).toEqual(['old1', 'old2', 'new3']);
    await reader.unsubscribe(EVERY_NAME);
  });
});

// SPEC D13
test.each(['reset', 'unknown stream'])(
  'an end by the primary (%s) comes after the rows that came before',
  async (how) => {
    const { primary, worker, transport } = deploy();
    const first = await primary({ streams: [events] });
    const reader = worker();
    const work = new Work();
    const codes: string[] = [];
    reader.on('error', ({ code }) => codes.push(code));
    const subscription = reader.subscribe(events, { from: 'start' }, work.handler(''));
    for (let i = 1; i <= 5; i++) await first.append(events, [i]);
    const started = reader.start();
    const failed = started.catch((error: { readonly code: string }) => codes.push(`start ${error.code}`));
    await work.entered.opened;
    await settle();
    await first.close();
    transport.cutAll();
    const second = await primary({ streams: [how === 'reset' ? events : rooms] });
    while (second.status().connections.length === 0) await settle();
    await settle();
    expect(codes).toEqual([]);
    expect(subscription.isEnded).toBe(false);
    expect(reader.isLive).toBe(false);
    const late = reader.waitFor({ stream: 'events', token: 9, history: undefined }).catch(() => {});
    work.gate.open();
    await failed;
    expect(work.got).toEqual(['1', '2', '3', '4', '5']);
    expect(codes).toEqual([how === 'reset' ? 'start RESET' : 'start UNKNOWN_STREAM']);
    expect(subscription.position?.token).toBe(5);
    await late;
  },
);

describe('a stream of a pattern that the primary has ended while its handler was at work', () => {
  async function endBehindHandler() {
    const { primary, worker, transport } = deploy();
    const first = await primary({ streams: [rooms] });
    const checkpoint = memoryCheckpoint();
    const reader = worker({ checkpoint });
    const work = new Work();
    const codes: string[] = [];
    reader.on('error', ({ code }) => codes.push(code));
    reader.subscribeMatching(
      'room:*',
      { from: 'checkpoint', fallback: 'start', onReset: 'fail' },
      work.handler('') as BatchHandler,
    );
    for (let i = 1; i <= 5; i++) await first.append('room:1', [i]);
    reader.start().catch(() => {});
    await work.entered.opened;
    await settle();
    await first.close();
    transport.cutAll();
    const second = await primary({ streams: [rooms] });
    await second.append('room:1', [6]);
    while (second.status().connections.length === 0) await settle();
    await settle();
    return { second, reader, work, codes, checkpoint };
  }

  test('and then deleted and made again, is followed anew after the end', async () => {
    const { second, work, codes } = await endBehindHandler();
    await second.delete('room:1');
    await second.append('room:1', [7]);
    await settle();
    expect(work.got).toEqual(['1', '2']);
    work.gate.open();
    await settle();
    expect({ got: work.got, codes }).toEqual({ got: ['1', '2', '3', '4', '5', '7'], codes: [] });
  });

  test('and then deleted, is forgotten by the checkpoint', async () => {
    const { second, reader, work, checkpoint } = await endBehindHandler();
    await second.delete('room:1');
    await settle();
    work.gate.open();
    await settle();
    await reader.stop();
    expect([...(await checkpoint.load()).keys()]).not.toContain('room:1');
  });
});
