/** The process around a command: its streams, its signals and its exit. */

import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { type Millis, systemClock } from '../base/clock.ts';
import { run } from './program.ts';
import { exitCodes } from './terminal.ts';

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // A second signal means: do not wait.
    if (stopping.signal.aborted) process.exit(exitCodes.failed);
    stopping.abort();
  });
}
// When stderr is closed there is nobody to tell.
process.stderr.on('error', () => {});

// Keeps the process alive while a command waits.
const alive = setInterval(() => {}, 2 ** 30);
const { stdin, stdout, stderr } = process;
const exitCode = await run(process.argv.slice(2), {
  stdin,
  stdout,
  stderr,
  signal: stopping.signal,
  clock: systemClock,
});
clearInterval(alive);

// Exits explicitly: stdin may stay open for ever.
const FLUSH_TIMEOUT_MS: Millis = 1_000;
await Promise.race([Promise.all([flushed(stdout), flushed(stderr)]), timeout(FLUSH_TIMEOUT_MS)]);
process.exit(exitCode);

async function flushed(stream: Writable): Promise<void> {
  if (stream.writableLength > 0 && !stream.destroyed)
    await Promise.race([once(stream, 'drain'), once(stream, 'close')]);
}

async function timeout(delayMs: Millis): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
}
