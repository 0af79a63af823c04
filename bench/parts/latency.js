/** Latency at a steady rate: from the call of append to the call of the handler, in another process. */
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const RATE = 2_000;
const SECONDS = 4;
const WARM_UP_SECONDS = 2;

export async function* measure() {
  const rows = {};
  for (const who of ['raw limit', 'Rowcast, memory log', 'Rowcast, durable sqlite log']) {
    for (const percentile of [50, 99]) rows[`${who} p${percentile}`] = { name: `${who}: p${percentile}`, values: [], percentile };
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
      for (const percentile of [50, 99]) rows[`${who} p${percentile}`].values.push(latencies[Math.floor((latencies.length * percentile) / 100)]);
    }
  }
  yield [{ title: `Latency at ${RATE.toLocaleString('en-US')} rows a second, one worker`, unit: 'ms', rows: Object.values(rows) }];
}

async function raw() {
  return withProcesses(['raw-server', 'raw-reader'], async (server, reader) => paced(await server.call('open'), { source: server, method: 'sendPaced', sink: reader }));
}

async function rowcast(log) {
  return withProcesses(['primary', 'worker'], async (primary, worker) =>
    paced(await primary.call('open', { log }), { source: primary, method: 'appendPaced', sink: worker }),
  );
}

async function paced({ port }, { source, method, sink }) {
  await sink.call('follow', { port, isTimed: true });
  await source.call(method, { rowsPerSecond: RATE, seconds: WARM_UP_SECONDS });
  await sink.call('reach', RATE * WARM_UP_SECONDS);
  await sink.call('takeLatencies');
  await source.call(method, { rowsPerSecond: RATE, seconds: SECONDS });
  await sink.call('reach', RATE * (WARM_UP_SECONDS + SECONDS));
  return (await sink.call('takeLatencies')).toSorted((a, b) => a - b);
}
