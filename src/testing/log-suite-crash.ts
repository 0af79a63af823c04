/**
 * The part of the log suite on crashes: a writing process is killed, and every append that it
 * acknowledged must be there.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { randomInteger, systemRandom } from '../base/random.ts';
import type { LogPlace, StoredBatch, TestAt } from './log-suite-place.ts';
import { type Acknowledged, type WrittenRow, writtenStreams } from './log-writer.ts';

const KILLS = 3;
/** Enough that the kill hits any part of a commit, few enough to be quick. */
const MOST_ACKNOWLEDGED = 150;

export function registerCrash(testAt: TestAt, writer: (directory: string) => readonly string[]): void {
  testAt('after a kill -9 at any moment every acknowledged batch is there and none is half there', async (place) => {
    const acknowledged: Acknowledged[] = [];
    // All in one directory: the next writer starts from the remains of a kill.
    for (let kill = 0; kill < KILLS; kill++) {
      acknowledged.push(...(await writeAndKill(writer(place.directory))));
      await assertAllThere(place, acknowledged);
    }
  });
}

/**
 * Runs a writer until it has acknowledged some appends, and kills it. Returns everything that it
 * had acknowledged.
 */
async function writeAndKill([command = '', ...args]: readonly string[]): Promise<Acknowledged[]> {
  const process = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const killAt = randomInteger(systemRandom, 1, MOST_ACKNOWLEDGED);
  const acknowledged: Acknowledged[] = [];
  const ended = new Promise<NodeJS.Signals | null>((resolve, reject) =>
    process.on('error', reject).on('close', (_code, signal) => resolve(signal)),
  );
  createInterface({ input: process.stdout }).on('line', (line) => {
    acknowledged.push(JSON.parse(line) as Acknowledged);
    if (acknowledged.length === killAt) process.kill('SIGKILL');
  });
  assert.equal(await ended, 'SIGKILL', 'the writer to write until it is killed');
  return acknowledged;
}

async function assertAllThere(place: LogPlace, acknowledged: readonly Acknowledged[]): Promise<void> {
  const log = await place.open(writtenStreams);
  const found = new Map<string, string>();
  for (const { name } of writtenStreams) {
    for (const batch of await place.readAll(name)) found.set(`${name} ${batch.token}`, wholeBatch(batch));
  }
  for (const { stream, token, batch } of acknowledged) {
    assert.equal(
      found.get(`${stream} ${token}`),
      batch,
      `token ${token} of stream ${stream}, one of ${acknowledged.length} acknowledged batches`,
    );
  }
  await log.close();
}

/** @returns the name of the batch */
function wholeBatch({ token, rows }: StoredBatch): string {
  const written = rows.map((row) => JSON.parse(row) as WrittenRow);
  const [first] = written;
  assert.ok(
    first !== undefined && first.of === rows.length,
    `all rows of batch ${token}, not ${rows.length} of ${first?.of}`,
  );
  for (const [i, row] of written.entries())
    assert.deepEqual({ ...row, padding: '' }, { batch: first.batch, i, of: first.of, padding: '' });
  return first.batch;
}
