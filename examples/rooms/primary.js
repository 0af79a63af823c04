/**
 * The process that owns the rooms: a stream for each room, made by its first message.
 *
 *   node examples/rooms/primary.js [--folder data/rooms] [--replication 9092] [--http 8080]
 *
 * POST /rooms/:id/messages with {"from": …, "text": …}, DELETE /rooms/:id. The line on stdout says
 * the ports.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { createPrimary, defineStreams, formatPosition, RowcastError } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: 'data/rooms' },
    replication: { type: 'string', default: '9092' },
    http: { type: 'string', default: '8080' },
  },
});

/** No colon: room:a:b is no name of room:*. */
const ROOM_ID = /^[\w.-]{1,100}$/;

/** Each room keeps its newest 1,000 messages, and somewhat more. */
const rooms = defineStreams('room:*', { retain: { rows: 1_000 } });
const primary = await createPrimary({
  name: 'rooms.example.com',
  log: sqliteLog({ path: join(values.folder, 'rowcast.db') }),
  streams: [rooms],
});
const replication = await primary.listen({ host: '127.0.0.1', port: Number(values.replication) });

const app = new Hono();

app.use('/rooms/:id/*', async (c, next) => {
  if (ROOM_ID.test(c.req.param('id'))) return next();
  return c.json({ error: 'a room has up to 100 letters, digits, and any of _ . -' }, 400);
});

app.post('/rooms/:id/messages', async (c) => {
  const body = await c.req.json().catch(() => undefined);
  if (typeof body?.from !== 'string' || typeof body.text !== 'string')
    return c.json({ error: 'expected a JSON object with from and text' }, 400);
  // Only what the client sent, in one order: a request that is repeated must give the same row. With
  // a time of day it would be another one.
  const message = { from: body.from, text: body.text };
  const id = c.req.header('idempotency-key');
  const position = await primary.append(rooms.stream(`room:${c.req.param('id')}`), [message], { ...(id && { id }) });
  // On disk. A worker that is given this header answers with the message, or not at all.
  c.header('Rowcast-Token', formatPosition(position));
  return c.json({ token: position.token }, 201);
});

app.delete('/rooms/:id', async (c) => {
  await primary.delete(rooms.stream(`room:${c.req.param('id')}`));
  return c.body(null, 204);
});

const STATUS = { ID_REUSED: 409, INVALID_OPTION: 400, ROW_TOO_LARGE: 413 };

app.onError((error, c) => {
  const status = error instanceof RowcastError ? (STATUS[error.code] ?? 503) : 500;
  if (status < 500) return c.json({ error: error.message }, status);
  console.error(error);
  // Whether the message is there is not known. With a key, asking again is safe.
  return c.json({ error: 'try again, with the same Idempotency-Key' }, status);
});

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(values.http) }, ({ port }) => {
  console.log(JSON.stringify({ http: port, replication: replication.port }));
});

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop());

async function stop() {
  server.close();
  await primary.close();
  process.exit(0);
}
