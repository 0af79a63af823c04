/** Runs a recipe of docs/guides/exactly-once.md, and kills it at random instants. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { randomInteger, seededRandom } from '../../src/base/random.ts';
import type { GuideFolder, Program } from './guide-folder.ts';
import { freePorts, type RunningProcess, runRowcast } from './processes.ts';

/** The seed repeats the waits before the kills; what is at work then depends on the machine. */
export const seed: number = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));

const GUIDE: string = 'exactly-once.md';

export const numbers = (rows: number): number[] => Array.from({ length: rows }, (_, id) => id);

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
 * Kills the worker many times and its primary once. In the end two workers run at once, and the
 * later one applies the last row.
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
  await append(numbers(rows - 1));
  const start = (): Program => folder.run(program, env);
  for (let kill = 1; kill <= 5; kill++) {
    const before = await count();
    const worker = start();
    // The first process is killed wherever it is, the others around their batches.
    if (kill > 1) await expect.poll(count, { interval: 2, timeout: 20_000 }).toBeGreaterThan(before);
    await sleep(randomInteger(random, 0, mostMs));
    await worker.kill('SIGKILL');
    if (kill !== 3) continue;
    await primary.kill('SIGKILL');
    primary = await startPrimary();
  }
  const before = await count();
  expect(before, 'the kills came while there was work').toBeLessThan(rows - 1);
  const former = start();
  await expect.poll(count, { interval: 2, timeout: 20_000 }).toBeGreaterThan(before);
  await start().next(/^live$/);
  await append([rows - 1]);
  await former.saw(/another worker has taken over/);
  await expect.poll(count, { timeout: 20_000 }).toBeGreaterThanOrEqual(rows);
}
