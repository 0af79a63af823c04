/** The differential test finds what it is for, in logs that break one promise each. */

import { expect, test } from 'vitest';

import { seededRandom } from '../base/random.ts';
import { type Chunk, chunkUpTo } from '../core/model/chunk.ts';
import type { Page } from '../core/model/page.ts';
import type { AppendOptions, Log, SourceEvent } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { Tail } from '../log/tail.ts';
import { describeDifference, runDifferential } from './differential-run.ts';
import { differentialTest } from './differential.ts';
import { FakeDisk } from './fake-disk.ts';
import { FakeLog } from './fake-log.ts';
import type { CreateLog, CreateLogOptions } from './log-suite-place.ts';
import type { LogFeatures } from './log-suite.ts';
import { CommittedBatches } from './world-rows.ts';

const supports: LogFeatures = {
  durable: false,
  ids: true,
  explicitTokens: true,
  relays: true,
  acknowledgements: true,
  backup: false,
  foreignHints: false,
};

const bare: LogFeatures = {
  durable: true,
  ids: false,
  explicitTokens: false,
  relays: false,
  acknowledgements: false,
  backup: false,
  foreignHints: false,
};

/** A disk for each directory, so that a log that is opened again finds its rows. */
const disks = new Map<string, FakeDisk>();
const random = seededRandom(1);

function createFake({ directory, clock }: CreateLogOptions): Log {
  const disk = disks.get(directory) ?? FakeDisk.empty('0123456789abcdef');
  disks.set(directory, disk);
  const onThrown = (thrown: unknown): never => {
    throw thrown;
  };
  const times = { maxCommitMs: 0, maxHintMs: 0, maxReadMs: 0, failsPercent: 0, skipsPercent: 0 };
  const percents = { chunksPercent: 50, syncedPercent: 50 };
  const committed = new CommittedBatches();
  return new FakeLog({ ...times, ...percents, name: 'fake', disk, clock, random, committed, wallPace: 1, onThrown });
}

differentialTest(test, { name: 'the log of the simulated world', create: createFake, supports: bare, seeds: 1 });

type Change = (log: Log, options: CreateLogOptions) => Partial<Log>;

/** A log with some methods of another. */
function changed(create: CreateLog, change: Change): CreateLog {
  return (options) => {
    const log = create(options);
    const other = change(log, options);
    return new Proxy(log, {
      get: (_, name) => {
        const owner = name in other ? other : log;
        const value: unknown = Reflect.get(owner, name, owner);
        return typeof value === 'function' ? value.bind(owner) : value;
      },
    });
  };
}

const createMemory: CreateLog = ({ clock }) => memoryLog({ clock });

/** Reads through a tail, which forgets soon. */
function withTail(create: CreateLog): CreateLog {
  return changed(create, (log) => {
    const tail = new Tail(log, { maxBytes: 8_000 });
    return { read: (stream, options) => tail.read(stream, options) };
  });
}

differentialTest(test, { name: 'a tail before a memory log', create: withTail(createMemory), supports, seeds: 1 });
differentialTest(test, { name: 'a tail that gets hints', create: withTail(createFake), supports: bare, seeds: 1 });

/** Turns each `nth` call into another. */
function everyNth(nth: number): () => boolean {
  let calls = 0;
  return () => ++calls % nth === 0;
}

const faults: readonly [what: string, fault: Change, found: RegExp][] = [
  [
    'a batch that is lost',
    (log) => {
      const isLost = everyNth(20);
      return {
        append: async (stream, rows, options) => {
          if (options?.token !== undefined || options?.id !== undefined || !isLost())
            return log.append(stream, rows, options);
          return { stream, token: log.bounds(stream).latest + 1, history: log.era };
        },
      };
    },
    /to come before its append resolves|to be above/,
  ],
  [
    'a token that is given twice',
    (log) => {
      const isTwice = everyNth(20);
      return {
        append: async (stream, rows, options) => {
          const position = await log.append(stream, rows, options);
          return isTwice() ? { ...position, token: Math.max(1, position.token - 1) } : position;
        },
      };
    },
    /to be above|the bounds of|the token that was given|the first position/,
  ],
  [
    'a page that ends in the middle of a batch',
    (log) => ({ read: async (stream, options) => cutPage(await log.read(stream, options)) }),
    /the batches of a page/,
  ],
  [
    'a page that says nothing of what follows',
    (log) => ({ read: async (stream, options) => ({ ...(await log.read(stream, options)), hasMore: false }) }),
    /says that more follows/,
  ],
  [
    'an id that is forgotten too early',
    (log) => ({ open: async (options) => log.open({ ...options, idRetentionMs: options.idRetentionMs! / 2 }) }),
    /to be refused|the first position/,
  ],
  [
    'an id that is never forgotten',
    (log) => ({ open: async (options) => log.open({ ...options, idRetentionMs: Number.MAX_SAFE_INTEGER }) }),
    /to be above|was taken for other rows/,
  ],
  [
    "a verdict of 'on' after a deletion",
    (log) => {
      const deleted = new Set<string>();
      return {
        delete: async (stream) => {
          deleted.add(stream);
          return log.delete(stream);
        },
        judge: (position) => (deleted.has(position.stream) ? 'on' : log.judge(position)),
      };
    },
    /the verdict on token/,
  ],
  [
    'a row of the catalog that is missing',
    (log) => ({
      read: async (stream, options) => {
        const page = await log.read(stream, options);
        return stream === log.catalog ? { ...page, chunks: page.chunks.slice(1) } : page;
      },
    }),
    /the new rows of the catalog/,
  ],
  ['a hint that is missing', (log) => watching(log, everyNth(10), (event) => event.kind === 'rows'), /hint of token/],
  [
    'an era that is not told',
    (log) =>
      watching(
        log,
        () => true,
        ({ kind }) => kind === 'era',
      ),
    /'era' of stream|era/,
  ],
  [
    'a deletion that is not told',
    (log) =>
      watching(
        log,
        () => true,
        ({ kind }) => kind === 'deleted',
      ),
    /'deleted' of stream/,
  ],
  [
    'the hint of the catalog after that of the stream',
    (log) => ({
      watch: (listener) => {
        let held: SourceEvent[] = [];
        return log.watch((event) => {
          if (event.kind === 'rows' && event.stream === log.catalog) held.push(event);
          else {
            listener(event);
            for (const one of held) listener(one);
            held = [];
          }
        });
      },
    }),
    /of the catalog, about stream|to be told after/,
  ],
  [
    'retention that drops what it must keep',
    (log) => ({
      append: async (stream, rows, options) => {
        const position = await log.append(stream, rows, options);
        if (stream === 'few') await log.trim(stream, position.token - 5);
        return position;
      },
    }),
    /to keep the newest 12 rows|retention to drop whole batches|the bounds of/,
  ],
  [
    'attributes that get lost',
    (log) => ({
      append: async (stream, rows, options) => log.append(stream, rows, withoutAttributes(options)),
    }),
    /the attributes of a page/,
  ],
];

test.each(faults)('%s is found', async (_, fault, found) => {
  const result = await runDifferential({ create: changed(createMemory, fault), supports, seed: 1 });
  expect(describeDifference(result)).toMatch(found);
  expect(result.failure!.operations.length).toBeGreaterThan(0);
  expect(result.failure!.operations.length).toBeLessThanOrEqual(result.steps);
});

test('a run ends well only when each kind of operation has succeeded often enough', async () => {
  const few = await runDifferential({ create: createMemory, supports, seed: 1, maxSteps: 100 });
  expect(describeDifference(few)).toMatch(/after 100 operations these succeeded too rarely: .*truncate \(\d of 10\)/);
  const whole = await runDifferential({ create: createMemory, supports, seed: 1 });
  expect(describeDifference(whole)).toMatch(/^Seed 1: \d+ operations, no difference\.$/);
});

test('a seed repeats what it did', async () => {
  const first = await runDifferential({ create: createMemory, supports, seed: 7, maxSteps: 200 });
  const second = await runDifferential({ create: createMemory, supports, seed: 7, maxSteps: 200 });
  expect(describeDifference(first)).toContain('after 200 operations');
  expect(describeDifference(second)).toBe(describeDifference(first));
});

function withoutAttributes(options: AppendOptions = {}): AppendOptions {
  const { attributes: _, ...others } = options;
  return others;
}

/** The events that pass are told, and of the others all but some. */
function watching(log: Log, isLost: () => boolean, concerns: (event: SourceEvent) => boolean): Partial<Log> {
  return {
    watch: (listener) =>
      log.watch((event) => {
        if (!concerns(event) || !isLost()) listener(event);
      }),
  };
}

/** Takes the last row from the last batch. */
function cutPage(page: Page): Page {
  const last = page.chunks.at(-1);
  if (last === undefined || last.rows < 2 || last.sizes.at(-1)! < 2) return page;
  const end = Buffer.from(last.texts).lastIndexOf(',\t');
  const sizes = [...last.sizes.slice(0, -1), last.sizes.at(-1)! - 1];
  const cut: Chunk = { ...chunkUpTo(last, last.upTo), texts: last.texts.subarray(0, end), rows: last.rows - 1, sizes };
  return { ...page, rows: page.rows - 1, chunks: [...page.chunks.slice(0, -1), cut] };
}
