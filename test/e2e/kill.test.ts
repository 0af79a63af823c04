/** What the project promises as a whole, with real processes, real sockets and a real `kill -9`. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { eraNumberOf, logIdOf } from '../../src/core/model/history.ts';
import { parsePosition } from '../../src/core/model/position.ts';
import { freePorts, type RunningProcess, runRowcast } from '../support/processes.ts';

const running = new Set<RunningProcess>();
const folders: string[] = [];

afterEach(async () => {
  await Promise.all([...running].map(async (process) => process.kill('SIGKILL')));
  running.clear();
  await Promise.all(folders.splice(0).map(async (folder) => rm(folder, { recursive: true, force: true })));
});

function start(...args: Parameters<typeof runRowcast>): RunningProcess {
  const process = runRowcast(...args);
  running.add(process);
  return process;
}

const ROWS = 100_000;
const ROWS_PER_APPEND = 5_000;
const ROWS_PER_BATCH = 7;

test('a follower prints every acknowledged row once and in order while the primary is killed three times', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rowcast-kill-'));
  folders.push(folder);
  const [port, adminPort] = await freePorts(2);
  const serve = [
    'serve',
    '--listen',
    `127.0.0.1:${port}`,
    '--admin',
    `127.0.0.1:${adminPort}`,
    '--log',
    `sqlite:${join(folder, 'rowcast.db')}`,
  ];
  const startPrimary = async (): Promise<RunningProcess> => {
    const primary = start(serve);
    await primary.saw(/listening|listens/i);
    return primary;
  };

  let primary = await startPrimary();
  const printed: { token: number; position: string; rows: number[] }[] = [];
  let printedRows = 0;
  let handlePrinted: (() => void) | undefined;
  const follower = start(
    ['follow', 'events', '--from', 'start', '--json', '--connect', `127.0.0.1:${port}`, '--server', 'example.com'],
    {
      onLine: (line) => {
        const batch = JSON.parse(line) as { stream: string; token: number; position: string; rows: number[] };
        expect(batch.stream).toBe('events');
        printed.push(batch);
        printedRows += batch.rows.length;
        handlePrinted?.();
      },
    },
  );
  const printedAtLeast = async (rows: number): Promise<void> =>
    new Promise((resolve) => {
      handlePrinted = () => {
        if (printedRows >= rows) resolve();
      };
      handlePrinted();
    });
  await follower.saw(/live/);

  // Rows are numbers that only rise. Those of an append that failed may be there or not; they are
  // not sent again.
  const acknowledged: number[] = [];
  let next = 0;
  let kills = 0;
  while (acknowledged.length < ROWS) {
    const rows = Array.from({ length: ROWS_PER_APPEND }, () => next++);
    const input = `${rows.join('\n')}\n`;
    const args = ['append', 'events', '--batch', String(ROWS_PER_BATCH), '--admin', `127.0.0.1:${adminPort}`];
    if (kills < 3 && acknowledged.length >= (kills + 1) * (ROWS / 5)) {
      // In the middle of an append that has not ended its input: some of its rows are durable, and
      // the follower has seen them.
      kills++;
      const append = start(args);
      append.child.stdin!.write(input);
      await printedAtLeast(printedRows + 1);
      await primary.kill('SIGKILL');
      expect(await append.ended).toBe(1);
      primary = await startPrimary();
    } else {
      const append = start(args, { input });
      expect(await append.ended, append.stderr()).toBe(0);
      acknowledged.push(...rows);
    }
  }
  expect(kills).toBe(3);
  await printedAtLeast(acknowledged.length);
  await new Promise<void>((resolve) => {
    const last = acknowledged.at(-1)!;
    handlePrinted = () => {
      if (printed.at(-1)!.rows.at(-1)! >= last) resolve();
    };
    handlePrinted();
  });

  const rows = printed.flatMap((batch) => batch.rows);
  expect(
    rows.every((row, i) => i === 0 || row > rows[i - 1]!),
    'rows in order, none twice',
  ).toBe(true);
  expect(
    printed.every(({ token }, i) => i === 0 || token > printed[i - 1]!.token),
    'tokens in order',
  ).toBe(true);
  const positions = printed.map(({ position }) => parsePosition(position));
  expect(
    positions.every(({ stream, token }, i) => stream === 'events' && token === printed[i]!.token),
    'the position of a batch is at its token',
  ).toBe(true);
  const histories = [...new Set(positions.map(({ history }) => history!))];
  expect(new Set(histories.map(logIdOf)).size, 'one log').toBe(1);
  expect(histories.map(eraNumberOf), 'each start begins an era').toEqual(
    histories.map(eraNumberOf).toSorted((a, b) => a - b),
  );
  expect(histories).toHaveLength(kills + 1);
  const seen = new Set(rows);
  expect(
    acknowledged.filter((row) => !seen.has(row)),
    'acknowledged rows that are missing',
  ).toEqual([]);
  // A batch is whole: each begins at a multiple of its size within its append and has all of it.
  for (const batch of printed) {
    const begin = batch.rows[0]! % ROWS_PER_APPEND;
    expect(begin % ROWS_PER_BATCH).toBe(0);
    expect(batch.rows.length).toBe(Math.min(ROWS_PER_BATCH, ROWS_PER_APPEND - begin));
  }

  await follower.kill('SIGTERM');
  expect(await follower.ended).toBe(0);
  await primary.kill('SIGTERM');
  expect(await primary.ended).toBe(0);
});
