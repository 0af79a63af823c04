/**
 * Catch-up: a million stored rows to a fresh worker, and the effect of ten such workers on a live
 * one.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const ROWS = 1_000_000;
/**
 * Ten workers in two processes. With a process for each, two cores would measure how the system
 * shares them among twelve processes.
 */
const AT_ONCE = 10;
const PROCESSES = 2;
const LIVE_RATE = 500;

export async function* measure() {
  const directory = mkdtempSync(path.join(tmpdir(), 'rowcast-bench-'));
  try {
    const file = path.join(directory, 'million.db');
    await fill(file);
    yield [await one(file)];
    yield [await many(file)];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function fill(file) {
  await withProcesses(['primary'], async (primary) => {
    await primary.call('open', { log: 'sqlite', file });
    await primary.call('append', { rows: ROWS, perBatch: 100, inFlight: 100 });
    await primary.call('close');
  });
}

async function one(file) {
  const raw = { name: 'raw limit', values: [] };
  const rowcast = { name: 'Rowcast, one fresh worker', values: [], base: raw, wanted: { ratioAtLeast: 0.6 } };
  for (let round = 0; round < rounds; round++) {
    raw.values.push(await rawLimit());
    rowcast.values.push(await catchUp(file));
  }
  return {
    title: `Catch-up of ${ROWS.toLocaleString('en-US')} rows`,
    unit: 'million rows a second',
    rows: [raw, rowcast],
  };
}

/** The reader is as cold as the worker; its bytes are prepared. */
async function rawLimit() {
  return withProcesses(['raw-server', 'raw-reader'], async (server, reader) => {
    const { port } = await server.call('open');
    await server.call('prepare', { rows: ROWS });
    await reader.call('follow', { port });
    const reached = reader.call('reach', ROWS);
    const { startedAt } = await server.call('send');
    return ROWS / 1_000 / ((await reached).at - startedAt);
  });
}

/** A process that has just opened the file, with nothing cached in memory. */
async function catchUp(file) {
  return withProcesses(['primary', 'worker'], async (primary, worker) => {
    const { port } = await primary.call('open', { log: 'sqlite', file });
    const { startedAt } = await worker.call('follow', { port, from: 0 });
    const { at } = await worker.call('reach', ROWS);
    return ROWS / 1_000 / (at - startedAt);
  });
}

async function many(file) {
  const p99 = { name: `latency of a live worker at ${LIVE_RATE} rows/s, p99, ms`, values: [], wanted: { atMost: 20 } };
  const rate = { name: `${AT_ONCE} fresh workers together, million rows/s`, values: [] };
  const primaryRss = { name: 'most memory of the primary (RSS), MiB', values: [], wanted: { atMost: 250 } };
  const workerRss = {
    name: 'most memory of a process with five fresh workers (RSS), MiB',
    values: [],
    wanted: { atMost: 150 },
  };
  for (let round = 0; round < rounds; round++) {
    await withProcesses(['primary', 'worker', ...Array(PROCESSES).fill('worker')], async (primary, live, ...fresh) => {
      const { port } = await primary.call('open', { log: 'sqlite', file });
      await live.call('follow', { port, isTimed: true });
      await primary.call('appendPaced', { rowsPerSecond: LIVE_RATE, seconds: 2 });
      await live.call('takeLatencies');
      // Continues until all have caught up.
      const pacing = primary.call('appendPaced', { rowsPerSecond: LIVE_RATE, seconds: 60 });
      const started = await Promise.all(
        fresh.map((worker) => worker.call('follow', { port, from: 0, connections: AT_ONCE / PROCESSES })),
      );
      const ends = await Promise.all(fresh.map((worker) => worker.call('reach', ROWS)));
      const latencies = (await live.call('takeLatencies')).toSorted((a, b) => a - b);
      await primary.call('endPace');
      await pacing;
      p99.values.push(latencies[Math.floor(latencies.length * 0.99)]);
      rate.values.push(
        (AT_ONCE * ROWS) /
          1_000 /
          (Math.max(...ends.map(({ at }) => at)) - Math.min(...started.map(({ startedAt }) => startedAt))),
      );
      primaryRss.values.push((await primary.call('usage')).peakRssMiB);
      workerRss.values.push(
        Math.max(
          ...(await Promise.all(fresh.map((worker) => worker.call('usage')))).map(({ peakRssMiB }) => peakRssMiB),
        ),
      );
    });
  }
  return {
    title: `${AT_ONCE} fresh workers catch up at once`,
    unit: 'as named',
    rows: [p99, rate, primaryRss, workerRss],
  };
}
