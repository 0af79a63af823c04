/**
 * `workload.js FOLDER SYNCHRONOUS SEED APPENDS [CHECKPOINT]`: a primary with its log in FOLDER/log,
 * and a worker that follows it with a checkpoint in FOLDER. It reports on stdout, one JSON value a
 * line, what it begins and what is done. The recorder keeps the reports in one order with the file
 * operations. Facts (facts.ts) reads them.
 *
 * CHECKPOINT is `file`, or `unsynced` for one that forgets to sync: the trial must detect that.
 */

import { readFile, rename, writeFile } from 'node:fs/promises';
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  createMemoryTransport,
  createPrimary,
  createWorker,
  defineStream,
  fileCheckpoint,
  seededRandom,
  systemClock,
} from 'rowcast';
import { sqliteLog } from 'rowcast/log/sqlite';

const [folder, synchronous, seed, appends, kindOfCheckpoint = 'file'] = process.argv.slice(2);
const WRITERS = 4;
/** The worker's clock runs faster, so that it stores its positions every few milliseconds. */
const CLOCK_SPEED = 25;
/** The rows that `kept` retains; check.ts has the same number. */
const KEPT_ROWS = 200;

const random = seededRandom(Number(seed));
const integer = (low, high) => low + Math.floor(random.next() * (high - low + 1));

function say(fact) {
  writeSync(1, `${JSON.stringify(fact)}\n`);
}

const placeOf = ({ token, history }) => ({ token, history });

/** Tests the trial: a power cut may leave this one empty. */
function unsyncedCheckpoint(path) {
  return {
    load: async () => new Map(JSON.parse(await readFile(path, 'utf8').catch(() => '[]'))),
    save: async (_changed, all) => {
      await writeFile(`${path}.new`, JSON.stringify([...all]));
      await rename(`${path}.new`, path);
    },
  };
}

function saidCheckpoint(checkpoint) {
  return {
    load: async () => {
      const positions = await checkpoint.load();
      say({ resumed: [...positions] });
      return positions;
    },
    save: async (changed, all) => {
      const entries = [...all];
      say({ saving: entries });
      await checkpoint.save(changed, all);
      say({ saved: entries });
    },
  };
}

const fastClock = {
  now: () => systemClock.now() * CLOCK_SPEED,
  wallNow: () => systemClock.wallNow(),
  wakeIn: (delay, callback) => systemClock.wakeIn(delay / CLOCK_SPEED, callback),
};

const streams = [defineStream('plain'), defineStream('large'), defineStream('kept', { retain: { rows: KEPT_ROWS } })];
const transport = createMemoryTransport();
const connect = { host: '127.0.0.1', port: 9092 };

/**
 * The disk has failed, and the application decides what to do. This one ends, cleanly or at once.
 */
function handleFailed(error) {
  if (!error.code?.startsWith('LOG_')) throw error;
  say({ failed: error.code });
  if (integer(0, 2) > 0) process.kill(process.pid, 'SIGKILL');
}

const primary = await createPrimary({
  name: 'example.com',
  log: sqliteLog({ path: join(folder, 'log', 'deep', 'rows.db'), synchronous }),
  streams,
  transport,
}).catch((error) => {
  handleFailed(error);
  process.exit(0);
});
say({ opened: true });
await primary.listen(connect);

const checkpointPath = join(folder, 'checkpoint.json');
const worker = createWorker({
  name: 'worker',
  connect,
  transport,
  clock: fastClock,
  checkpoint: saidCheckpoint(
    kindOfCheckpoint === 'file' ? fileCheckpoint(checkpointPath) : unsyncedCheckpoint(checkpointPath),
  ),
});
// The checkpoint could not be written; the next save will be.
worker.on('error', ({ code }) => say({ failed: code }));
worker.on('reset', ({ stream }) => say({ reset: stream }));
for (const { name } of streams) {
  const options = { from: 'checkpoint', fallback: 'start', onReset: 'earliest' };
  worker.subscribe(name, options, ({ position, rows }) =>
    say({ applied: name, ...placeOf(position), batch: rows[0].batch }),
  );
}
const started = worker.start();
// Awaited when everything is written. A workload that fails before that stops the worker.
started.catch(() => {});

let next = 0;
async function keepWriting(writer) {
  while (next < Number(appends)) {
    const batch = `${seed}/${process.pid}/${writer}/${next++}`;
    const stream = streams[integer(0, 2)].name;
    const of = integer(1, stream === 'large' ? 12 : 4);
    const padding = 'x'.repeat(integer(0, stream === 'large' ? 5_000 : 100));
    const rows = Array.from({ length: of }, (_, i) => ({ batch, i, of, padding }));
    say({ begun: stream, batch, of });
    const position = await primary.append(stream, rows);
    say({ acknowledged: stream, batch, ...placeOf(position) });
    if (stream === 'plain' && integer(0, 19) === 0) {
      const upTo = Math.max(0, position.token - integer(0, 40));
      say({ trimming: stream, upTo });
      await primary.trim(stream, upTo);
      say({ trimmed: stream, upTo });
    }
    // Sometimes yields to the worker, its checkpoint, and the commits of other appends.
    if (integer(0, 3) === 0) await new Promise(setImmediate);
  }
}

try {
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => keepWriting(writer)));
  await started;
  for (const { name } of streams) await worker.waitFor(primary.position(name));
  await worker.stop();
  await primary.close();
  say({ closed: true });
} catch (error) {
  handleFailed(error);
  await worker.stop();
  await primary.close().catch(handleFailed);
}
