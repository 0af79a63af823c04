/** Live fan-out: rows a second that reach N workers in other processes, from a durable log, against prepared bytes that are written and parsed. */
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

export const options = { n: { type: 'string', default: '1,4,8' } };

const WARM_UP_ROWS = 200_000;
const IN_FLIGHT_ROWS = 10_000;

/** For N consumers, so that each takes about a second. */
const rowsFor = (n) => Math.round(2_000_000 / (n + 1) / 1_000) * 1_000;

const ways = {
  batches: { label: 'batches of 100', perBatch: 100, inFlight: IN_FLIGHT_ROWS / 100, atLeast: { 1: 0.3, 4: 0.5, 8: 0.65 } },
  singles: { label: 'single rows, 1,000 in flight', perBatch: 1, inFlight: 1_000, atLeast: { 1: 0.2, 4: 0.5, 8: 0.65 } },
};

export async function* measure({ n }) {
  for (const consumers of n.split(',').map(Number)) yield await measureN(consumers);
}

async function measureN(n) {
  const raw = { name: 'raw limit', values: [] };
  const rawCpu = { name: 'raw limit: CPU of the server, µs per delivered row', values: [] };
  const throughput = Object.values(ways).map(({ label, atLeast }) => ({
    name: `Rowcast, ${label}`,
    values: [],
    base: raw,
    ...(atLeast[n] !== undefined && { wanted: { ratioAtLeast: atLeast[n] } }),
  }));
  const cpu = Object.values(ways).map(({ label }) => ({
    name: `Rowcast, ${label}: CPU of the primary beyond the append's own`,
    values: [],
    base: rawCpu,
    ...(n === 8 && { wanted: { ratioAtMost: 1.5 } }),
  }));
  for (let round = 0; round < rounds; round++) {
    const limit = await rawLimit(n);
    raw.values.push(limit.rate / 1e6);
    rawCpu.values.push(limit.cpuUs);
    for (const [i, way] of Object.values(ways).entries()) {
      const alone = await fanOut(0, way, rowsFor(n));
      const measured = await fanOut(n, way, rowsFor(n));
      throughput[i].values.push(measured.rate / 1e6);
      cpu[i].values.push(((measured.cpuMs - alone.cpuMs) * 1_000) / (n * rowsFor(n)));
    }
  }
  return [
    { title: `Fan-out to ${n}`, unit: 'million rows a second, all workers together', n, rows: [raw, ...throughput] },
    { title: `CPU of the sender at fan-out to ${n}`, unit: 'µs per delivered row', n, rows: [rawCpu, ...cpu] },
  ];
}

async function rawLimit(n) {
  return withProcesses(['raw-server', ...Array(n).fill('raw-reader')], async (server, ...readers) => {
    const { port } = await server.call('open');
    await Promise.all(readers.map((reader) => reader.call('follow', { port })));
    const deliver = async (before, rows) => {
      await server.call('prepare', { rows });
      const reached = readers.map((reader) => reader.call('reach', before + rows));
      const { startedAt, cpuMs } = await server.call('send');
      const ends = await Promise.all(reached);
      return { rate: (n * rows * 1_000) / (Math.max(...ends.map(({ at }) => at)) - startedAt), cpuUs: (cpuMs * 1_000) / (n * rows) };
    };
    await deliver(0, WARM_UP_ROWS);
    return deliver(WARM_UP_ROWS, rowsFor(n));
  });
}

async function fanOut(n, { perBatch, inFlight }, rows) {
  return withProcesses(['primary', ...Array(n).fill('worker')], async (primary, ...workers) => {
    const { port } = await primary.call('open', { log: 'sqlite' });
    await Promise.all(workers.map((worker) => worker.call('follow', { port })));
    const deliver = async (before, count) => {
      const reached = workers.map((worker) => worker.call('reach', before + count));
      const { startedAt, durableAt, cpuMs } = await primary.call('append', { rows: count, perBatch, inFlight });
      const ends = await Promise.all(reached);
      return { rate: (n * count * 1_000) / (Math.max(...ends.map(({ at }) => at)) - startedAt), appendRate: (count * 1_000) / (durableAt - startedAt), cpuMs };
    };
    await deliver(0, WARM_UP_ROWS);
    return deliver(WARM_UP_ROWS, rows);
  });
}
