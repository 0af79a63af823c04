/**
 * Streams are appended to, deleted and made again in any order, while a worker that follows them
 * through patterns is cut off, slow, and started again. In the end what it was told since the last
 * reset of each stream is what the stream has.
 */

import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { defineStreams } from '../../src/core/model/declarations.ts';
import type { Position } from '../../src/core/model/position.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary } from '../../src/primary/primary.ts';
import { createMemoryTransport } from '../../src/transport/memory.ts';
import type { Connection, Transport } from '../../src/transport/transport.ts';
import { memoryCheckpoint } from '../../src/worker/checkpoint.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';
import { settle } from '../support/deployment.ts';

const address = { path: '/primary' };
const rooms = defineStreams<number>('room:*');
const users = defineStreams<number>('user:*', { durable: false });

interface Step {
  readonly what: 'append' | 'delete' | 'cut' | 'restart' | 'slow' | 'fast' | 'wait' | 'more';
  readonly of: number;
  readonly turns: number;
}

/** What the application has made of batches and resets, over all its processes. */
class Application {
  readonly #rows = new Map<string, Map<number, unknown[]>>();
  #slow: Promise<void> | undefined;
  #hurry: (() => void) | undefined;
  readonly faults: string[] = [];
  resets = 0;

  readonly handler = async ({ stream, token, rows }: { stream: string; token: number; rows: readonly unknown[] }) => {
    await this.#slow;
    const batches = this.#rows.get(stream) ?? new Map<number, unknown[]>();
    this.#rows.set(stream, batches);
    if (token > 1 && !batches.has(token - 1)) this.faults.push(`${stream} has token ${token} after a hole`);
    batches.set(token, [...rows]);
  };

  follow(worker: Worker): void {
    worker.on('reset', ({ stream }) => {
      this.resets++;
      this.#rows.delete(stream);
    });
    worker.on('error', (error) => this.faults.push(error.message));
  }

  slow(): void {
    this.#slow ??= new Promise((resolve) => {
      this.#hurry = resolve;
    });
  }

  fast(): void {
    this.#hurry?.();
    this.#slow = undefined;
  }

  rowsOf(stream: string): unknown[] {
    return [...(this.#rows.get(stream) ?? [])].sort(([a], [b]) => a - b).flatMap(([, rows]) => rows);
  }
}

test('what a worker was told of each stream since its last reset is what the stream has', {
  timeout: 120_000,
}, async () => {
  const step = fc.record<Step>({
    what: fc.constantFrom(
      'append',
      'append',
      'append',
      'delete',
      'delete',
      'cut',
      'restart',
      'slow',
      'fast',
      'wait',
      'more',
    ),
    of: fc.integer({ min: 0, max: 3 }),
    turns: fc.integer({ min: 0, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const transport = createMemoryTransport();
      let connection: Connection | undefined;
      const cuttable: Transport = {
        listen: (...given) => transport.listen(...given),
        connect: (...given) => (connection = transport.connect(...given)),
      };
      const primary = await createPrimary({ name: 'x', streams: [rooms, users], log: memoryLog(), transport });
      await primary.listen(address);
      const checkpoint = memoryCheckpoint();
      const application = new Application();
      let hasMore = false;
      const more = (): void =>
        worker.subscribeMatching(users, { from: 'checkpoint', fallback: 'start' }, application.handler);
      const begin = (): Worker => {
        const made = createWorker({
          name: 'reader',
          connect: address,
          transport: cuttable,
          checkpoint,
          limits: { minBackoffMs: 1, maxBackoffMs: 1 },
        });
        application.follow(made);
        made.subscribeMatching(rooms, { from: 'checkpoint', fallback: 'start' }, application.handler);
        made.start().catch(() => {});
        return made;
      };
      let worker = begin();
      const expected = new Map<string, number[]>();
      const waits: Promise<unknown>[] = [];
      let row = 0;
      let deletions = 0;
      for (const { what, of, turns } of steps) {
        const stream = of === 3 ? users.stream('user:1') : rooms.stream(`room:${of}`);
        switch (what) {
          case 'append': {
            row++;
            const position: Position = await primary.append(stream, [row]);
            expected.set(stream.name, [...(expected.get(stream.name) ?? []), row]);
            if (of < 3) waits.push(worker.waitFor(position, { timeoutMs: 50_000 }).catch((error: unknown) => error));
            break;
          }
          case 'delete':
            await primary.delete(stream);
            deletions++;
            expected.delete(stream.name);
            break;
          case 'cut':
            connection?.abort();
            break;
          case 'restart':
            application.fast();
            await worker.stop();
            worker = begin();
            if (hasMore) more();
            break;
          case 'slow':
            application.slow();
            break;
          case 'fast':
            application.fast();
            break;
          case 'more':
            if (!hasMore) more();
            hasMore = true;
            break;
          case 'wait':
            break;
        }
        await settle(turns);
      }
      application.fast();
      if (!hasMore) more();
      const names = ['room:0', 'room:1', 'room:2', 'user:1'];
      const told = (): unknown[][] => names.map((name) => application.rowsOf(name));
      const wanted = names.map((name) => expected.get(name) ?? []);
      await expect.poll(() => [worker.isLive, told()], { timeout: 5_000, interval: 2 }).toEqual([true, wanted]);
      await settle(5);
      expect(told()).toEqual(wanted);
      await worker.stop();
      const kept = [...(await checkpoint.load()).keys()].filter((key) => !key.startsWith('$')).sort();
      expect(kept).toEqual(names.filter((name) => expected.has(name)));
      expect(application.faults).toEqual([]);
      expect(application.resets, 'no more than there were deletions').toBeLessThanOrEqual(deletions);
      await Promise.all(waits);
      await primary.close();
    }),
    { numRuns: 150, ...(process.env['SEED'] !== undefined && { seed: Number(process.env['SEED']) }) },
  );
});
