/** Batches that are tried again while streams, subscriptions and connections come and go. */

import { once } from 'node:events';
import { expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { memoryCheckpoint } from './checkpoint.ts';

const rooms = defineStreams<number>('room:*');
const onError = { retry: { times: Infinity, backoffMs: 0 } };

/** A worker whose handler refuses row 1 until it is mended. */
async function refusing() {
  const { primary, worker, transport } = deploy();
  const server = await primary({ streams: [rooms] });
  const reader = worker({ checkpoint: memoryCheckpoint() });
  const got: number[] = [];
  const failed = new Gate();
  const state = { isMended: false };
  const handler = ({ rows }: { readonly rows: readonly unknown[] }): void => {
    if (rows[0] === 1 && !state.isMended) {
      failed.open();
      throw new Error('not yet');
    }
    got.push(rows[0] as number);
  };
  return { server, reader, transport, got, failed, state, handler };
}

test('a batch is tried on across a lost connection, and what comes after waits for it', async () => {
  const { server, reader, transport, got, failed, state, handler } = await refusing();
  reader.subscribe('room:1', { fallback: 'start', onError }, handler);
  for (const row of [1, 2]) await server.append('room:1', [row]);
  const started = reader.start();
  await failed.opened;
  const lost = once(reader, 'disconnected');
  transport.cutAll();
  await lost;
  await server.append('room:1', [3]);
  await settle();
  expect(got).toEqual([]);
  state.isMended = true;
  await started;
  await reader.waitFor(server.position('room:1'));
  expect(got).toEqual([1, 2, 3]);
});

test('a stream that is deleted and made again meanwhile goes on anew once the batch is applied', async () => {
  const { server, reader, got, failed, state, handler } = await refusing();
  reader.subscribeMatching('room:*', { fallback: 'start', onError }, handler);
  await server.append('room:1', [1]);
  const started = reader.start();
  await failed.opened;
  await server.delete('room:1');
  await server.append('room:1', [4]);
  const reset = once(reader, 'reset');
  await settle();
  expect(got).toEqual([]);
  state.isMended = true;
  await reset;
  await started;
  await reader.waitFor(server.position('room:1'));
  expect(got).toEqual([1, 4]);
});

test('a subscription that is left and begun again meanwhile gives the batch to its new handler alone', async () => {
  const { server, reader, got, failed, state, handler } = await refusing();
  reader.subscribe('room:1', { fallback: 'start', onError }, handler);
  for (const row of [1, 2]) await server.append('room:1', [row]);
  reader.start().catch(() => {});
  await failed.opened;
  void reader.unsubscribe('room:1');
  state.isMended = true;
  const again: unknown[] = [];
  reader.subscribe('room:1', { from: 'checkpoint', fallback: 'start' }, ({ rows }) => void again.push(rows[0]));
  await reader.start();
  expect({ got, again }).toEqual({ got: [], again: [1, 2] });
});
