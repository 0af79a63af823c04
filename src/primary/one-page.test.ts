/** A socket that has not taken a page gets no other page. That bounds the cost of a slow worker. */

import { expect, test } from 'vitest';
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

test('a page that HISTORY goes before is waited for like any other', async () => {
  const socket = new FullSocket();
  let handler: ConnectionHandler | undefined;
  const transport: Transport = {
    connect: () => expect.unreachable(),
    listen: async (address, accept) => {
      handler = accept(socket);
      return { address, close: async () => {} };
    },
  };
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
