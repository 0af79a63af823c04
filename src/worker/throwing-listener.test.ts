/** A listener of the application that throws: the error is uncaught, and our own work goes on. */

import { expect, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';

const events = defineStream('events');

function nextUncaught(): Promise<unknown> {
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  return new Promise((resolve) => {
    process.once('uncaughtException', (thrown) => {
      for (const listener of before) process.on('uncaughtException', listener);
      resolve(thrown);
    });
  });
}

const bug = new Error('a bug of the application');

test('a worker whose listener of `disconnected` throws connects again', async () => {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  const seen = new Collector();
  reader.subscribe(events, { from: 'now' }, seen.handler);
  await reader.start();
  reader.once('disconnected', () => {
    throw bug;
  });
  const thrown = nextUncaught();
  transport.cutAll();
  expect(await thrown).toBe(bug);
  await server.append(events, ['after']);
  await seen.reached(1);
});

test('a primary whose listener of `disconnected` throws can be closed', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [events] });
  const reader = worker();
  reader.subscribe(events, { from: 'now' }, () => {});
  await reader.start();
  server.once('disconnected', () => {
    throw bug;
  });
  const thrown = nextUncaught();
  await server.close();
  expect(await thrown).toBe(bug);
});

test('a listener of `appended` that throws is uncaught, not an unhandled rejection', async () => {
  const { primary } = deploy();
  const server = await primary({ streams: [events] });
  server.once('appended', () => {
    throw bug;
  });
  const thrown = nextUncaught();
  await server.append(events, ['one']);
  expect(await thrown).toBe(bug);
});
