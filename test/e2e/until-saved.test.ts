/** Retention by acknowledgement with real processes, sockets and files, and `kill -9`. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { freePorts, type RunningProcess, runNode, runRowcast } from '../support/processes.ts';

const PRIMARY = fileURLToPath(new URL('../fixtures/until-saved-kill/primary.js', import.meta.url));
const KILLS = 6;
const READERS = ['reader-1', 'reader-2'] as const;

test('followers that are killed, and whose primary is killed, miss no row, and what both have saved is dropped', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-until-saved-'));
  const running = new Set<RunningProcess>();
  onTestFinished(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    await rm(directory, { recursive: true });
  });
  const [port] = await freePorts(1);
  const said: { latest?: number; earliest?: number; holders?: number }[] = [];
  const seen = new Map(READERS.map((name) => [name, new Set<number>()]));
  const started: RunningProcess[] = [];
  const keep = (process: RunningProcess): RunningProcess => {
    running.add(process);
    started.push(process);
    return process;
  };
  const startPrimary = async (): Promise<RunningProcess> => {
    const onLine = (line: string): void => void said.push(JSON.parse(line));
    const primary = keep(runNode([PRIMARY, join(directory, 'log.db'), String(port)], { onLine }));
    await primary.saw(/listening/);
    return primary;
  };
  const startReader = (name: (typeof READERS)[number]): RunningProcess => {
    const onLine = (line: string): void => {
      for (const row of (JSON.parse(line) as { rows: number[] }).rows) seen.get(name)!.add(row);
    };
    const place = ['--connect', `127.0.0.1:${port}`, '--checkpoint', join(directory, `${name}.json`)];
    return keep(runRowcast(['follow', 'events', '--name', name, '--from', 'start', '--json', ...place], { onLine }));
  };
  let primary = await startPrimary();
  const readers = READERS.map(startReader);
  for (let kill = 0; kill < KILLS; kill++) {
    // From a checkpoint or so to several acknowledgements later.
    const counts = READERS.map((name) => seen.get(name)!.size + 80 * (kill + 1));
    const hasCome = (): boolean => READERS.every((name, i) => seen.get(name)!.size >= counts[i]!);
    await expect.poll(hasCome, { timeout: 20_000 }).toBe(true);
    const victim = kill % 3 === 2 ? primary : readers[kill % 3]!;
    await victim.kill('SIGKILL');
    running.delete(victim);
    if (kill % 3 === 2) primary = await startPrimary();
    else readers[kill % 3] = startReader(READERS[kill % 3]!);
  }
  primary.child.stdin!.write('stop\n');
  await expect.poll(() => said.find(({ latest }) => latest !== undefined), { timeout: 20_000 }).toBeDefined();
  const { latest } = said.find((line) => line.latest !== undefined)!;
  await expect.poll(() => said.find(({ earliest }) => earliest !== undefined), { timeout: 20_000 }).toBeDefined();
  expect(said.at(-1)).toEqual({ earliest: latest! + 1, holders: READERS.length });
  for (const name of READERS) {
    await expect.poll(() => seen.get(name)!.size, { timeout: 20_000 }).toBe(latest);
    expect(Math.max(...seen.get(name)!)).toBe(latest);
  }
  for (const { stderr } of started) expect(stderr()).not.toMatch(/GAP|RESET|no longer kept/);
}, 120_000);
