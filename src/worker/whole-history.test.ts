import { expect, test } from 'vitest';
import { deploy } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';

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
