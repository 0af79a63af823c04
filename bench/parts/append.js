/** Durable appends without followers, compared with better-sqlite3 alone with synchronous FULL. */
import { withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const WARM_UP_ROWS = 50_000;

export async function* measure() {
  const one = { name: 'better-sqlite3, a row a transaction', values: [] };
  const hundred = { name: 'better-sqlite3, 100 rows a transaction', values: [] };
  const rowcastOne = { name: 'Rowcast, one row at a time', values: [], base: one, wanted: { ratioAtLeast: 0.9 } };
  const rowcastHundred = {
    name: 'Rowcast, batches of 100, one at a time',
    values: [],
    base: hundred,
    wanted: { ratioAtLeast: 0.8 },
  };
  const inFlight = { name: 'Rowcast, single rows, 1,000 in flight', values: [], wanted: { atLeast: 150 } };
  const many = { name: 'Rowcast, batches of 100, 100 in flight', values: [] };
  const plainPauses = { name: 'better-sqlite3, a row a transaction', values: [] };
  const pauses = { name: 'one row at a time', values: [], wanted: { atMost: 20 } };
  const pausesMany = { name: 'single rows, 1,000 in flight', values: [], wanted: { atMost: 20 } };
  const pausesBatches = { name: 'batches of 100, 100 in flight', values: [], wanted: { atMost: 20 } };
  for (let round = 0; round < rounds; round++) {
    const plain = await plainSqlite();
    one.values.push(plain.one.rate / 1_000);
    hundred.values.push(plain.hundred.rate / 1_000);
    plainPauses.values.push(plain.one.longestMs);
    await withProcesses(['primary'], async (primary) => {
      await primary.call('open', { log: 'sqlite' });
      const append = async (way) => {
        await primary.call('takeLongestPauseMs');
        const { startedAt, durableAt } = await primary.call('append', way);
        const longestPauseMs = await primary.call('takeLongestPauseMs');
        return { rate: way.rows / (durableAt - startedAt), longestPauseMs };
      };
      // The same amount for both: writes that the system has still to do slow each fsync down.
      const warmUp = { rows: WARM_UP_ROWS, perBatch: 1, inFlight: 1_000 };
      await append(warmUp);
      const alone = await append({ rows: 5_000, perBatch: 1, inFlight: 1 });
      rowcastOne.values.push(alone.rate);
      pauses.values.push(alone.longestPauseMs);
      rowcastHundred.values.push((await append({ rows: 200_000, perBatch: 100, inFlight: 1 })).rate);
      const singles = await append({ rows: 400_000, perBatch: 1, inFlight: 1_000 });
      inFlight.values.push(singles.rate);
      pausesMany.values.push(singles.longestPauseMs);
      const batches = await append({ rows: 800_000, perBatch: 100, inFlight: 100 });
      many.values.push(batches.rate);
      pausesBatches.values.push(batches.longestPauseMs);
    });
  }
  yield [
    {
      title: 'Durable appends',
      unit: 'thousand rows a second',
      rows: [one, rowcastOne, hundred, rowcastHundred, inFlight, many],
    },
    {
      title: 'The longest that the event loop stood still meanwhile',
      unit: 'ms',
      rows: [plainPauses, pauses, pausesMany, pausesBatches],
    },
  ];
}

async function plainSqlite() {
  return withProcesses(['plain-sqlite'], async (sqlite) => {
    await sqlite.call('append', { rows: WARM_UP_ROWS, perBatch: 100 });
    return {
      one: await sqlite.call('append', { rows: 5_000, perBatch: 1 }),
      hundred: await sqlite.call('append', { rows: 200_000, perBatch: 100 }),
    };
  });
}
