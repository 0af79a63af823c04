/** The other end of processes.js: answers calls with the results of `methods`. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export function serveCalls(methods) {
  const answer = async ({ id, method, argument }) => {
    try {
      process.send({ id, result: await methods[method](argument) });
    } catch (error) {
      process.send({ id, error: error?.stack ?? String(error) });
    }
  };
  process.on('message', (call) => void answer(call));
  process.once('disconnect', () => process.exit(0));
}

/** Milliseconds of the system's monotonic clock, the same in every process of the machine. */
export function nowMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** CPU time of this process, all threads, in ms. */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** `peakRssMiB`: the most since the process started. */
export function usage() {
  return {
    at: nowMs(),
    cpuMs: cpuMs(),
    rssMiB: process.memoryUsage.rss() / 1024 / 1024,
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
  };
}

/**
 * Calls `send` with 0, 1, 2, … at even intervals for `seconds`, or until `isEnded` returns true.
 */
export async function pace({ rowsPerSecond, seconds }, send, isEnded = () => false) {
  const everyMs = 1_000 / rowsPerSecond;
  const rows = rowsPerSecond * seconds;
  const startedAt = nowMs();
  for (let i = 0; i < rows && !isEnded(); i++) {
    await (everyMs < 1 ? sleepUntil : wakeAt)(startedAt + i * everyMs);
    send(i);
  }
}

async function wakeAt(at) {
  const early = at - nowMs();
  if (early <= 0) return;
  await new Promise((resolve) => {
    setTimeout(resolve, early);
  });
}

const asleep = new Int32Array(new SharedArrayBuffer(4));

/**
 * Timers have steps of 1 ms. Rows sent in pairs would not show a rate, because the second finds
 * every process awake. So the whole process sleeps once it has nothing to do.
 */
async function sleepUntil(at) {
  // Two turns: the second may end work that the first began.
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  const early = at - nowMs();
  if (early > 0) Atomics.wait(asleep, 0, 0, early);
}

/** Checks that tokens rise without gaps, counts rows, and tells when a count is reached. */
export class RowCounter {
  count = 0;
  #lastToken;
  #awaited = Infinity;
  #handleReached;

  take(token, rows) {
    if (this.#lastToken !== undefined && token !== this.#lastToken + 1)
      throw new Error(`token ${token} came after ${this.#lastToken}`);
    this.#lastToken = token;
    this.count += rows;
    if (this.count < this.#awaited) return;
    this.#awaited = Infinity;
    this.#handleReached(nowMs());
  }

  /** @returns the time at which the count was reached, by nowMs */
  async reach(count) {
    if (this.count >= count) return nowMs();
    return new Promise((resolve) => {
      this.#handleReached = resolve;
      this.#awaited = count;
    });
  }
}

/**
 * A file in a new directory that is removed with the process. A child ends with its parent, see
 * processes.js.
 */
export function temporaryFile() {
  const directory = mkdtempSync(path.join(tmpdir(), 'rowcast-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return path.join(directory, 'bench.db');
}
