import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { listen } from '../../../test/support/http-suite.ts';
import { goneSignal } from './node.ts';

test('a client that left while another middleware was at it is gone from the start', async () => {
  const server = createServer();
  const client = new AbortController();
  const answer = fetch(await listen(server), { signal: client.signal });
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
  const closed = once(response, 'close');
  expect(goneSignal(response).aborted).toBe(false);
  client.abort();
  await expect(answer).rejects.toHaveProperty('name', 'AbortError');
  await closed;
  expect(goneSignal(response).aborted).toBe(true);
});
