/** A primary with one stream: appends as it is told. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createPrimary, defineStream, memoryLog } from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';
import { rows as differentRows } from '../rows.js';
import { cpuMs, nowMs, rssMiB, serveCalls } from './role.js';

const events = defineStream('events');
let primary;
let appended = 0;
let peakRssMiB = 0;
const delays = monitorEventLoopDelay({ resolution: 1 });

serveCalls({
  /** @param log 'memory' or 'sqlite', which is durable as by default */
  async open({ log }) {
    primary = await createPrimary({ name: 'bench', log: log === 'memory' ? memoryLog() : sqliteLog({ path: temporaryFile() }), streams: [events] });
    const { port } = await primary.listen({ host: '127.0.0.1', port: 0 });
    return { port };
  },

  /** Appends so many rows; as many batches as `inFlight` says wait at a time. */
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

  /** Appends single rows at a fixed rate, each with the time of its append, by nowMs, in the place of its state key. */
  async appendPaced({ rowsPerSecond, seconds }) {
    const startedAt = nowMs();
    const rows = rowsPerSecond * seconds;
    const pending = new Set();
    await new Promise((resolve) => {
      let done = 0;
      const timer = setInterval(() => {
        const due = Math.min(rows, ((nowMs() - startedAt) * rowsPerSecond) / 1_000);
        for (; done < due; done++) {
          const row = differentRows[done % differentRows.length].with(3, nowMs());
          const append = primary.append(events, [row]).then(() => pending.delete(append));
          pending.add(append);
        }
        if (done < rows) return;
        clearInterval(timer);
        resolve();
      }, 1);
    });
    await Promise.all(pending);
  },

  /** CPU, memory and the longest pause of the event loop since the last call. */
  usage() {
    delays.enable();
    const usage = { at: nowMs(), cpuMs: cpuMs(), rssMiB: rssMiB(), peakRssMiB: Math.max(peakRssMiB, rssMiB()), longestPauseMs: delays.max / 1e6 };
    delays.reset();
    peakRssMiB = 0;
    return usage;
  },
});

setInterval(() => {
  peakRssMiB = Math.max(peakRssMiB, rssMiB());
}, 20).unref();

function nextBatch(perBatch) {
  const from = appended % differentRows.length;
  appended += perBatch;
  return differentRows.slice(from, from + perBatch);
}

function temporaryFile() {
  const directory = mkdtempSync(path.join(tmpdir(), 'rowcast-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return path.join(directory, 'bench.db');
}
