/**
 * A process that serves reads: users from its own memory, as long as nothing says that they changed.
 *
 *   node examples/user-directory/worker.js NAME REPLICATION_PORT [folder] [--read-your-writes]
 *
 * GET /users/:id, GET /stats. The port is a free one; the line on stdout says which.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { createWorker } from 'rowcast';
import { createCaches } from 'rowcast/cache';
import { awaitTokens } from 'rowcast/cache/hono';
import { openUsers } from './users.js';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { 'read-your-writes': { type: 'boolean', default: false } },
});
const [name, port, folder = 'data/user-directory'] = positionals;

const users = openUsers(join(folder, 'users.db'), { readonly: true });
const worker = createWorker({ name, server: 'users.example.com', connect: { host: '127.0.0.1', port: Number(port) } });
worker.on('error', (error) => console.error(error.message));
worker.on('disconnected', ({ error, retryInMs }) =>
  console.error(`${error.message}; next try in ${Math.round(retryInMs)} ms`),
);
const caches = createCaches(worker);
const getUser = caches.cached('get_user_by_id', { max: 10_000 }, async (id) => users.read(id));
await worker.start();

const app = new Hono();
if (values['read-your-writes']) app.use(awaitTokens(worker, { timeoutMs: 5_000 }));

app.get('/users/:id', async (c) => {
  const user = await getUser(c.req.param('id'));
  return user === undefined ? c.json({ error: 'no such user' }, 404) : c.json(user);
});

app.get('/stats', (c) => c.json(getUser.stats()));

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, (address) => {
  console.log(JSON.stringify({ http: address.port }));
});

// Disconnected: run.js started this process and is gone, whatever ended it.
for (const reason of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(reason, () => void stop());

async function stop() {
  server.close();
  await worker.stop();
  users.close();
  process.exit(0);
}
