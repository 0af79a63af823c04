/** Runs a recipe of docs/guides/exactly-once.md, and kills it at random instants. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { randomInteger, seededRandom } from '../../src/base/random.ts';
import type { GuideFolder, Program } from './guide-folder.ts';
import { freePorts, type RunningProcess, runRowcast } from './processes.ts';

/** The seed repeats the waits before the kills; what is at work then depends on the machine. */
export const seed: number = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));

export const GUIDE: string = 'exactly-once.md';

export const numbers = (rows: number): number[] => Array.from({ length: rows }, (_, id) => id);

const KILLS = 3;

interface Trial {
  readonly program: string;
  readonly folder: GuideFolder;
  readonly env?: Readonly<Record<string, string>>;
  readonly rows: number;
  /** The longest wait from the first row of a process to its kill. */
  readonly mostMs: number;
  /** How many copies there are. */
  readonly count: () => Promise<number> | number;
}

/**
 * Kills the worker many times, each time with more rows to apply, and its primary once. In the end
 * two workers run at once, and the later one applies the last row.
 */
export async function killAtRandom({ program, folder, env, rows, mostMs, count }: Trial): Promise<void> {
  const random = seededRandom(seed);
  const [port, adminPort] = await freePorts(2);
  await folder.write(GUIDE, [program], port!);
  const admin = ['--admin', `127.0.0.1:${adminPort}`];
  const serve = ['serve', '--listen', `127.0.0.1:${port}`, '--log', 'sqlite:log.db', ...admin, '--stream', 'orders'];
  const startPrimary = async (): Promise<RunningProcess> => {
    const primary = folder.adopt(runRowcast(serve, { cwd: folder.path }));
    await primary.saw(/admin/);
    return primary;
  };
  let primary = await startPrimary();
  const append = async (ids: readonly number[]): Promise<void> => {
    const input = ids.map((id) => JSON.stringify({ id })).join('\n');
    const appending = runRowcast(['append', 'orders', ...admin], { input });
    expect(await appending.ended, appending.stderr()).toBe(0);
  };
  const share = Math.floor(rows / (KILLS + 1));
  const start = async (from: number, to: number): Promise<Program> => {
    await append(numbers(to).slice(from));
    const before = await count();
    const worker = folder.run(program, env);
    await expect.poll(count, { interval: 2, timeout: 20_000 }).toBeGreaterThan(before);
    return worker;
  };
  for (let kill = 1; kill <= KILLS; kill++) {
    const worker = await start((kill - 1) * share, kill * share);
    await sleep(randomInteger(random, 0, mostMs));
    await worker.kill('SIGKILL');
    // One more is killed wherever it is on its way to its first batch.
    const early = folder.run(program, env);
    await sleep(randomInteger(random, 0, 10 * mostMs));
    await early.kill('SIGKILL');
    if (kill !== 2) continue;
    await primary.kill('SIGKILL');
    primary = await startPrimary();
  }
  const former = await start(KILLS * share, rows - 1);
  await folder.run(program, env).next(/^live$/);
  await append([rows - 1]);
  await former.saw(/another worker has taken over/);
  await expect.poll(count, { timeout: 20_000 }).toBeGreaterThanOrEqual(rows);
}
