/**
 * Caches that cannot lie, with real processes: a primary that is killed in the middle of
 * invalidations, and two workers whose reads are checked against the positions they have waited for
 * (test/fixtures/caches-kill).
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { randomInteger, seededRandom } from '../../src/base/random.ts';
import type { CacheStats } from '../../src/cache/stats.ts';
import { freePorts, type RunningProcess, runNode } from '../support/processes.ts';

const WRITES = 2_500;
const KILLS = 5;

/**
 * It repeats the keys and when the kills are due; what is under way by then is up to the machine.
 */
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000_000));

interface Write {
  readonly key: string;
  readonly n: number;
  /** What the primary's own cache said. */
  readonly own: number;
}

/** What a worker prints. */
type Said =
  | { readonly key: string; readonly n: number; readonly value: number }
  | { readonly stale: { readonly key: string; readonly n: number; readonly value: number } }
  | { readonly stats: CacheStats; readonly waitTimeouts: number };

const running = new Set<RunningProcess>();
let folder: string | undefined;

afterEach(async () => {
  await Promise.all([...running].map(async (process) => process.kill('SIGKILL')));
  running.clear();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function start(script: string, args: readonly (string | number)[], onLine: (line: string) => void): RunningProcess {
  const path = fileURLToPath(new URL(`../fixtures/caches-kill/${script}`, import.meta.url));
  const process = runNode([path, ...args.map(String)], { onLine });
  running.add(process);
  return process;
}

/** A worker, and what it said to the writes that were passed on to it. */
class Reader {
  readonly process: RunningProcess;
  readonly #handleSaid: () => void;
  readonly old: unknown[] = [];
  answers = 0;
  counts: Extract<Said, { stats: CacheStats }> | undefined;

  constructor(args: readonly (string | number)[], handleSaid: () => void) {
    this.#handleSaid = handleSaid;
    this.process = start('worker.js', args, (line) => this.#hear(JSON.parse(line) as Said));
  }

  tell(line: string): void {
    this.process.child.stdin!.write(`${line}\n`);
  }

  async finish(): Promise<Extract<Said, { stats: CacheStats }>> {
    this.process.child.stdin!.end();
    await this.process.ended;
    if (this.counts === undefined) throw new Error(`a worker ended without its counts:\n${this.process.stderr()}`);
    return this.counts;
  }

  #hear(said: Said): void {
    if ('stats' in said) this.counts = said;
    else if ('stale' in said) this.old.push(said);
    else {
      this.answers++;
      if (said.value < said.n) this.old.push(said);
    }
    this.#handleSaid();
  }
}

describe(`with seed ${seed}`, () => {
  test('no worker serves a value older than a position it has waited for, while the primary is killed in the middle of invalidations', async () => {
    const random = seededRandom(seed);
    const inFolder = await mkdtemp(join(tmpdir(), 'rowcast-caches-kill-'));
    folder = inFolder;
    const [port] = await freePorts(1);

    let check: (() => void) | undefined;
    const until = async (isReached: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        check = () => {
          if (isReached()) resolve();
        };
        check();
      });

    const readers: Reader[] = [];
    const ownOld: Write[] = [];
    let writes = 0;
    const startPrimary = async (run: number): Promise<RunningProcess> => {
      const primary = start('primary.js', [port!, inFolder, seed + run], (line) => {
        const write = JSON.parse(line) as Write;
        if (write.own < write.n) ownOld.push(write);
        // It begins before there is a worker, and never stops.
        if (readers.length === 0 || writes >= WRITES) return;
        writes++;
        for (const reader of readers) reader.tell(line);
        check?.();
      });
      await primary.saw(/listening/);
      return primary;
    };

    let primary = await startPrimary(0);
    for (const whenSuspect of ['load', 'serve']) {
      readers.push(new Reader([port!, inFolder, seed, `reader-${whenSuspect}`, whenSuspect], () => check?.()));
    }
    // One that ends early would answer nothing, and the test would wait for ever.
    const ended = Promise.race(
      readers.map(async ({ process }) => {
        await process.ended;
        throw new Error(`a worker ended:\n${process.stderr()}`);
      }),
    );
    ended.catch(() => {});

    let replayed = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const due = randomInteger(
        random,
        Math.ceil((kill * WRITES) / KILLS),
        Math.floor(((kill + 1) * WRITES) / KILLS) - 1,
      );
      await Promise.race([until(() => writes >= due), ended]);
      await primary.kill('SIGKILL');
      primary = await startPrimary(kill + 1);
      replayed += Number(/replayed (\d+)/.exec(primary.stderr())![1]);
    }
    await Promise.race([until(() => readers.every(({ answers }) => answers === WRITES)), ended]);

    const [loading, serving] = await Promise.all(readers.map(async (reader) => reader.finish()));
    expect(
      readers.map(({ old }) => old),
      'reads that were older than a position waited for',
    ).toEqual([[], []]);
    expect(ownOld, 'reads of the primary that were older than its own write').toEqual([]);

    // Nobody was idle: what could have gone wrong was there.
    expect(replayed, 'writes that a kill left untold').toBeGreaterThan(0);
    for (const { stats } of [loading!, serving!]) {
      expect(stats.hits).toBeGreaterThan(0);
      expect(stats.invalidationsByKey).toBeGreaterThan(0);
      expect(stats.discardedFills).toBeGreaterThan(0);
      expect(stats.evictions).toBeGreaterThan(0);
      expect(stats.suspectReads).toBeGreaterThan(0);
    }
    expect(loading!.stats.suspectServed).toBe(0);
    expect(serving!.stats.suspectServed).toBeGreaterThan(0);
  });
});
