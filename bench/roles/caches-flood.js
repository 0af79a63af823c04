/**
 * One end of the flood: the primary invalidates at a fixed rate, the worker applies it to a full
 * cache.
 */
import { createPrimary, createWorker, memoryLog } from 'rowcast';
import { createCaches, defineCachesStream } from 'rowcast/cache';
import { cpuMs, nowMs, serveCalls } from './role.js';

const RATE = 100_000;
const SECONDS = 5;
const TICK_MS = 5;
/**
 * Invalidations of keys that nobody has. A primary with cold code falls behind at this rate, and
 * its queue makes it slower still.
 */
const WARM_UP = { groups: 200, each: 500 };
// One for each invalidation: each finds an entry to drop.
const ENTRIES = RATE * SECONDS;

const keyOf = (i) => `@user-${(i * 7_919) % ENTRIES}:example.com`;
let caches;
let worker;
let getUser;
let begun;

serveCalls({
  async open() {
    const primary = await createPrimary({ name: 'bench', log: memoryLog(), streams: [defineCachesStream()] });
    caches = createCaches(primary);
    const { port } = await primary.listen({ host: '127.0.0.1', port: 0 });
    return { port };
  },

  async warmUp() {
    let position;
    for (let group = 0; group < WARM_UP.groups; group++) {
      const positions = await Promise.all(
        Array.from({ length: WARM_UP.each }, (_, i) => caches.invalidate('get_user', [`@nobody-${i}:example.com`])),
      );
      position = positions.at(-1);
    }
    return { position };
  },

  async flood() {
    begin();
    let appended = 0;
    await new Promise((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(((nowMs() - begun.at) / 1_000) * RATE, RATE * SECONDS);
        // A batch for each: one row, one token.
        while (appended < due) void caches.invalidate('get_user', [keyOf(appended++)]);
        if (appended < RATE * SECONDS) return;
        clearInterval(timer);
        resolve();
      }, TICK_MS);
    });
    return { appended, cpu: share() };
  },

  async follow({ port }) {
    worker = createWorker({ name: 'bench', connect: { host: '127.0.0.1', port } });
    getUser = createCaches(worker).cached('get_user', { max: ENTRIES }, async (id) => ({ id }));
    await worker.start();
    await getUser.prefill(() => Array.from({ length: ENTRIES }, (_, i) => [[`@user-${i}:example.com`], i]));
  },

  /** Counts from here, when everything up to the position has come. */
  async begin({ position }) {
    await worker.waitFor(position);
    begin(getUser.stats().invalidationsByKey);
  },

  end() {
    const applied = getUser.stats().invalidationsByKey - begun.applied;
    return { applied, rate: (applied * 1_000) / (nowMs() - begun.at), cpu: share() };
  },
});

function begin(applied) {
  begun = { at: nowMs(), cpuMs: cpuMs(), applied };
}

/** The share of a core since `begin`. */
function share() {
  return (cpuMs() - begun.cpuMs) / (nowMs() - begun.at);
}
