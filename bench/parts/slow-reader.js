/** One slow reader among eight: what the other seven lose, and the memory it costs. */
import { deliver } from '../delivery.js';
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const OTHERS = 7;
const ROWS = 300_000;
const WARM_UP_ROWS = 200_000;
/** The slow reader's time for a batch: about 2,000 rows a second. */
const DELAY_MS = 50;

export async function* measure() {
  const alone = { name: '7 readers', values: [] };
  const eight = { name: '7 readers beside another one like them', values: [], base: alone };
  const slow = { name: '7 readers beside a slow one', values: [], base: alone, wanted: { ratioAtLeast: 0.95 } };
  const memory = {
    name: 'most memory of the primary beside a slow reader (RSS), MiB',
    values: [],
    wanted: { atMost: 250 },
  };
  const slowMemory = { name: 'most memory of the slow reader (RSS), MiB', values: [], wanted: { atMost: 150 } };
  for (let round = 0; round < rounds; round++) {
    alone.values.push((await fanOut([])).rate);
    eight.values.push((await fanOut([{}])).rate);
    const beside = await fanOut([{ delayMs: DELAY_MS }]);
    slow.values.push(beside.rate);
    memory.values.push(beside.primaryRssMiB);
    slowMemory.values.push(beside.eighthRssMiB);
  }
  yield [
    { title: 'Rows to seven readers', unit: 'million rows a second', rows: [alone, eight, slow] },
    { title: 'Memory beside a slow reader', unit: 'MiB', rows: [memory, slowMemory] },
  ];
}

/** The rate of the first seven. `eighth` has the options of an additional one. */
async function fanOut(eighth) {
  return withProcesses(['primary', ...Array(OTHERS + eighth.length).fill('worker')], async (primary, ...workers) => {
    const { port } = await primary.call('open', { log: 'sqlite' });
    const others = workers.slice(0, OTHERS);
    await Promise.all(workers.map((worker, i) => worker.call('follow', { port, ...(i === OTHERS && eighth[0]) })));
    const append = async (before, rows) =>
      deliver(others, { before, rows }, () => primary.call('append', { rows, perBatch: 100, inFlight: 100 }));
    await append(0, WARM_UP_ROWS);
    const { rate } = await append(WARM_UP_ROWS, ROWS);
    return {
      rate: rate / 1e6,
      primaryRssMiB: (await primary.call('usage')).peakRssMiB,
      eighthRssMiB: (await workers.at(-1).call('usage')).peakRssMiB,
    };
  });
}
