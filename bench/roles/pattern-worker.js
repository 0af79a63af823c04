/** A worker that follows every stream of a pattern. */
import { once } from 'node:events';
import { createWorker, tcpTransport } from 'rowcast';
import { nowMs, serveCalls, usage } from './role.js';

let worker;
let connection;
let rows = 0;

/** Real TCP, and the connection can be cut from here. */
const transport = {
  ...tcpTransport,
  connect: (address, handler) => {
    connection = tcpTransport.connect(address, handler);
    return connection;
  },
};

serveCalls({
  /** Resolves when every stream is live, to the time that it took from the start on. */
  async follow({ port, pattern }) {
    worker = createWorker({ name: 'bench', connect: { host: '127.0.0.1', port }, transport });
    worker.on('error', (error) => {
      throw error;
    });
    worker.subscribeMatching(pattern, { from: 'start' }, (batch) => {
      rows += batch.rows.length;
    });
    const startedAt = nowMs();
    await worker.start();
    return { liveMs: nowMs() - startedAt, rows };
  },

  /** Cuts the connection. Resolves to the time from the next connection until all is live again. */
  async cut() {
    const disconnected = once(worker, 'disconnected');
    const connected = once(worker, 'connected');
    (await connection).abort();
    await disconnected;
    await connected;
    const startedAt = nowMs();
    while (!worker.isLive) await once(worker, 'live');
    return { liveMs: nowMs() - startedAt };
  },

  async stop() {
    await worker.stop();
  },

  usage,
});
