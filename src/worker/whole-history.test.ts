import { once } from 'node:events';
import { expect, test } from 'vitest';
import { deploy } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { at, ERA, rowcast } from '../../test/support/worker-ends.ts';
import { defineStreams } from '../core/model/declarations.ts';
import type { RowcastError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryCheckpoint } from './checkpoint.ts';
import type { SubscribeOptions } from './options.ts';
import { createWorker, type Worker } from './worker.ts';

test('from: 0 asks for the whole history: GAP where rows were dropped, while start gives what is kept', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineStream('events'), defineStream('whole')] });
  for (const row of [1, 2, 3, 4]) for (const stream of ['events', 'whole']) await server.append(stream, [row]);
  await server.trim('events', 2);
  const reader = worker();
  const seen: unknown[] = [];
  const partial = reader.subscribe('events', { from: 0 }, () => {});
  reader.subscribe('whole', { from: 0 }, ({ rows }) => void seen.push(...rows));
  const ended = expect(partial.done).rejects.toMatchObject({ code: 'GAP', facts: { stream: 'events', earliest: 3 } });
  reader.start().catch(() => {});
  await ended;
  await expect.poll(() => seen).toEqual([1, 2, 3, 4]);
});

/** Notes what the worker tells, in order with the rows. */
function record(reader: Worker, how: string, options: SubscribeOptions): string[] {
  const told: string[] = [];
  reader.on('trimmed', ({ stream, earliest }) => told.push(`${stream} trimmed ${earliest}`));
  reader.on('reset', ({ stream, error }) => told.push(`${stream} ${error.code}`));
  const handler = ({ stream, rows }: { stream: string; rows: readonly unknown[] }): void =>
    void told.push(`${stream} ${rows.join()}`);
  if (how === 'by pattern') reader.subscribeMatching('room:*', options, handler);
  else for (const stream of ['room:1', 'room:2']) reader.subscribe(stream, options, handler);
  return told;
}

const rooms = defineStreams('room:*');
const of = (told: readonly string[], stream: string): string[] => told.filter((text) => text.startsWith(stream));

// SPEC S20
test.each(['by name', 'by pattern'])(
  'a stream that is read from its start tells before its rows that some were dropped, once, and not when it resumes (%s)',
  async (how) => {
    const { primary, worker, transport } = deploy();
    const server = await primary({ streams: [rooms] });
    for (const row of [1, 2, 3]) await server.append('room:1', [row]);
    await server.trim('room:1', 2);
    // Nothing was dropped here: the first token is the application's own.
    await server.append('room:2', ['own'], { token: 100 });
    const checkpoint = memoryCheckpoint();
    const options = { from: 'checkpoint', fallback: 'start' } as const;
    const first = worker({ checkpoint });
    const told = record(first, how, options);
    await first.start();
    const cut = once(first, 'disconnected');
    transport.cutAll();
    await cut;
    await first.waitFor(await server.append('room:1', [4]));
    await first.waitFor(server.position('room:2'));
    expect(of(told, 'room:1')).toEqual(['room:1 trimmed 3', 'room:1 3', 'room:1 4']);
    expect(of(told, 'room:2')).toEqual(['room:2 own']);
    await first.stop();
    const later = worker({ checkpoint });
    const toldLater = record(later, how, options);
    await later.start();
    await later.waitFor(await server.append('room:1', [5]));
    expect(toldLater).toEqual(['room:1 5']);
  },
);

test('a stream of which nothing is kept tells so too, and one that was deleted and made again is whole', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [rooms] });
  for (const stream of ['room:1', 'room:2']) for (const row of [1, 2]) await server.append(stream, [row]);
  await server.trim('room:1', 2);
  await server.trim('room:2', 1);
  await server.delete('room:2');
  await server.append('room:2', ['again']);
  const reader = worker();
  const told = record(reader, 'by name', { from: 'start' });
  await reader.start();
  await reader.waitFor(await server.append('room:1', [3]));
  expect(of(told, 'room:1')).toEqual(['room:1 trimmed 3', 'room:1 3']);
  expect(of(told, 'room:2')).toEqual(['room:2 again']);
});

test('a reset that goes on at the earliest row tells what is missing there', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [rooms] });
  const position = await server.append('room:1', [1]);
  for (const row of [2, 3]) await server.append('room:1', [row]);
  await server.trim('room:1', 2);
  const reader = worker();
  const told: string[] = record(reader, 'by pattern', { from: 'now' });
  reader.subscribe(
    'room:1',
    { from: position, onReset: 'earliest' },
    ({ rows }) => void told.push(`room:1 ${rows.join()}`),
  );
  await reader.start();
  expect(told).toEqual(['room:1 GAP', 'room:1 trimmed 3', 'room:1 3']);
});

test('a pattern from 0 wants the whole history of each of its streams: GAP where rows were dropped', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [rooms] });
  for (const stream of ['room:1', 'room:2']) for (const row of [1, 2]) await server.append(stream, [row]);
  await server.trim('room:1', 1);
  for (const options of [{ from: 0 }, { from: 0, onReset: 'earliest' }] as const) {
    const reader = worker();
    const told = record(reader, 'by pattern', options);
    reader.start().catch(({ code }: RowcastError) => told.push(`room:1 failed ${code}`));
    await reader.waitFor(server.position('room:2'));
    const end = 'onReset' in options ? ['room:1 GAP', 'room:1 trimmed 2', 'room:1 2'] : ['room:1 failed GAP'];
    await expect.poll(() => of(told, 'room:1')).toEqual(end);
    expect(of(told, 'room:2')).toEqual(['room:2 1', 'room:2 2']);
    await reader.stop();
  }
});

test('a cut before the first row tells it once, and a page without rows hides nothing', async () => {
  const primary = new ScriptedPrimary();
  const reader = createWorker({
    name: 'reader',
    connect: { host: '127.0.0.1', port: 1 },
    transport: primary.transport,
    limits: { minBackoffMs: 1, maxBackoffMs: 1 },
  });
  const told = record(reader, 'by name', { from: 'start' });
  reader.start().catch(() => {});
  const connect = async (lines: readonly string[]): Promise<void> => {
    await expect.poll(() => primary.isAwaited).toBe(true);
    primary.open();
    primary.send(['SERVER example.com', `PING ${rowcast(ERA)}`, ...lines]);
  };
  await connect([`HISTORY room:1 4 ${ERA}`]);
  primary.cut();
  await connect([`HISTORY room:1 4 ${ERA}`, `HISTORY room:1 7 ${ERA}`, 'RDATA room:1 8 "a"']);
  primary.send([`HISTORY room:2 0 ${ERA}`, `POSITION room:2 9 ${ERA}`]);
  expect(of(told, 'room:1')).toEqual(['room:1 trimmed 5', 'room:1 a']);
  expect(of(told, 'room:2')).toEqual([]);
  expect(reader.position('room:2')).toEqual(at('room:2', 9));
  const stopped = reader.stop();
  primary.cut();
  await stopped;
});
