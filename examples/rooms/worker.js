/**
 * A process that serves the rooms: their last messages, from a file of its own.
 *
 *   node examples/rooms/worker.js NAME [--folder data/rooms] [--connect 9092] [--http 8081] [--wait 5000]
 *
 * GET /rooms, GET /rooms/:id. The first line on stdout says the port, the others which rooms were
 * forgotten, and why.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { createWorker } from 'rowcast';
import { awaitTokens } from 'rowcast/cache/hono';
import { openRooms } from './kept-rooms.js';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string', default: 'data/rooms' },
    connect: { type: 'string', default: '9092' },
    http: { type: 'string', default: '8081' },
    wait: { type: 'string', default: '5000' },
  },
});
const [name = 'reader-1'] = positionals;

mkdirSync(values.folder, { recursive: true });
const rooms = openRooms(join(values.folder, `${name}.db`));
const worker = createWorker({
  name,
  server: 'rooms.example.com',
  connect: { host: '127.0.0.1', port: Number(values.connect) },
  checkpoint: rooms.checkpoint,
});

// Rooms that are made later are followed from their first message, also those that are made while
// this process is down.
worker.subscribeMatching('room:*', { fallback: 'start', onReset: 'earliest' }, rooms.apply);

// What is here of the room is void (it was deleted), or messages between it and what comes next are
// gone (this process was away for long). Either way the room begins anew, with what the primary has.
worker.on('reset', ({ stream, error }) => {
  rooms.forget(stream);
  console.log(`forgot ${stream}: ${error.facts.deleted ? 'it was deleted' : error.message}`);
});

worker.on('disconnected', ({ error, retryInMs }) =>
  console.error(`${error.message}; next try in ${Math.round(retryInMs)} ms`),
);
// A batch could not be stored. It is not lost: started again, this process goes on where its file
// ends.
worker.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
// Not awaited: while the primary is down, a worker that starts has the rooms of its file.
worker.start().catch((error) => {
  console.error(error);
  process.exit(1);
});

const app = new Hono();
// A request that brings the Rowcast-Token of a write waits until that is here, also for a room that
// this worker has not heard of. When it takes too long the answer is 503. A request without a token
// gets what is here.
app.use(awaitTokens(worker, { timeoutMs: Number(values.wait) }));

app.get('/rooms', (c) => {
  const list = rooms.list().map(({ room, token }) => ({ id: room.slice('room:'.length), token }));
  return c.json({ live: worker.isLive, rooms: list });
});

app.get('/rooms/:id', (c) => {
  const messages = rooms.read(`room:${c.req.param('id')}`);
  if (messages.length === 0) return c.json({ live: worker.isLive, error: 'no such room' }, 404);
  return c.json({ live: worker.isLive, messages });
});

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(values.http) }, ({ port }) => {
  console.log(JSON.stringify({ http: port }));
});

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop());

async function stop() {
  server.close();
  await worker.stop();
  rooms.close();
  process.exit(0);
}
