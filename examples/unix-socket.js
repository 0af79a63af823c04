/**
 * A Unix-domain socket between processes of one machine: no port, and only this user may connect (mode 0600).
 * Here both ends are in one process, which writes and then reads its own write through the worker.
 *
 *   node examples/unix-socket.js [socket path]
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPrimary, createWorker, defineStream, memoryLog } from 'rowcast';

const [path = join(tmpdir(), `rowcast-${process.pid}.sock`)] = process.argv.slice(2);

const prices = defineStream('prices');
const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams: [prices] });
await primary.listen({ path });

const worker = createWorker({ name: 'reader-1', server: 'example.com', connect: { path } });
const known = new Map();
worker.subscribe(prices, { from: 'start' }, ({ rows }) => {
  for (const [article, price] of rows) known.set(article, price);
});
await worker.start();

// Two rows of one batch: a worker sees both or none.
const position = await primary.append(prices, [
  ['tea', 3],
  ['cake', 4],
]);
await worker.waitFor(position);
console.log(`tea costs ${known.get('tea')}, cake ${known.get('cake')}`);

await worker.stop();
await primary.close();
