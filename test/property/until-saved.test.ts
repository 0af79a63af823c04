/**
 * Retention by acknowledgement with everything around it: workers that die with what their
 * checkpoints hold, cut connections, second processes of one name, and restarts of the primary. No
 * worker that untilSavedBy names may ever miss a row, and rows that all have saved are dropped.
 */

import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Position } from '../../src/core/model/position.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import { createPrimary, type Primary } from '../../src/primary/primary.ts';
import { ProcessClock, VirtualClock } from '../../src/testing/virtual-clock.ts';
import { createMemoryTransport } from '../../src/transport/memory.ts';
import { applyChanges, type Checkpoint } from '../../src/worker/checkpoint.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';
import { ADDRESS, settle } from '../support/deployment.ts';
import { survivingLog } from '../support/surviving-log.ts';

const NAMES = ['reader-0', 'reader-1', 'reader-2'];
const events = defineStream<number>('events', { retain: { untilSavedBy: NAMES } });

/** A worker that can die: what its checkpoint holds is what the next process of its name begins with. */
class Reader {
  readonly #name: string;
  readonly #clock: VirtualClock;
  readonly #transport: ReturnType<typeof createMemoryTransport>;
  readonly #stored = new Map<string, Position>();
  readonly #processes: {
    readonly worker: Worker;
    readonly clock: ProcessClock;
    readonly checkpoint: { isDead: boolean };
  }[] = [];
  readonly seen = new Set<number>();
  readonly resets: string[] = [];

  constructor(name: string, clock: VirtualClock, transport: ReturnType<typeof createMemoryTransport>) {
    this.#name = name;
    this.#clock = clock;
    this.#transport = transport;
  }

  start(): void {
    const clock = new ProcessClock(this.#clock);
    const checkpoint = { isDead: false };
    const stored = this.#stored;
    const store: Checkpoint = {
      load: async () => new Map(stored),
      save: async (changed) => {
        if (!checkpoint.isDead) applyChanges(stored, changed);
      },
    };
    const limits = { minBackoffMs: 1, maxBackoffMs: 1 };
    const options = { name: this.#name, connect: ADDRESS, transport: this.#transport, clock, limits };
    const worker = createWorker({ ...options, checkpoint: store });
    worker.on('reset', ({ error }) => this.resets.push(error.code));
    worker.subscribe(events, { from: 'checkpoint', fallback: 'start' }, ({ token }) => void this.seen.add(token));
    worker.start().catch(() => {});
    this.#processes.push({ worker, clock, checkpoint });
  }

  /** Nothing of it is saved any more. Its connection ends at once. */
  async kill(): Promise<void> {
    const process = this.#processes.shift();
    if (process === undefined) return;
    process.checkpoint.isDead = true;
    const stopped = process.worker.stop();
    process.clock.kill();
    await stopped;
  }

  get isRunning(): boolean {
    return this.#processes.length > 0;
  }
}

type Step =
  | { readonly kind: 'append'; readonly rows: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'kill' | 'start'; readonly reader: number }
  | { readonly kind: 'cut' | 'restart' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('append' as const), rows: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(5, 120, 1_200) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('kill' as const, 'start' as const),
      reader: fc.nat(NAMES.length - 1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('cut' as const, 'restart' as const) }) },
);

async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const until = clock.now() + ms;
  await settle(5);
  while (clock.step(until)) await settle(2);
  await settle(5);
}

// SPEC K1
test('no worker that untilSavedBy names misses a row, whatever dies, and what all have saved is dropped', async () => {
  let dropped = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
      const clock = new VirtualClock();
      const transport = createMemoryTransport();
      const log = survivingLog();
      const open = async (): Promise<Primary> => {
        const primary = await createPrimary({ name: 'example.com', transport, clock, log, streams: [events] });
        await primary.listen(ADDRESS);
        return primary;
      };
      let server = await open();
      const readers = NAMES.map((name) => new Reader(name, clock, transport));
      const append = async (rows: number): Promise<void> => {
        for (let i = 0; i < rows; i++) await server.append(events, [i]);
      };
      for (const happening of steps) {
        if (happening.kind === 'append') await append(happening.rows);
        else if (happening.kind === 'pass') await pass(clock, happening.ms);
        else if (happening.kind === 'kill') await readers[happening.reader]!.kill();
        else if (happening.kind === 'start') readers[happening.reader]!.start();
        else if (happening.kind === 'cut') transport.cutAll();
        else {
          await server.close();
          server = await open();
        }
        await settle(3);
      }
      for (const reader of readers) {
        // Two processes of one name share a checkpoint here, which only one of them may write.
        while (reader.isRunning) await reader.kill();
        reader.start();
      }
      await pass(clock, 3_000);
      await append(1);
      await pass(clock, 3_000);
      await append(1);
      await pass(clock, 500);
      const { token: latest } = server.position(events);
      const all = Array.from({ length: latest }, (_, i) => i + 1);
      for (const reader of readers) {
        expect(reader.resets).toEqual([]);
        expect([...reader.seen].toSorted((a, b) => a - b)).toEqual(all);
      }
      const { earliest } = server.status().streams[0]!;
      expect(earliest).toBeGreaterThanOrEqual(latest - 1);
      dropped += earliest - 1;
      for (const reader of readers) await reader.kill();
      await server.close();
    }),
    { numRuns: 150 },
  );
  expect(dropped).toBeGreaterThan(0);
}, 120_000);
