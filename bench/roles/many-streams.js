/** A primary with very many streams in one log on disk. */
import { createPrimary, defineStream, defineStreams } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';
import { rows as differentRows } from '../rows.js';
import { cpuMs, nowMs, serveCalls, temporaryFile, usage } from './role.js';

const MAKE_AT_ONCE = 1_000;

let primary;
let count = 0;

serveCalls({
  /** Opens the file and listens. `openMs` is the time of the log alone. */
  async open({ file = temporaryFile() }) {
    const startedAt = nowMs();
    primary = await createPrimary({
      name: 'bench',
      log: sqliteLog({ path: file }),
      streams: [defineStream('one'), defineStreams('s:*')],
    });
    const openMs = nowMs() - startedAt;
    const { port } = await primary.listen({ host: '127.0.0.1', port: 0 });
    return { port, file, openMs, rssMiB: usage().rssMiB };
  },

  /** Makes streams until there are `to`, each by its first row. */
  async make({ to }) {
    const startedAt = nowMs();
    const from = count;
    while (count < to) {
      const names = Array.from({ length: Math.min(MAKE_AT_ONCE, to - count) }, () => nameOf(count++));
      await Promise.all(names.map(async (name) => primary.append(name, [rowOf(name.length)])));
    }
    await primary.append('one', [rowOf(0)]);
    return { rate: (to - from) / (nowMs() - startedAt) };
  },

  /**
   * One row to each of the streams, or as many to one, in commits of `perCommit`.
   * @param order 'one', 'made' or 'random'
   */
  async append({ rows, perCommit, order }) {
    const names = namesIn(order, rows);
    const started = { at: nowMs(), cpu: cpuMs() };
    for (let i = 0; i < rows; i += perCommit) {
      const ofCommit = names.slice(i, i + perCommit);
      if (ofCommit.length === 1) await primary.append(ofCommit[0], [rowOf(i)]);
      else await Promise.all(ofCommit.map((name, at) => primary.append(name, [rowOf(i + at)])));
    }
    return { ms: nowMs() - started.at, cpuMs: cpuMs() - started.cpu };
  },

  async close() {
    await primary.close();
  },

  usage,
});

function nameOf(i) {
  return `s:${i}`;
}

function rowOf(i) {
  return differentRows[i % differentRows.length];
}

function namesIn(order, rows) {
  if (order === 'one') return Array.from({ length: rows }, () => 'one');
  const names = Array.from({ length: rows }, (_, i) => nameOf(i % count));
  if (order === 'made') return names;
  // A linear congruential generator: the same order in each run.
  let state = 12_345;
  for (let i = names.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const j = state % (i + 1);
    [names[i], names[j]] = [names[j], names[i]];
  }
  return names;
}
