/** What a handler's failure leaves behind: nothing that would hold the other streams up. */

import { expect, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';

const streams = [defineStream('events'), defineStream('typing')];
const row = 'x'.repeat(200);

test('rows that come in while a failed handler gives up what waits are given up too', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  for (let i = 0; i < 60; i++) await server.append('events', [row]);
  // A few batches fill the queue, so lines wait unread behind them.
  const reader = worker({ limits: { maxQueuedBytes: 2_000 } });
  const seen = new Collector();
  reader.subscribe('events', { from: 'start' }, async ({ token }) => {
    await Promise.resolve();
    if (token === 2) throw new Error('no more of this');
  });
  reader.subscribe('typing', { from: 'start' }, seen.handler);
  await expect(reader.start()).rejects.toMatchObject({ code: 'HANDLER_FAILED' });
  await server.append('typing', ['at last']);
  await seen.reached(1);
  expect(seen.batches.map(({ rows }) => rows)).toEqual([['at last']]);
});

test('a stream that is given up before it was heard of stays away when all are followed', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams });
  const reader = worker();
  const seen = new Collector();
  reader.subscribeAll({ from: 'start' }, seen.handler);
  await reader.unsubscribe('events');
  await reader.start();
  await server.append('events', ['unwanted']);
  await server.append('typing', ['wanted']);
  await seen.reached(1);
  expect(seen.batches.map(({ stream }) => stream)).toEqual(['typing']);
  const own = new Collector();
  reader.subscribe('events', { from: 'start' }, own.handler);
  await own.reached(1);
});
