/**
 * Latency at a steady rate: from the call of append to the call of the handler in another process.
 */
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const RATE = 2_000;
/** Long enough that garbage collection has its usual share. */
const SECONDS = 8;
/** Runs at the measured rate before the measurement. */
const SETTLE_SECONDS = 2;
/** One row at a time: the compiler needs many calls of each path, not many rows. */
const WARM_UP_ROWS = 60_000;
const WARM_UP_RATE = 15_000;

export async function* measure() {
  const rows = {};
  for (const who of ['raw limit', 'Rowcast, memory log', 'Rowcast, durable sqlite log']) {
    for (const percentile of [50, 99])
      rows[`${who} p${percentile}`] = { name: `${who}: p${percentile}`, values: [], percentile };
  }
  rows['Rowcast, memory log p50'].base = rows['raw limit p50'];
  rows['Rowcast, memory log p50'].wanted = { ratioAtMost: 1.5 };
  rows['Rowcast, memory log p99'].base = rows['raw limit p99'];
  rows['Rowcast, memory log p99'].wanted = { ratioAtMost: 2 };
  rows['Rowcast, durable sqlite log p50'].wanted = { atMost: 1 };
  for (let round = 0; round < rounds; round++) {
    const measured = {
      'raw limit': await raw(),
      'Rowcast, memory log': await rowcast('memory'),
      'Rowcast, durable sqlite log': await rowcast('sqlite'),
    };
    for (const [who, latencies] of Object.entries(measured)) {
      for (const percentile of [50, 99])
        rows[`${who} p${percentile}`].values.push(latencies[Math.floor((latencies.length * percentile) / 100)]);
    }
  }
  yield [
    {
      title: `Latency at ${RATE.toLocaleString('en-US')} rows a second, one worker`,
      unit: 'ms',
      rows: Object.values(rows),
    },
  ];
}

async function raw() {
  return withProcesses(['raw-server', 'raw-reader'], async (server, reader) => {
    await reader.call('follow', { ...(await server.call('open')), isTimed: true });
    await server.call('sendPaced', { rowsPerSecond: WARM_UP_RATE, seconds: WARM_UP_ROWS / WARM_UP_RATE });
    await reader.call('reach', WARM_UP_ROWS);
    return paced({ before: WARM_UP_ROWS, source: server, method: 'sendPaced', sink: reader });
  });
}

async function rowcast(log) {
  return withProcesses(['primary', 'worker'], async (primary, worker) => {
    await worker.call('follow', { ...(await primary.call('open', { log })), isTimed: true });
    // A commit to the disk takes about ten times as long.
    const before = log === 'memory' ? WARM_UP_ROWS : WARM_UP_ROWS / 10;
    await primary.call('append', { rows: before, perBatch: 1, inFlight: 1 });
    await worker.call('reach', before);
    return paced({ before, source: primary, method: 'appendPaced', sink: worker });
  });
}

async function paced({ before, source, method, sink }) {
  await source.call(method, { rowsPerSecond: RATE, seconds: SETTLE_SECONDS });
  await sink.call('reach', before + RATE * SETTLE_SECONDS);
  await sink.call('takeLatencies');
  await source.call(method, { rowsPerSecond: RATE, seconds: SECONDS });
  await sink.call('reach', before + RATE * (SETTLE_SECONDS + SECONDS));
  return (await sink.call('takeLatencies')).toSorted((a, b) => a - b);
}
