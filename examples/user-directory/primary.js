/**
 * The process that owns the writes: an HTTP API over a table of users, and a Rowcast primary that tells the workers what changed.
 *
 *   node examples/user-directory/primary.js [folder]
 *
 * PUT /users/:id with {"name": …}, GET /users/:id. Ports are free ones; the line on stdout says which.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { createPrimary } from 'rowcast';
import { createCaches, defineCachesStream } from 'rowcast/cache';
import { sendTokens } from 'rowcast/cache/hono';
import { sqliteLog } from 'rowcast/log/sqlite';
import { openUsers } from './users.js';

const USER_ID = /^[\w.:@-]{1,100}$/;

const [folder = 'data/user-directory'] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const users = openUsers(join(folder, 'users.db'));
const primary = await createPrimary({
  name: 'users.example.com',
  log: sqliteLog({ path: join(folder, 'rowcast.db') }),
  streams: [defineCachesStream()],
});
const caches = createCaches(primary);
// A crash may have come between the commit of a write and its invalidation.
await caches.invalidateAll('get_user_by_id');
const replication = await primary.listen({ host: '127.0.0.1', port: 0 });

const app = new Hono();
app.use(sendTokens(primary, { streams: [caches.stream] }));

app.put('/users/:id', async (c) => {
  const body = await c.req.json().catch(() => undefined);
  if (typeof body?.name !== 'string') return c.json({ error: 'expected a JSON object with a name' }, 400);
  const user = { id: c.req.param('id'), name: body.name };
  // Before the commit: some text is no key of an invalidation (a NUL character), and what cannot be invalidated must not be written.
  if (!USER_ID.test(user.id))
    return c.json({ error: 'a user id is up to 100 letters, digits, and any of _ . : @ -' }, 400);
  // First the commit, then the invalidation: whoever loads because of it must find the new row. When it rejects, as with a full disk,
  // the write stands and the workers have not heard of it: the answer is a 500, and a client that repeats its PUT repeats both.
  users.write(user);
  await caches.invalidate('get_user_by_id', [user.id]);
  return c.json(user);
});

app.get('/users/:id', (c) => {
  const user = users.read(c.req.param('id'));
  return user === undefined ? c.json({ error: 'no such user' }, 404) : c.json(user);
});

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  console.log(JSON.stringify({ http: port, replication: replication.port }));
});

// Disconnected: run.js started this process and is gone, whatever ended it.
for (const reason of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(reason, () => void stop());

async function stop() {
  server.close();
  await primary.close();
  users.close();
  process.exit(0);
}
