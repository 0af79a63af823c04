/** A primary with one stream that appends on command. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createPrimary, defineStream, memoryLog } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';
import { rows as differentRows } from '../rows.js';
import { cpuMs, nowMs, pace, serveCalls, temporaryFile, usage } from './role.js';

const events = defineStream('events');
let primary;
let appended = 0;
let isPaceEnded = false;
const delays = monitorEventLoopDelay({ resolution: 1 });

serveCalls({
  /** @param log 'memory' or 'sqlite', which is durable by default; `file` for an existing file */
  async open({ log, file = temporaryFile() }) {
    primary = await createPrimary({
      name: 'bench',
      log: log === 'memory' ? memoryLog() : sqliteLog({ path: file }),
      streams: [events],
    });
    const { port } = await primary.listen({ host: '127.0.0.1', port: 0 });
    return { port };
  },

  /** Appends this many rows, with up to `inFlight` batches waiting at a time. */
  async append({ rows, perBatch, inFlight }) {
    const started = { at: nowMs(), cpu: cpuMs() };
    const end = appended + rows;
    const lane = async () => {
      while (appended < end) {
        const batch = nextBatch(perBatch);
        await primary.append(events, batch);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    return { startedAt: started.at, durableAt: nowMs(), cpuMs: cpuMs() - started.cpu };
  },

  /**
   * Appends single rows at a fixed rate. The state key of each is the time of its append, by nowMs.
   */
  async appendPaced(rate) {
    isPaceEnded = false;
    const pending = new Set();
    const append = (i) => {
      const promise = primary
        .append(events, [differentRows[i % differentRows.length].with(3, nowMs())])
        .then(() => pending.delete(promise));
      pending.add(promise);
    };
    await pace(rate, append, () => isPaceEnded);
    await Promise.all(pending);
  },

  /** Ends appendPaced early. */
  endPace() {
    isPaceEnded = true;
  },

  async close() {
    await primary.close();
  },

  usage,

  /**
   * The longest pause of the event loop since the last call. Watching costs CPU, so it begins with
   * the first call.
   */
  takeLongestPauseMs() {
    const longest = delays.max / 1e6;
    delays.enable();
    delays.reset();
    return longest;
  },
});

function nextBatch(perBatch) {
  const from = appended % differentRows.length;
  appended += perBatch;
  return differentRows.slice(from, from + perBatch);
}
