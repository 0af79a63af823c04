/**
 * Primaries that send anything, against a worker with subscriptions, a pattern, caches and a
 * checkpoint. Most of them are a real primary whose lines are changed on their way.
 */

import { expect, test } from 'vitest';
import { type Random, randomInteger } from '../../src/base/random.ts';
import { createCaches, defineCachesStream } from '../../src/cache/index.ts';
import { defineStreams } from '../../src/core/model/declarations.ts';
import { RowcastError } from '../../src/core/model/errors.ts';
import type { Position } from '../../src/core/model/position.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary, type Primary } from '../../src/primary/primary.ts';
import type { Connection, ConnectionHandler } from '../../src/transport/transport.ts';
import { type Checkpoint, memoryCheckpoint } from '../../src/worker/checkpoint.ts';
import { createWorker } from '../../src/worker/worker.ts';
import { Gate } from '../support/collector.ts';
import { captureNames, readCapture } from '../support/captures.ts';
import { garbage, happens, maybeMutated, mutated, pick, pieces } from './mutations.ts';
import { ROUNDS_TIMEOUT_MS, runRounds } from './rounds.ts';
import { Stage } from './stage.ts';

const REAL = { path: '/primary' };
const ADDRESS = { path: '/between' };
const captures = captureNames.map((name) => readCapture(name).lines.primary);
const limits = {
  maxLineBytes: 2_000,
  maxBatchBytes: 20_000,
  maxQueuedBytes: 10_000,
  maxStreams: 60,
  minBackoffMs: 10,
  maxBackoffMs: 100,
};
type Between = 'nothing' | 'mutations' | 'recording' | 'garbage' | 'flood';

test('a primary that sends anything cannot harm a worker for longer than it is there', {
  timeout: ROUNDS_TIMEOUT_MS,
}, async () => {
  await runRounds(round);
});

test('what waits for handlers is bounded, and all of it comes once they go on', {
  timeout: ROUNDS_TIMEOUT_MS,
}, async () => {
  await runRounds(flooded, 0.2);
});

/** A page that a primary sends at once is on its way when the worker stops reading. */
const ON_ITS_WAY_BYTES = 20_000;

async function flooded(random: Random): Promise<void> {
  const stage = new Stage();
  const { clock, transport } = stage;
  const history = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
  const isRowcast = happens(random, 0.5);
  const lines = Array.from({ length: 300 }, (_, i) => {
    const row = pick(random, [
      '1',
      `"${'x'.repeat(randomInteger(random, 0, 1_500))}"`,
      `[${'[],'.repeat(randomInteger(random, 0, 200))}1]`,
    ]);
    return `RDATA events ${i + 1} ${row}\n`;
  });
  let written = 0;
  let primary: Connection | undefined;
  const listener = await transport.listen(ADDRESS, (near) => {
    primary = near;
    const left = [...lines];
    const write = (): void => {
      for (let line = left.shift(); line !== undefined; line = left.shift()) {
        written += line.length;
        if (!near.write(Buffer.from(line))) return;
      }
    };
    return {
      handleOpen: () =>
        near.write(
          Buffer.from(
            `SERVER a\nPING 5${isRowcast ? ` rowcast/2 log=${history} mem=00112233445566ff.1.00ff00ff` : ''}\n`,
          ),
        ),
      handleBytes: (chunk) => {
        if (written > 0 || !Buffer.from(chunk).includes('REPLICATE')) return;
        if (isRowcast) near.write(Buffer.from(`HISTORY events 0 ${history}\n`));
        write();
      },
      handleDrained: write,
      handleClosed: () => {},
    };
  });
  const worker = createWorker({ name: 'slow', connect: ADDRESS, transport, clock, limits });
  const gate = new Gate();
  const tokens: number[] = [];
  worker.subscribe('events', { from: 'start' }, async ({ token }) => {
    await gate.opened;
    tokens.push(token);
  });
  const started = worker.start().catch(() => {});
  await stage.until('rows come', () => written > 0);
  await stage.pass(5_000);
  expect(written - primary!.unsentBytes, 'what it takes while its handler waits').toBeLessThan(
    limits.maxQueuedBytes + ON_ITS_WAY_BYTES,
  );
  gate.open();
  await stage.until('every row is applied', () => tokens.length === lines.length);
  expect(tokens).toEqual(lines.map((_, i) => i + 1));
  await stage.during('the worker stops', worker.stop());
  await Promise.all([started, listener.close()]);
}

async function round(random: Random): Promise<void> {
  const stage = new Stage();
  const { clock, transport } = stage;
  const primary = await createPrimary({
    name: 'example.com',
    log: memoryLog({ clock, random }),
    streams: [
      defineStream('events'),
      defineStream('typing', { durable: false }),
      defineStreams('room:*'),
      defineCachesStream(),
    ],
    transport,
    clock,
    random,
  });
  await primary.listen(REAL);
  const between = new Man(random, stage);
  const listener = await transport.listen(ADDRESS, (connection) => between.accept(connection));
  for (let i = 0; i < 10; i++) await append(random, primary);

  const faults: unknown[] = [];
  const order = new Order(faults);
  const checkpoint = order.checkpoint();
  const worker = createWorker({
    name: 'fuzzed',
    connect: ADDRESS,
    transport,
    clock,
    random,
    limits,
    checkpoint,
    attributes: true,
  });
  worker.on('error', (error) => {
    if (!(error instanceof RowcastError)) faults.push(error);
  });
  worker.on('connected', ({ isRowcast }) => order.handleConnected(isRowcast));
  worker.on('reset', ({ stream }) => order.handleReset(stream));
  const caches = createCaches(worker, { clock });
  const cached = caches.cached('get_user', (id: string) => id);
  const slowMs = pick(random, [0, 0, 0, 30]);
  const isStuck = happens(random, 0.2);
  const gate = new Gate();
  const handler = async ({
    stream,
    position,
  }: {
    readonly stream: string;
    readonly position: Position;
  }): Promise<void> => {
    order.begin(stream, position);
    if (isStuck) await gate.opened;
    if (slowMs > 0) await new Promise<void>((resolve) => void clock.wakeIn(slowMs, resolve));
    order.end(stream);
  };
  worker.subscribe('events', { from: 'start', onReset: 'earliest' }, handler);
  worker.subscribe('typing', { from: 'now' }, handler);
  worker.subscribeMatching('room:*', { from: 'start', onReset: 'earliest' }, handler);
  const started = worker.start().catch((error: unknown) => {
    if (!(error instanceof RowcastError)) faults.push(error);
  });
  for (let step = randomInteger(random, 2, 12); step > 0; step--) {
    await stage.pass(pick(random, [0, 5, 50, 300, 1_200, 16_000]));
    if (happens(random, 0.7)) await append(random, primary);
    if (happens(random, 0.3)) await cached(pick(random, ['a', 'b']));
    if (happens(random, 0.2)) between.change();
  }

  gate.open();
  between.heal();
  await stage.until(
    'the worker is connected to its primary again',
    () => worker.isConnected && primary.status().connections.length === 1,
  );
  for (const stream of ['events', 'room:*']) await stage.during('an old subscription ends', worker.unsubscribe(stream));
  // The application itself goes back to the start.
  order.handleReset('events');
  const rows: unknown[] = [];
  worker.subscribe('events', { from: 'start' }, (batch) => void rows.push(...batch.rows));
  const last = await primary.append('events', ['the last one']);
  await stage.until('it has the last row', () => rows.at(-1) === 'the last one');
  expect(rows).toHaveLength(between.countOf(primary));
  expect(worker.position('events')).toEqual(last);
  await stage.during('the worker stops', worker.stop());
  await started;
  await stage.during('the primary closes', primary.close());
  await listener.close();
  between.end();
  await stage.pass(0);
  expect(clock.waiting, 'timers that are left').toBe(0);
  expect(faults).toEqual([]);
}

async function append(random: Random, primary: Primary): Promise<void> {
  const stream = pick(random, ['events', 'typing', 'room:1', 'room:2', 'caches']);
  const rows =
    stream === 'caches'
      ? [['get_user', ['a'], 5]]
      : [[primary.position(stream).token, 'x'.repeat(randomInteger(random, 0, 300))]];
  await primary.append(stream, rows, happens(random, 0.2) ? { attributes: { trace: 1 } } : {});
}

/** Stands between the worker and its primary. */
class Man {
  readonly #random: Random;
  readonly #stage: Stage;
  readonly #near = new Set<Connection>();
  #token = 1_000;
  #does: Between = 'nothing';
  #isHealed = false;

  constructor(random: Random, stage: Stage) {
    this.#random = random;
    this.#stage = stage;
    this.change();
  }

  /** What the next connections meet. */
  change(): void {
    this.#does = pick(this.#random, [
      'nothing',
      'mutations',
      'mutations',
      'mutations',
      'recording',
      'garbage',
      'flood',
    ]);
  }

  /** From now on nothing is changed any more. */
  heal(): void {
    this.#isHealed = true;
    this.end();
  }

  end(): void {
    for (const near of this.#near) near.abort();
  }

  countOf(primary: Primary): number {
    // Each batch has one row.
    return primary.position('events').token;
  }

  accept(near: Connection): ConnectionHandler {
    this.#near.add(near);
    const does = this.#isHealed ? 'nothing' : this.#does;
    if (does === 'nothing' || does === 'mutations') return this.#relay(near, does === 'mutations');
    return {
      handleOpen: () => this.#speak(near, does),
      handleBytes: () => {},
      handleDrained: () => {
        if (does === 'flood') this.#flood(near);
      },
      handleClosed: () => void this.#near.delete(near),
    };
  }

  #relay(near: Connection, isMutated: boolean): ConnectionHandler {
    const probability = isMutated ? pick(this.#random, [0.01, 0.05, 0.3]) : 0;
    let text = '';
    const far = this.#stage.transport.connect(REAL, {
      handleOpen: () => {},
      handleBytes: (chunk) => {
        if (!isMutated) return void near.write(chunk);
        const lines = `${text}${Buffer.from(chunk).toString('utf8')}`.split('\n');
        text = lines.pop()!;
        const bytes = Buffer.concat(lines.map((line) => maybeMutated(this.#random, line, probability)));
        for (const piece of pieces(this.#random, bytes)) near.write(piece);
      },
      handleDrained: () => {},
      handleClosed: () => near.close(),
    });
    return {
      handleOpen: () => {},
      handleBytes: (chunk) => void far.write(chunk),
      handleDrained: () => {},
      handleClosed: () => {
        this.#near.delete(near);
        far.abort();
      },
    };
  }

  #speak(near: Connection, does: Between): void {
    const random = this.#random;
    const greeting = pick(random, [
      'PING 5',
      'PING 5 rowcast/2 log=8f3c1d2e4b5a6978.1764281400.a1b2c3d4 mem=00112233445566ff.1764281411.00ff00ff',
    ]);
    near.write(Buffer.from(`SERVER example.com\n${greeting}\n`));
    if (does === 'flood') return this.#flood(near);
    const bytes =
      does === 'garbage' ? garbage(random) : mutated(random, pick(random, captures), pick(random, [0, 0.05]));
    for (const piece of pieces(random, bytes)) near.write(piece);
    if (happens(random, 0.3)) near.close();
  }

  /** Rows without end, as fast as they are taken. */
  #flood(near: Connection): void {
    for (let i = 0; i < 200; i++) {
      if (!near.write(Buffer.from(`RDATA events ${this.#token++} "${'x'.repeat(270)}"\n`))) return;
    }
  }
}

/** What a handler and a checkpoint are given keeps its order, unless the application is told otherwise. */
class Order {
  readonly #faults: unknown[];
  readonly #given = new Map<string, Position>();
  readonly #saved = new Map<string, Position>();
  /** Streams whose saved position a reset has made void: the next one may be lower. */
  readonly #isVoid = new Set<string>();
  readonly #busy = new Set<string>();
  /** A primary that is not Rowcast may take back what it said without proof. */
  #hasMetSeed = false;

  constructor(faults: unknown[]) {
    this.#faults = faults;
  }

  handleConnected(isRowcast: boolean): void {
    if (!isRowcast) this.#hasMetSeed = true;
  }

  handleReset(stream: string): void {
    this.#given.delete(stream);
    this.#isVoid.add(stream);
  }

  begin(stream: string, position: Position): void {
    if (this.#busy.has(stream)) this.#faults.push(`two handlers of ${stream} run at once`);
    this.#busy.add(stream);
    this.#compare('given', this.#given, stream, position, 1);
  }

  end(stream: string): void {
    this.#busy.delete(stream);
  }

  checkpoint(): Checkpoint {
    const { load, save } = memoryCheckpoint();
    return {
      load,
      save: async (changed, all) => {
        for (const [key, position] of changed) {
          if (position === undefined) this.#saved.delete(key);
          // A list of streams that is reset begins again, and nobody is told.
          else if (!key.startsWith('$')) this.#compare('saved', this.#saved, key, position, 0);
        }
        await save(changed, all);
      },
    };
  }

  #compare(what: string, before: Map<string, Position>, key: string, position: Position, step: number): void {
    const last = before.get(key);
    before.set(key, position);
    if (last === undefined || this.#hasMetSeed || last.history !== position.history) return;
    if (position.token < last.token + step && !(step === 0 && this.#isVoid.delete(key))) {
      this.#faults.push(`${key} was ${what} at ${position.token} after ${last.token} without a reset`);
    }
  }
}
