/** The server of the raw limit: writes prepared bytes to every connection. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { makeLines, rows as differentRows } from '../rows.js';
import { cpuMs, nowMs, pace, serveCalls, usage } from './role.js';

const sockets = new Set();
const server = createServer({ noDelay: true }, (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket)).on('error', () => {});
});
let prepared = [];
let sent = 0;

serveCalls({
  async open() {
    server.listen({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    return { port: server.address().port };
  },

  prepare({ rows }) {
    prepared = makeLines(sent, sent + rows);
    sent += rows;
  },

  async send() {
    const started = { at: nowMs(), cpu: cpuMs() };
    await Promise.all(
      [...sockets].map(async (socket) => {
        for (const chunk of prepared) if (!socket.write(chunk)) await once(socket, 'drain');
      }),
    );
    return { startedAt: started.at, cpuMs: cpuMs() - started.cpu };
  },

  /** Sends one row a line at a fixed rate. The state key is the time of the write. */
  async sendPaced(rate) {
    await pace(rate, (i) => {
      const line = `RDATA events ${++sent} ${JSON.stringify(differentRows[i % differentRows.length].with(3, nowMs()))}\n`;
      for (const socket of sockets) socket.write(line);
    });
  },

  usage,
});
