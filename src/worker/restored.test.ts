/** A log that lost its tail, or whose file is an older copy, under workers that know more. */

import { copyFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { ADDRESS, type Deployment, deploy } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';
import { sqliteLog } from '../log/sqlite.ts';
import type { Primary } from '../primary/primary.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { Worker } from './worker.ts';

const events = defineStream<string>('events');
const streams = [events];
const LOST = ['lost 1', 'lost 2', 'lost 3'];
const NEW = ['new 1', 'new 2', 'new 3', 'new 4', 'new 5'];

async function temporaryPath(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-restored-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return join(directory, 'log.db');
}

async function appendAll(primary: Primary, rows: readonly string[]): Promise<void> {
  for (const row of rows) await primary.append(events, [row]);
}

/** A primary that writes two rows, is backed up, and writes those that are to be lost. */
async function primaryBackedUp({ primary }: Deployment, path: string, beforeLoss = async () => {}): Promise<Primary> {
  const first = await primary({ streams, log: sqliteLog({ path }) });
  await appendAll(first, ['kept 1', 'kept 2']);
  await beforeLoss();
  await first.close();
  copyFileSync(path, `${path}.backup`);
  const second = await primary({ streams, log: sqliteLog({ path }) });
  await appendAll(second, LOST);
  return second;
}

/** The backup takes its place, and has more rows than there ever were before a worker may ask. */
async function restore({ primary, transport }: Deployment, path: string): Promise<Primary> {
  copyFileSync(`${path}.backup`, path);
  const third = await primary({ streams, log: sqliteLog({ path }), transport });
  await appendAll(third, NEW);
  await third.listen(ADDRESS);
  return third;
}

function follow(reader: Worker): { readonly seen: Collector<string>; readonly resets: string[] } {
  const seen = new Collector<string>();
  const resets: string[] = [];
  reader.on('reset', ({ error }) => resets.push(error.code));
  reader.subscribe(events, { from: 'checkpoint', fallback: 'start', onReset: 'earliest' }, seen.handler);
  return { seen, resets };
}

// SPEC H4
test('a log that lost its tail and went on past its workers is a RESET, and all that it has now is delivered', async () => {
  const deployment = deploy();
  const path = await temporaryPath();
  const second = await primaryBackedUp(deployment, path);
  const reader = deployment.worker({ checkpoint: memoryCheckpoint() });
  const { seen, resets } = follow(reader);
  await reader.start();
  expect(seen.rows).toEqual(['kept 1', 'kept 2', ...LOST]);
  await second.close();
  await restore(deployment, path);
  await seen.reached(5 + 2 + NEW.length);
  expect(seen.rows.slice(5)).toEqual(['kept 1', 'kept 2', ...NEW]);
  expect(resets).toEqual(['RESET']);
});

// SPEC H5
test('a worker that has nothing of what a log lost goes on without a reset', async () => {
  const deployment = deploy();
  const path = await temporaryPath();
  const checkpoint = memoryCheckpoint();
  const before = deployment.worker({ checkpoint });
  const { seen: early } = follow(before);
  const second = await primaryBackedUp(deployment, path, async () => {
    await before.start();
    await early.reached(2);
    await before.stop();
  });
  await second.close();
  await restore(deployment, path);
  const reader = deployment.worker({ checkpoint });
  const { seen, resets } = follow(reader);
  await reader.start();
  expect(seen.rows).toEqual(NEW);
  expect(resets).toEqual([]);
});
