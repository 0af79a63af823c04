/**
 * Very many streams in one log: opening, appending, following, resting, and how each grows with
 * their number.
 */
import { startProcess, withProcesses } from '../processes.js';
import { rounds } from '../rounds.js';

const DEFAULT_SIZES = [1_000, 10_000, 50_000];
const COMMITS = [1, 100];
const APPENDS = 50_000;
/** A commit each: as many as show the mean. */
const SINGLE_APPENDS = 10_000;
const REST_SECONDS = 5;
const SETTLE_SECONDS = 3;

export const options = { streams: { type: 'string' } };

export function check({ streams }) {
  if (streams === undefined || sizesOf({ streams }).every((n) => Number.isSafeInteger(n) && n > 0)) return;
  throw new Error(`--streams is a list of numbers of streams, such as 1000,10000, not ${streams}`);
}

function sizesOf({ streams }) {
  return streams?.split(',').map(Number) ?? DEFAULT_SIZES;
}

export async function* measure(given) {
  const sizes = sizesOf(given);
  const most = Math.max(...sizes);
  const tables = sizes.map((n) => [n, rowsFor(n, n === most)]);
  for (let round = 0; round < rounds; round++) for (const [n, rows] of tables) await measureSize(n, rows);
  for (const [n, rows] of tables) {
    yield [
      { title: `${n.toLocaleString('en-US')} streams in one log`, unit: 'as named', rows: Object.values(rows.single) },
      ...COMMITS.map((perCommit) => ({
        title: `${n.toLocaleString('en-US')} streams: appends, ${perCommit} a commit`,
        unit: 'thousand appends a second',
        rows: Object.values(rows.appends[perCommit]),
      })),
    ];
  }
  if (sizes.length > 1) yield [growthOf(tables)];
}

function rowsFor(n, isMost) {
  const row = (name, wanted) => ({ name, values: [], ...(wanted !== undefined && { wanted }) });
  const ofCommit = () => {
    const one = row('all to one stream');
    return {
      one,
      made: { ...row('one to each stream, in the order of making'), base: one, wanted: { ratioAtLeast: 1 / 1.5 } },
      random: { ...row('one to each stream, in random order'), base: one, wanted: { ratioAtLeast: 1 / 5 } },
    };
  };
  return {
    single: {
      make: row('making streams, thousand a second'),
      open: row('opening after a clean close, ms', isMost ? { atMost: 1_000 } : undefined),
      openKilled: row('opening after kill -9, ms', isMost ? { atMost: 1_000 } : undefined),
      memory: row('memory of the primary once open (RSS), MiB', isMost ? { atMost: 150 } : undefined),
      live: row('a worker that follows all of them is live after, ms', n === 10_000 ? { atMost: 2_000 } : undefined),
      liveAgain: row(
        'live again after a cut, from the next connection, ms',
        n === 10_000 ? { atMost: 2_000 } : undefined,
      ),
      rest: row('CPU of the primary at rest with that worker, % of a core', { atMost: 1 }),
    },
    appends: Object.fromEntries(COMMITS.map((perCommit) => [perCommit, ofCommit()])),
  };
}

async function measureSize(n, { single, appends }) {
  const owner = await startProcess('many-streams');
  try {
    const { file } = await owner.call('open', {});
    single.make.values.push((await owner.call('make', { to: n })).rate);
    for (const perCommit of COMMITS) {
      const rows = perCommit === 1 ? SINGLE_APPENDS : APPENDS;
      for (const [order, row] of Object.entries(appends[perCommit])) {
        const { ms } = await owner.call('append', { rows, perCommit, order });
        row.values.push(rows / ms);
      }
    }
    await owner.call('close');
    const { openMs, rssMiB } = await opened(file, async () => {});
    single.open.values.push(openMs);
    single.memory.values.push(rssMiB);
    // The process above was killed without a close.
    const again = await opened(file, async (primary, { port }) => followed(primary, port, n, single));
    single.openKilled.values.push(again.openMs);
  } finally {
    await owner.stop();
  }
}

async function opened(file, use) {
  const primary = await startProcess('many-streams');
  try {
    const answer = await primary.call('open', { file });
    await primary.call('append', { rows: 100, perCommit: 10, order: 'one' });
    await use(primary, answer);
    return answer;
  } finally {
    primary.kill();
    await primary.stop();
  }
}

async function followed(primary, port, n, single) {
  await withProcesses(['pattern-worker'], async (worker) => {
    const { liveMs, rows } = await worker.call('follow', { port, pattern: 's:*' });
    if (rows < n) throw new Error(`the worker is live with ${rows} rows of at least ${n}`);
    single.live.values.push(liveMs);
    single.liveAgain.values.push((await worker.call('cut')).liveMs);
    // The worker tells of each stream how far it is, once after each connect.
    await sleep(SETTLE_SECONDS);
    const before = await primary.call('usage');
    await sleep(REST_SECONDS);
    const after = await primary.call('usage');
    single.rest.values.push(((after.cpuMs - before.cpuMs) * 100) / (after.at - before.at));
  });
}

async function sleep(seconds) {
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1_000);
  });
}

/** The exponent of n: 1 is linear, 2 is quadratic. By least squares of the logarithms. */
function growthOf(tables) {
  const what = [
    ['opening after a clean close', ({ single }) => single.open],
    ['opening after kill -9', ({ single }) => single.openKilled],
    ['becoming live', ({ single }) => single.live],
    ['becoming live again', ({ single }) => single.liveAgain],
  ];
  const rows = what.map(([name, pick]) => ({
    name,
    values: tables[0][1].single.open.values.map((_, round) =>
      slopeOf(tables.map(([n, all]) => [Math.log(n), Math.log(Math.max(1, pick(all).values[round]))])),
    ),
    wanted: { atMost: 1.2 },
  }));
  return { title: 'Growth with the number of streams', unit: 'exponent', rows };
}

function slopeOf(points) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(points.map(([at]) => at)), mean(points.map(([, cost]) => cost))];
  const covariance = points.reduce((sum, [at, cost]) => sum + (at - x) * (cost - y), 0);
  return covariance / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
}
