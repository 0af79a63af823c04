import { once } from 'node:events';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { Collector } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import type { RowValidator } from '../core/model/row.ts';
import { defineStream } from '../core/model/stream.ts';

const Fact = z.object({ id: z.number().int() });
const events = defineStream('events', { row: Fact });
const unchecked = defineStream('events');
const receipts = defineStream('receipts');

test('a row that the validator refuses is not appended, nor is its batch', async () => {
  const { primary } = deploy();
  const server = await primary({ streams: [events] });
  const refused = server.append('events', [{ id: 1 }, { id: 'two' }]);
  await expect(refused).rejects.toMatchObject({ name: 'UsageError', code: 'INVALID_ROW' });
  await expect(refused).rejects.toThrow(/^row 1 of the batch is not a row of stream events: id: /);
  expect(server.status().streams[0]!.latest).toBe(0);
  expect(await server.append(events, [{ id: 1 }])).toMatchObject({ token: 1 });
});

test('a row that the validator refuses on receipt ends the subscription, position unmoved, and is not skipped', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [unchecked, receipts] });
  const reader = worker();
  const seen = new Collector<z.infer<typeof Fact>>();
  const others = new Collector();
  reader.subscribe(events, { from: 'start' }, seen.handler);
  reader.subscribe(receipts, { from: 'start' }, others.handler);
  await reader.start();
  const failed = once(reader, 'error');
  await server.append(unchecked, [{ id: 1 }]);
  await server.append(unchecked, [{ id: 2 }, { id: 'three' }]);
  await server.append(unchecked, [{ id: 4 }]);
  await server.append(receipts, ['fine']);
  const [error] = await failed;
  expect(error).toMatchObject({ name: 'PeerError', code: 'INVALID_ROW' });
  expect(error.message).toMatch(/^token 2: row 1 of the batch is not a row of stream events: id: /);
  await others.reached(1);
  await settle();
  expect(seen.tokens).toEqual([1]);
  expect(reader.position(events)?.token).toBe(1);
});

test('a loop is thrown the row that the validator refuses', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [unchecked] });
  await server.append(unchecked, [{ id: 'one' }]);
  await expect(worker().follow(events, { from: 'start' }).next()).rejects.toMatchObject({
    name: 'PeerError',
    code: 'INVALID_ROW',
  });
});

test('subscribers get what the validator makes of a row; on the wire stands what was appended', async () => {
  const { primary, worker } = deploy();
  const stream = defineStream('events', { row: z.object({ at: z.coerce.date(), kind: z.string().default('note') }) });
  const server = await primary({ streams: [stream] });
  const reader = worker();
  const checked = new Collector();
  const raw = new Collector();
  reader.subscribe(stream, { from: 'start' }, checked.handler);
  const other = worker({ name: 'reader-2' });
  other.subscribe('events', { from: 'start' }, raw.handler);
  await server.append('events', [{ at: '2020-01-01T00:00:00.000Z' }]);
  await reader.start();
  await other.start();
  expect(checked.rows).toEqual([{ at: new Date('2020-01-01T00:00:00.000Z'), kind: 'note' }]);
  expect(raw.rows).toEqual([{ at: '2020-01-01T00:00:00.000Z' }]);
});

const slowFact = z.object({ id: z.number() }).refine(async ({ id }) => {
  await settle(1);
  return id > 0;
}, 'must be above 0');

test('a validator may be asynchronous: on append and on receipt', async () => {
  const { primary, worker } = deploy();
  const stream = defineStream('events', { row: slowFact });
  const server = await primary({ streams: [stream] });
  await expect(server.append(stream, [{ id: 0 }])).rejects.toMatchObject({
    code: 'INVALID_ROW',
    message: expect.stringContaining('must be above 0'),
  });
  const reader = worker();
  const seen = new Collector<{ id: number }>();
  reader.subscribe(stream, { from: 'start' }, seen.handler);
  await reader.start();
  await Promise.all([1, 2, 3].map(async (id) => server.append(stream, [{ id }])));
  await seen.reached(3);
  expect(seen.tokens).toEqual([1, 2, 3]);
  await reader.stop();
  const lenient = await deploy().primary({ streams: [unchecked] });
  await lenient.append(unchecked, [{ id: 0 }]);
});

test('what an asynchronous validator saw is what is appended, whatever the caller does to the row meanwhile', async () => {
  const { primary, worker } = deploy();
  const stream = defineStream('events', { row: slowFact });
  const server = await primary({ streams: [stream] });
  const row = { id: 1 };
  const appended = server.append(stream, [row]);
  row.id = -1;
  await appended;
  const reader = worker();
  const seen = new Collector();
  reader.subscribe('events', { from: 'start' }, seen.handler);
  await reader.start();
  expect(seen.rows).toEqual([{ id: 1 }]);
});

test.each([
  [
    'at once',
    (): never => {
      throw new Error('no schema');
    },
  ],
  ['by its promise', async () => Promise.reject(new Error('no schema'))],
])('a validator that throws %s is an INVALID_ROW too', async (_, validate) => {
  const { primary, worker } = deploy();
  const broken: RowValidator = { '~standard': { version: 1, vendor: 'test', validate } };
  const server = await primary({ streams: [defineStream('broken', { row: broken }), unchecked] });
  await expect(server.append('broken', [1, 2])).rejects.toMatchObject({
    name: 'UsageError',
    code: 'INVALID_ROW',
    message: 'the validator of stream broken threw: no schema',
  });
  await server.append(unchecked, [1, 2]);
  const loop = worker().follow(defineStream('events', { row: broken }), { from: 'start' });
  await expect(loop.next()).rejects.toMatchObject({
    name: 'PeerError',
    code: 'INVALID_ROW',
    message: 'token 1: the validator of stream events threw: no schema',
  });
});
