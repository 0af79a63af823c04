/**
 * A session sends no other page while its socket has not taken the last one. That bounds the cost
 * of a slow worker.
 */

import { expect, test } from 'vitest';
import { defaultPrimaryLimits } from '../core/wire/limits.ts';
import { MAX_CHUNK_BYTES } from '../log/encode-chunks.ts';
import { memoryLog } from '../log/memory.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Connection, ConnectionHandler, Transport } from '../transport/transport.ts';
import { createPrimary } from './primary.ts';

/** Takes lines at once until a page comes, which waits. */
class FullSocket implements Connection {
  readonly peer = 'a slow worker';
  readonly unsentBytes = 0;
  readonly pages: string[] = [];
  isFull = false;

  write(bytes: Uint8Array): boolean {
    const text = Buffer.from(bytes).toString('utf8');
    if (text.startsWith('RDATA')) {
      this.pages.push(text.split(' ', 2)[1]!);
      this.isFull = true;
    }
    return !this.isFull;
  }

  cork(): void {}
  uncork(): void {}
  pause(): void {}
  resume(): void {}
  close(): void {}
  abort(): void {}
}

/** Lets one peer in, whose socket is the test's. */
function transportOf(socket: Connection, letIn: (handler: ConnectionHandler) => void): Transport {
  return {
    connect: () => expect.unreachable(),
    listen: async (address, accept) => {
      letIn(accept(socket));
      return { address, close: async () => {} };
    },
  };
}

// SPEC B18
test('one that reads nothing holds at most pageBytes and MAX_CHUNK_BYTES, however small or large rows are', async () => {
  for (const [row, count] of [
    ['x', 8_000],
    ['x'.repeat(500), 3_000],
    ['ü'.repeat(30_000), 40],
    ['x'.repeat(200_000), 8],
  ] as const) {
    let held = 0;
    const socket = new FullSocket();
    socket.write = (bytes) => {
      held += bytes.length;
      return false;
    };
    let handler: ConnectionHandler | undefined;
    const primary = await createPrimary({
      name: 'example.com',
      log: memoryLog(),
      streams: [defineStream('events')],
      transport: transportOf(socket, (one) => (handler = one)),
    });
    // All at once, so that they share chunks.
    await Promise.all(Array.from({ length: count }, () => primary.append('events', [row])));
    await primary.listen({ path: '/primary' });
    handler!.handleOpen();
    held = 0;
    handler!.handleBytes(Buffer.from('REPLICATE events 0\n'));
    await new Promise((resolve) => void setImmediate(resolve));
    expect(held).toBeGreaterThan(60_000);
    expect(held).toBeLessThanOrEqual(defaultPrimaryLimits.pageBytes + MAX_CHUNK_BYTES);
    handler!.handleClosed();
    await primary.close();
  }
});

test('a page that HISTORY goes before is waited for like any other', async () => {
  const socket = new FullSocket();
  let handler: ConnectionHandler | undefined;
  const transport = transportOf(socket, (one) => (handler = one));
  const streams = [defineStream('events'), defineStream('typing')];
  const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams, transport });
  for (const { name } of streams) await primary.append(name, ['x'.repeat(100)]);
  await primary.listen({ path: '/primary' });
  handler!.handleOpen();
  handler!.handleBytes(Buffer.from('NAME w\nPING 1 rowcast/2\nREPLICATE events START\nREPLICATE typing START\n'));
  expect(socket.pages).toEqual(['events']);
  await new Promise((resolve) => void setImmediate(resolve));
  socket.isFull = false;
  handler!.handleDrained();
  await new Promise((resolve) => void setImmediate(resolve));
  expect(socket.pages).toEqual(['events', 'typing']);
  handler!.handleClosed();
  await primary.close();
});
