/**
 * Live fan-out: rows a second from a durable log to N workers in other processes, compared with
 * prepared bytes that are written and parsed.
 */
import { deliver } from '../delivery.js';
import { checkPeers, fanOutByPeer, peerLabel } from '../peers.js';
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

export const options = { n: { type: 'string', default: '1,4,8' }, peers: { type: 'string', default: '' } };

const IN_FLIGHT_ROWS = 10_000;

/** The number of rows for N consumers. A run takes about a second, after warm-up. */
const rowsFor = (n) => Math.round(2_500_000 / (n + 1) / 1_000) * 1_000;
const WARM_UP_ROWS = 800_000;
/** Peers that take one row a message are about ten times slower. */
const PEER_ROWS = 100_000;

const ways = [
  { label: 'batches of 100', perBatch: 100, inFlight: IN_FLIGHT_ROWS / 100, atLeast: { 1: 0.3, 4: 0.5, 8: 0.65 } },
  { label: 'single rows, 1,000 in flight', perBatch: 1, inFlight: 1_000, atLeast: { 1: 0.2, 4: 0.5, 8: 0.65 } },
];

export function check({ n, peers }) {
  for (const count of n.split(','))
    if (!(Number(count) >= 1 && Number.isInteger(Number(count))))
      throw new Error(`--n takes numbers of consumers, as in 1,4,8, not ${n}`);
  checkPeers(namesOf(peers));
}

export async function* measure({ n, peers }) {
  for (const consumers of n.split(',').map(Number)) yield await measureN(consumers, namesOf(peers));
}

async function measureN(n, peers) {
  const raw = { name: 'raw limit', values: [] };
  const rawCpu = { name: 'raw limit', values: [] };
  const throughput = ways.map(({ label, atLeast }) => ({
    name: `Rowcast, ${label}`,
    values: [],
    base: raw,
    ...(atLeast[n] !== undefined && { wanted: { ratioAtLeast: atLeast[n] } }),
  }));
  const cpu = ways.map(({ label }) => ({
    name: `Rowcast, ${label}, beyond the append's own`,
    values: [],
    base: rawCpu,
    wanted: { ratioAtMost: 1.5 },
  }));
  const ofPeers = peers.flatMap((kind) =>
    [1, 100].map((perMessage) => ({
      name: `${peerLabel(kind)}, ${perMessage === 1 ? 'a message a row' : '100 rows a message'}`,
      values: [],
      base: raw,
      kind,
      perMessage,
    })),
  );
  for (let round = 0; round < rounds; round++) {
    const limit = await rawLimit(n);
    raw.values.push(limit.rate / 1e6);
    rawCpu.values.push(limit.cpuUs);
    for (const [i, way] of ways.entries()) {
      const measured = await fanOut(n, way, rowsFor(n));
      throughput[i].values.push(measured.rate / 1e6);
      if (n !== 8) continue;
      const alone = await fanOut(0, way, rowsFor(n));
      cpu[i].values.push(((measured.cpuMs - alone.cpuMs) * 1_000) / (n * rowsFor(n)));
    }
    for (const row of ofPeers) {
      row.values.push(
        (await fanOutByPeer(row.kind, { n, rows: PEER_ROWS, warmUpRows: PEER_ROWS, perMessage: row.perMessage })) / 1e6,
      );
    }
  }
  const tables = [
    {
      title: `Fan-out to ${n}`,
      unit: 'million rows a second, all workers together',
      n,
      rows: [raw, ...throughput, ...ofPeers],
    },
  ];
  if (n === 8)
    tables.push({
      title: `CPU of the sender at fan-out to ${n}`,
      unit: 'µs per delivered row',
      n,
      rows: [rawCpu, ...cpu],
    });
  return tables;
}

async function rawLimit(n) {
  return withProcesses(['raw-server', ...Array(n).fill('raw-reader')], async (server, ...readers) => {
    const { port } = await server.call('open');
    await Promise.all(readers.map((reader) => reader.call('follow', { port })));
    const send = async (before, rows) => {
      await server.call('prepare', { rows });
      return deliver(readers, { before, rows }, () => server.call('send'));
    };
    await send(0, WARM_UP_ROWS);
    const { rate, cpuMs } = await send(WARM_UP_ROWS, rowsFor(n));
    return { rate, cpuUs: (cpuMs * 1_000) / (n * rowsFor(n)) };
  });
}

async function fanOut(n, { perBatch, inFlight }, rows) {
  return withProcesses(['primary', ...Array(n).fill('worker')], async (primary, ...workers) => {
    const { port } = await primary.call('open', { log: 'sqlite' });
    await Promise.all(workers.map((worker) => worker.call('follow', { port })));
    const append = async (before, count) =>
      deliver(workers, { before, rows: count }, () => primary.call('append', { rows: count, perBatch, inFlight }));
    await append(0, WARM_UP_ROWS);
    return append(WARM_UP_ROWS, rows);
  });
}

function namesOf(peers) {
  return peers === '' ? [] : peers.split(',');
}
