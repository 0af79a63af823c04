/**
 * The consumer of the raw limit: splits lines, parses every row, checks the tokens. Knows nothing
 * else of the protocol.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { nowMs, RowCounter, serveCalls, usage } from './role.js';

const TOKEN_AT = 'RDATA events '.length;
const counters = [];
const latencies = [];

serveCalls({
  async follow({ port, connections = 1, isTimed = false }) {
    await Promise.all(
      Array.from({ length: connections }, async () => {
        const counter = new RowCounter();
        counters.push(counter);
        const socket = connect({ host: '127.0.0.1', port, noDelay: true });
        let rest = '';
        socket.setEncoding('latin1').on('data', (chunk) => {
          const text = rest + chunk;
          let at = 0;
          for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
            const line = text.slice(at, end);
            const space = line.indexOf(' ', TOKEN_AT);
            const row = JSON.parse(line.slice(space + 1));
            if (isTimed) latencies.push(nowMs() - row[3]);
            counter.take(Number(line.slice(TOKEN_AT, space)), 1);
            at = end + 1;
          }
          rest = text.slice(at);
        });
        await once(socket, 'connect');
      }),
    );
  },

  async reach(count) {
    const times = await Promise.all(counters.map(async (counter) => counter.reach(count)));
    return { at: Math.max(...times) };
  },

  usage,

  takeLatencies: () => latencies.splice(0),
});
