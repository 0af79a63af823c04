/**
 * A publisher or subscriber of another bus with its usual client. Rows are the same, and are parsed
 * and counted in the same way.
 */
import { connect as connectToNats } from '@nats-io/transport-node';
import { Redis } from 'ioredis';
import { rows as differentRows } from '../rows.js';
import { nowMs, RowCounter, serveCalls } from './role.js';

const CHANNEL = 'events';
const IN_FLIGHT = 1_000;
const counter = new RowCounter();
let token = 0;
let publish;
let flush;

serveCalls({
  async publishTo({ kind, port }) {
    if (kind === 'redis') {
      const redis = new Redis({ host: '127.0.0.1', port });
      publish = (text) => redis.publish(CHANNEL, text);
      flush = async () => redis.ping();
    } else {
      const nats = await connectToNats({ servers: `127.0.0.1:${port}` });
      publish = (text) => nats.publish(CHANNEL, text);
      flush = async () => nats.flush();
    }
  },

  async subscribeTo({ kind, port }) {
    if (kind === 'redis') {
      const redis = new Redis({ host: '127.0.0.1', port });
      redis.on('message', (_channel, text) => take(text));
      await redis.subscribe(CHANNEL);
    } else {
      const nats = await connectToNats({ servers: `127.0.0.1:${port}` });
      // A callback is faster than the iterator.
      nats.subscribe(CHANNEL, { callback: (_error, message) => take(message.string()) });
      await nats.flush();
    }
  },

  /** Publishes messages of this many rows: the first token, and a line of JSON for each row. */
  async publishRows({ rows, perMessage }) {
    const startedAt = nowMs();
    const last = token + rows;
    while (token < last) {
      const sent = [];
      for (let i = 0; i < IN_FLIGHT && token < last; i++) {
        let text = String(token + 1);
        for (let row = 0; row < perMessage; row++)
          text += `\n${JSON.stringify(differentRows[token++ % differentRows.length])}`;
        sent.push(publish(text));
      }
      await Promise.all(sent);
      await flush();
    }
    return { startedAt };
  },

  async reach(count) {
    return { at: await counter.reach(count) };
  },
});

function take(text) {
  const lines = text.split('\n');
  const first = Number(lines[0]);
  for (let i = 1; i < lines.length; i++) {
    JSON.parse(lines[i]);
    counter.take(first + i - 1, 1);
  }
}
