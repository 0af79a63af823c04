/** The cost of 1 to 1,000 connections in two processes, idle and with rows. */
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const PROCESSES = 2;
const CONNECTIONS = [1, 10, 100, 1_000];
const RATE = 100;
const SECONDS = 3;
const IDLE_SECONDS = 6;
const SLOW_RATE = 40;
/** Lines until the compiler has settled. */
const WARM_UP_LINES = 100_000;

export async function* measure() {
  const perRow = CONNECTIONS.map((n) => ({
    name: `CPU of the primary for a row to ${n.toLocaleString('en-US')}, µs`,
    values: [],
    n,
  }));
  const idle = {
    name: 'CPU of the primary with 1,000 idle connections, % of a core',
    values: [],
    wanted: { atMost: 3 },
  };
  const memory = {
    name: 'memory of the primary for 1,000 idle connections (RSS beyond none), MiB',
    values: [],
    wanted: { atMost: 100 },
  };
  const slope = { name: 'fitted: a further connection costs a row, µs', values: [] };
  const offset = { name: 'fitted: a row costs by itself, µs', values: [] };
  const rawReader = { name: `CPU of the raw reader at ${SLOW_RATE} rows/s, % of a core`, values: [] };
  const idleWorker = {
    name: `CPU of a worker at ${SLOW_RATE} rows/s, % of a core`,
    values: [],
    base: rawReader,
    wanted: { atMost: 1 },
  };
  for (let round = 0; round < rounds; round++) {
    for (const row of perRow) {
      const cost = await connections(row.n);
      row.values.push(cost.cpuUsPerRow);
      if (row.n !== 1_000) continue;
      idle.values.push(cost.idleCpuPercent);
      memory.values.push(cost.memoryMiB);
    }
    const fit = fitLine(perRow.map(({ n, values }) => [n, values.at(-1)]));
    slope.values.push(fit.slope);
    offset.values.push(fit.offset);
    rawReader.values.push(await atSlowRate(raw));
    idleWorker.values.push(await atSlowRate(rowcast));
  }
  yield [
    { title: `Connections, at ${RATE} rows/s`, unit: 'as named', rows: [...perRow, offset, slope] },
    { title: 'At rest', unit: 'as named', rows: [idle, memory, rawReader, idleWorker] },
  ];
}

async function connections(n) {
  return withProcesses(['primary', ...Array(Math.min(n, PROCESSES)).fill('worker')], async (primary, ...workers) => {
    const { port } = await primary.call('open', { log: 'memory' });
    await primary.call('append', { rows: WARM_UP_LINES, perBatch: 1, inFlight: 100 });
    const { rssMiB: before } = await primary.call('usage');
    await Promise.all(workers.map((worker) => worker.call('follow', { port, connections: n / workers.length })));
    const { rssMiB: after } = await primary.call('usage');
    const received = async (rows) => Promise.all(workers.map((worker) => worker.call('reach', rows)));
    await primary.call('append', { rows: WARM_UP_LINES / n, perBatch: 1, inFlight: 1 });
    await received(WARM_UP_LINES / n);
    const rest = n === 1_000 ? await during(primary, IDLE_SECONDS) : undefined;
    const { cpuMs: start } = await primary.call('usage');
    await primary.call('appendPaced', { rowsPerSecond: RATE, seconds: SECONDS });
    await received(WARM_UP_LINES / n + RATE * SECONDS);
    const { cpuMs: end } = await primary.call('usage');
    return { memoryMiB: after - before, idleCpuPercent: rest, cpuUsPerRow: ((end - start) * 1_000) / (RATE * SECONDS) };
  });
}

/** CPU in % of a core while nothing happens. */
async function during(process, seconds) {
  const start = await process.call('usage');
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1_000);
  });
  const end = await process.call('usage');
  return ((end.cpuMs - start.cpuMs) * 100) / (end.at - start.at);
}

const raw = {
  roles: ['raw-server', 'raw-reader'],
  async warmUp(source) {
    await source.call('prepare', { rows: WARM_UP_LINES });
    await source.call('send');
  },
  paced: 'sendPaced',
};

const rowcast = {
  roles: ['primary', 'worker'],
  warmUp: async (source) => source.call('append', { rows: WARM_UP_LINES, perBatch: 1, inFlight: 10 }),
  paced: 'appendPaced',
};

/** CPU of a consumer that gets few rows. */
async function atSlowRate({ roles, warmUp, paced }) {
  return withProcesses(roles, async (source, sink) => {
    const { port } = await source.call('open', { log: 'memory' });
    await sink.call('follow', { port });
    await warmUp(source);
    await sink.call('reach', WARM_UP_LINES);
    const pacing = source.call(paced, { rowsPerSecond: SLOW_RATE, seconds: IDLE_SECONDS + 1 });
    await sink.call('reach', WARM_UP_LINES + SLOW_RATE);
    const percent = await during(sink, IDLE_SECONDS - 1);
    await pacing;
    return percent;
  });
}

/** Least squares. */
function fitLine(points) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const x = mean(points.map(([n]) => n));
  const y = mean(points.map(([, cost]) => cost));
  const slope =
    points.reduce((sum, [n, cost]) => sum + (n - x) * (cost - y), 0) /
    points.reduce((sum, [n]) => sum + (n - x) ** 2, 0);
  return { slope, offset: y - slope * x };
}
