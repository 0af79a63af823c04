/** One end of the flood: `primary` invalidates at a fixed rate, `worker PORT` applies it to a full cache. Driven by messages from caches.js. */
import { once } from 'node:events';
import { createPrimary, createWorker, memoryLog } from 'rowcast';
import { createCaches, defineCachesStream } from 'rowcast/cache';

const RATE = 100_000;
const SECONDS = 5;
const TICK_MS = 5;
/** Of keys that nobody has: a primary whose code is cold falls behind at this rate, and what waits then makes it slower still. */
const WARM_UP = { groups: 200, each: 500 };
// One for each invalidation: all of them find an entry to drop.
const ENTRIES = RATE * SECONDS;

const [role, port] = process.argv.slice(2);
const keyOf = (i) => `@user-${(i * 7_919) % ENTRIES}:example.com`;
process.once('disconnect', () => process.exit(0));
await (role === 'primary' ? runPrimary() : runWorker());

async function runPrimary() {
  const primary = await createPrimary({ name: 'bench', log: memoryLog(), streams: [defineCachesStream()] });
  const caches = createCaches(primary);
  const address = await primary.listen({ host: '127.0.0.1', port: 0 });
  process.send({ port: address.port });
  await once(process, 'message');
  let token;
  for (let group = 0; group < WARM_UP.groups; group++) {
    const tokens = await Promise.all(Array.from({ length: WARM_UP.each }, (_, i) => caches.invalidate('get_user', [`@nobody-${i}:example.com`])));
    token = tokens.at(-1);
  }
  process.send({ token });
  await once(process, 'message');
  const cpu = process.cpuUsage();
  const started = performance.now();
  let appended = 0;
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(((performance.now() - started) / 1_000) * RATE, RATE * SECONDS);
      // Each is a batch of its own: one row, one token.
      while (appended < due) void caches.invalidate('get_user', [keyOf(appended++)]);
      if (appended < RATE * SECONDS) return;
      clearInterval(timer);
      resolve();
    }, TICK_MS);
  });
  process.send({ appended, cpu: share(cpu, started) });
}

async function runWorker() {
  const worker = createWorker({ name: 'bench', connect: { host: '127.0.0.1', port: Number(port) } });
  const getUser = createCaches(worker).cached('get_user', { max: ENTRIES }, async (id) => ({ id }));
  await worker.start();
  await getUser.prefill(() => Array.from({ length: ENTRIES }, (_, i) => [[`@user-${i}:example.com`], i]));
  process.send({ ready: true });
  const [{ token }] = await once(process, 'message');
  await worker.waitFor(defineCachesStream(), token);
  const { invalidationsByKey: before } = getUser.stats();
  process.send({ ready: true });
  const cpu = process.cpuUsage();
  const started = performance.now();
  await once(process, 'message');
  const applied = getUser.stats().invalidationsByKey - before;
  process.send({ applied, rate: applied / ((performance.now() - started) / 1_000), cpu: share(cpu, started) });
}

function share(since, started) {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1_000 / (performance.now() - started);
}
