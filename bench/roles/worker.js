/** One or more real workers in a process. Each counts and checks every row. */
import { createWorker } from 'rowcast';
import { nowMs, RowCounter, serveCalls, usage } from './role.js';

const counters = [];
const latencies = [];

serveCalls({
  /** Resolves when all of them are live. `isTimed`: rows carry the time of their append. */
  async follow({ port, connections = 1, from = 'now', isTimed = false, delayMs = 0 }) {
    const startedAt = nowMs();
    const started = Array.from({ length: connections }, async () => {
      const counter = new RowCounter();
      counters.push(counter);
      const worker = createWorker({ name: 'bench', connect: { host: '127.0.0.1', port } });
      worker.on('error', (error) => {
        throw error;
      });
      worker.subscribe('events', { from }, handlerOf(counter, { isTimed, delayMs }));
      await worker.start();
    });
    await Promise.all(started);
    return { startedAt };
  },

  /** Resolves when each has this many rows, to the latest time of all. */
  async reach(count) {
    const times = await Promise.all(counters.map(async (counter) => counter.reach(count)));
    return { at: Math.max(...times) };
  },

  usage,

  /** Latencies in ms since the last call. */
  takeLatencies() {
    return latencies.splice(0);
  },
});

function handlerOf(counter, { isTimed, delayMs }) {
  if (delayMs > 0) {
    return async ({ token, rows }) => {
      counter.take(token, rows.length);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    };
  }
  if (!isTimed) return ({ token, rows }) => counter.take(token, rows.length);
  return ({ token, rows }) => {
    const now = nowMs();
    for (const row of rows) latencies.push(now - row[3]);
    counter.take(token, rows.length);
  };
}
