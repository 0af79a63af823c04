/**
 * Caches: the cost of a hit, the cost of dropping a prefix, and whether a worker keeps up with
 * 100,000 invalidations a second.
 */
import { LRUCache } from 'lru-cache';
import { createMemoryTransport, createPrimary, createWorker, memoryLog } from 'rowcast';
import { createCaches, defineCachesStream } from 'rowcast/cache';
import { withProcesses } from '../processes.js';

const ROUNDS = 7;
const ENTRIES = 10_000;
const READS = 1_000_000;
const FLOOD_ROUNDS = 3;

export async function* measure() {
  for (const part of [hits, prefixes, flood]) yield [await part()];
}

/** A primary and a worker in this process, both live and with caches. */
async function bothEnds() {
  const transport = createMemoryTransport();
  const primary = await createPrimary({ name: 'bench', log: memoryLog(), streams: [defineCachesStream()], transport });
  await primary.listen({ path: '/bench' });
  const worker = createWorker({ name: 'bench', connect: { path: '/bench' }, transport });
  const caches = { primary: createCaches(primary), worker: createCaches(worker) };
  await worker.start();
  const close = async () => {
    await worker.stop();
    await primary.close();
  };
  return { caches, close };
}

async function hits() {
  const { caches, close } = await bothEnds();
  const keys = Array.from({ length: ENTRIES }, (_, i) => `@user-${i}:example.com`);
  const bare = new LRUCache({ max: ENTRIES });
  const load = async (id) => ({ id });
  const onWorker = caches.worker.cached('on_worker', { max: ENTRIES }, load);
  const onPrimary = caches.primary.cached('on_primary', { max: ENTRIES }, load);
  const two = caches.worker.cached('two_keys', { max: ENTRIES }, async (room, user) => ({ room, user }));
  const service = { load };
  const method = caches.worker.cached({ max: ENTRIES })(load, { kind: 'method', name: 'method' });
  for (const key of keys) {
    bare.set(key, { id: key });
    await Promise.all([onWorker(key), onPrimary(key), two('!room', key), method.call(service, key)]);
  }
  // Not in the order of filling: a hit must move an entry to the end of the LRU list.
  const order = Array.from({ length: READS }, (_, i) => keys[(i * 7_919) % ENTRIES]);
  const subjects = {
    'lru-cache get': () => {
      for (const key of order) bare.get(key);
    },
    'cached function on a worker': () => {
      for (const key of order) void onWorker(key);
    },
    'cached function on a primary': () => {
      for (const key of order) void onPrimary(key);
    },
    'cached method on a worker': () => {
      for (const key of order) void method.call(service, key);
    },
    'cached function of two keys': () => {
      for (const key of order) void two('!room', key);
    },
    'await lru-cache get': async () => {
      for (const key of order) await Promise.resolve(bare.get(key));
    },
    'await cached function on a worker': async () => {
      for (const key of order) await onWorker(key);
    },
  };
  const rows = await time(subjects, READS, 1e6);
  await close();
  return { title: `A hit among ${ENTRIES.toLocaleString('en-US')} entries`, unit: 'ns a read', rows };
}

/** Interleaves the rounds, so that a disturbance of the machine affects all subjects alike. */
async function time(subjects, count, perMs) {
  const rows = Object.keys(subjects).map((name) => ({ name, values: [] }));
  for (let round = -1; round < ROUNDS; round++) {
    for (const row of rows) {
      const started = performance.now();
      await subjects[row.name]();
      // The first round warms up.
      if (round >= 0) row.values.push(((performance.now() - started) * perMs) / count);
    }
  }
  for (const row of rows) {
    const base = row.name.startsWith('await') ? rows.find(({ name }) => name.startsWith('await')) : rows[0];
    if (row !== base) row.base = base;
    if (row.name.startsWith('cached') && row.name.includes(' on a ')) row.wanted = { ratioAtMost: 2 };
  }
  return rows;
}

async function prefixes() {
  const { caches, close } = await bothEnds();
  const PER_PREFIX = 1_000;
  const rows = [];
  for (const [prefixCount, indexed] of [
    [10, 1],
    [1_000, 1],
    [1_000, 0],
  ]) {
    const entries = prefixCount * PER_PREFIX;
    const name = `${entries.toLocaleString('en-US')} entries, prefixes: ${indexed}`;
    const get = caches.worker.cached(
      `c${entries}_${indexed}`,
      { max: entries, prefixes: indexed },
      async (room, user) => `${room}${user}`,
    );
    const heapBefore = heapMiB();
    for (let prefix = 0; prefix < prefixCount; prefix++) await fill(get, `!room-${prefix}`, PER_PREFIX);
    const heap = heapMiB() - heapBefore;
    const values = [];
    for (let round = -1; round < ROUNDS; round++) {
      const room = `!room-${(round + 1) % prefixCount}`;
      const started = performance.now();
      // The time includes the row, the command and its sending. They are the same for each.
      void get.invalidate(room);
      if (round >= 0) values.push(performance.now() - started);
      if (get.stats().size !== entries - PER_PREFIX)
        throw new Error(`expected ${PER_PREFIX} entries to be dropped, ${get.stats().size} are left`);
      await fill(get, room, PER_PREFIX);
    }
    rows.push({ name, values, note: `${Math.round((heap * 1024 * 1024) / entries)} bytes of heap an entry` });
    get.clear();
  }
  await close();
  return { title: 'Dropping a prefix with 1,000 entries', unit: 'ms', rows };
}

async function fill(get, room, count) {
  await get.prefill(() => Array.from({ length: count }, (_, i) => [[room, `@user-${i}:example.com`], i]));
}

function heapMiB() {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

async function flood() {
  const rows = [
    { name: 'invalidations applied, thousands a second', values: [] },
    { name: 'CPU of the worker, % of a core', values: [], wanted: { atMost: 50 } },
    { name: 'CPU of the primary, % of a core', values: [] },
    { name: 'rows the worker was behind at the end', values: [] },
  ];
  for (let round = 0; round < FLOOD_ROUNDS; round++) {
    const { worker, primary } = await floodOnce();
    rows[0].values.push(worker.rate / 1_000);
    rows[1].values.push(worker.cpu * 100);
    rows[2].values.push(primary.cpu * 100);
    rows[3].values.push(primary.appended - worker.applied);
  }
  return { title: 'A flood of single-key invalidations over TCP, 100,000 a second for 5 s', unit: 'as named', rows };
}

async function floodOnce() {
  return withProcesses(['caches-flood', 'caches-flood'], async (primary, worker) => {
    await worker.call('follow', await primary.call('open'));
    await worker.call('begin', await primary.call('warmUp'));
    const appended = await primary.call('flood');
    return { primary: appended, worker: await worker.call('end') };
  });
}
