import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import type { RowcastError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { fileCheckpoint, memoryCheckpoint } from './checkpoint.ts';
import { CheckpointWriter, type CheckpointWriterOptions } from './checkpoint-writer.ts';

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rowcast-checkpoint-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

const HISTORY = '8f3c1d2e4b5a6978.7.a1b2c3d4';
const positions = mapOf(
  { stream: 'events', token: 54, history: HISTORY },
  { stream: '__proto__', token: 0, history: '8f3c1d2e4b5a6978.0.00000000' },
  { stream: 'a=b,é', token: 7, history: undefined },
  { stream: '$streams', token: 3, history: HISTORY },
);

function mapOf(...all: readonly Position[]): ReadonlyMap<string, Position> {
  return new Map(all.map((position) => [position.stream, position]));
}

const eventsAt = (token: number): ReadonlyMap<string, Position> => mapOf({ stream: 'events', token, history: HISTORY });

test('a file checkpoint gives back what was saved last, and leaves no other file', async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, 'reader-1.json');
  await fileCheckpoint(path).save(eventsAt(1));
  await fileCheckpoint(path).save(positions);
  expect(await fileCheckpoint(path).load()).toEqual(positions);
  expect(await readdir(directory)).toEqual(['reader-1.json']);
});

test('a file that is not there yet is an empty checkpoint', async () => {
  expect(await fileCheckpoint(join(await temporaryDirectory(), 'none.json')).load()).toEqual(new Map());
});

test('what a crash left half written beside the file does no harm', async () => {
  const path = join(await temporaryDirectory(), 'reader-1.json');
  await fileCheckpoint(path).save(positions);
  await writeFile(`${path}.new`, '{"version":2,"pos');
  expect(await fileCheckpoint(path).load()).toEqual(positions);
  await fileCheckpoint(path).save(eventsAt(55));
  expect(await fileCheckpoint(path).load()).toEqual(eventsAt(55));
});

test.each([
  ['', 'damaged'],
  ['{"version":2,"positions"', 'damaged'],
  ['null', 'version undefined, expected 2'],
  ['{"version":1,"streams":{"events":{"token":1}}}', 'version 1, expected 2'],
  ['{"version":3,"positions":[]}', 'version 3, expected 2'],
  ['{"version":2}', 'no positions'],
  ['{"version":2,"positions":{}}', 'no positions'],
  ['{"version":2,"positions":["events=-1"]}', "a token is an integer from 0 to 2^53-1, not '-1'"],
  ['{"version":2,"positions":[null]}', 'a position is null'],
  ['{"version":2,"positions":["events=1@8f3c"]}', "'8f3c' is no history"],
  ['{"version":2,"positions":["events"]}', 'it is not a stream name, = and a token'],
])('a damaged file is an error that names it, never a fresh start: %s', async (text, why) => {
  const path = join(await temporaryDirectory(), 'reader-1.json');
  await writeFile(path, text);
  const loaded = fileCheckpoint(path).load();
  await expect(loaded).rejects.toMatchObject({ name: 'HandlerError', code: 'CHECKPOINT_FAILED' });
  await expect(loaded).rejects.toThrow(`checkpoint ${path} is damaged`);
  await expect(loaded).rejects.toThrow(why);
  expect(await readFile(path, 'utf8')).toBe(text);
});

test('a file that cannot be read or written is an error that names it', async () => {
  const directory = await temporaryDirectory();
  const path = join(directory, 'folder');
  await mkdir(path);
  await expect(fileCheckpoint(path).load()).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining(path),
  });
  await expect(fileCheckpoint(path).save(positions)).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining(path),
  });
  const nowhere = join(directory, 'no', 'such', 'folder.json');
  await expect(fileCheckpoint(nowhere).save(positions)).rejects.toMatchObject({
    code: 'CHECKPOINT_FAILED',
    message: expect.stringContaining(nowhere),
  });
});

test('a memory checkpoint keeps a copy', async () => {
  const checkpoint = memoryCheckpoint();
  expect(await checkpoint.load()).toEqual(new Map());
  const mine = new Map(eventsAt(1));
  await checkpoint.save(mine);
  mine.set('events', { stream: 'events', token: 2, history: HISTORY });
  expect(await checkpoint.load()).toEqual(eventsAt(1));
});

function writer(save: () => Promise<void>): { clock: VirtualClock; written: CheckpointWriter; errors: RowcastError[] } {
  const clock = new VirtualClock();
  const errors: RowcastError[] = [];
  const options: CheckpointWriterOptions = {
    clock,
    checkpoint: { load: async () => new Map(), save },
    positions: () => ({ positions, own: [] }),
    onSaved: () => {},
    onError: (error) => errors.push(error),
  };
  return { clock, written: new CheckpointWriter(options), errors };
}

test('positions that move within 100 ms share a write, and one write waits for the other', async () => {
  let writes = 0;
  const gate = new Gate();
  const { clock, written } = writer(async () => {
    writes++;
    await gate.opened;
  });
  written.handlePosition();
  written.handlePosition();
  expect(clock.step(clock.now() + 99)).toBe(false);
  expect(clock.step(clock.now() + 1)).toBe(true);
  expect(writes).toBe(1);
  written.handlePosition();
  clock.step(clock.now() + 1_000);
  expect(writes).toBe(1);
  const closed = written.close();
  await settle(2);
  expect(writes).toBe(1);
  gate.open();
  await closed;
  expect(writes).toBe(2);
});

test('nothing is written when nothing moved', async () => {
  let writes = 0;
  const { written } = writer(async () => void writes++);
  await written.close();
  expect(writes).toBe(0);
});

test('a write that fails is reported, and tried once more at the end', async () => {
  let writes = 0;
  const { clock, written, errors } = writer(async () => {
    if (writes++ === 0) throw new Error('disk full');
  });
  written.handlePosition();
  clock.step(clock.now() + 100);
  await settle(1);
  expect(errors).toMatchObject([{ code: 'CHECKPOINT_FAILED', message: 'cannot write the checkpoint: disk full' }]);
  expect(clock.step(clock.now() + 10_000)).toBe(false);
  await written.close();
  expect(writes).toBe(2);
  expect(errors.length).toBe(1);
});

test('a worker whose checkpoint is damaged does not start', async () => {
  const path = join(await temporaryDirectory(), 'reader-1.json');
  await writeFile(path, 'not JSON');
  const { worker } = deploy();
  const reader = worker({ checkpoint: fileCheckpoint(path) });
  await expect(reader.start()).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
  await reader.stop();
});

test('a worker whose checkpoint cannot be written says so and goes on', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [{ name: 'events', durable: true, retain: {} }] });
  const reader = worker({
    checkpoint: { load: async () => new Map(), save: async () => Promise.reject(new Error('disk full')) },
  });
  reader.subscribe('events', {}, () => {});
  await reader.start();
  const failed = once(reader, 'error');
  const token = await server.append('events', [1]);
  await reader.waitFor(token);
  const stopped = reader.stop();
  expect((await failed)[0]).toMatchObject({ name: 'HandlerError', code: 'CHECKPOINT_FAILED' });
  await stopped;
});
