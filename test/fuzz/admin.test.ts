/** Bodies and queries of the admin port, changed anyhow: each gets rows appended, or an answer that says why not. */

import { expect, test } from 'vitest';
import { type Random, randomInteger } from '../../src/base/random.ts';
import { createAdmin } from '../../src/admin/admin.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary } from '../../src/primary/primary.ts';
import { createMemoryTransport } from '../../src/transport/memory.ts';
import { happens, maybeMutated, pick, pieces } from './mutations.ts';
import { ROUNDS_TIMEOUT_MS, runRounds } from './rounds.ts';

test('the admin port answers anything with a code, and appends only whole batches', {
  timeout: ROUNDS_TIMEOUT_MS,
}, async () => {
  await runRounds(round, 0.3);
});

async function round(random: Random): Promise<void> {
  const primary = await createPrimary({
    name: 'example.com',
    log: memoryLog(),
    streams: [defineStream('events')],
    transport: createMemoryTransport(),
    limits: { maxLineBytes: 1_000, maxBatchBytes: 5_000 },
  });
  const admin = createAdmin({ primary });
  const batch = pick(random, [1, 3]);
  for (let i = 0; i < 5; i++) {
    const before = primary.position('events').token;
    const rows = Array.from({ length: randomInteger(random, 0, 12) }, (_, n) =>
      JSON.stringify([n, 'x'.repeat(n * 10)]),
    );
    const body = Buffer.concat(rows.map((row) => maybeMutated(random, row, 0.1)));
    const query = happens(random, 0.2)
      ? Buffer.from(maybeMutated(random, `batch=${batch}`, 1)).toString('latin1')
      : `batch=${batch}`;
    const response = await admin.request(`http://127.0.0.1:9093/streams/events/rows?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: ReadableStream.from(pieces(random, body)),
      ...({ duplex: 'half' } as object),
    });
    const answer = (await response.json()) as { readonly error?: { readonly code: string } };
    const { token } = primary.position('events');
    if (response.status === 200) expect(token).toBeGreaterThanOrEqual(before);
    else {
      expect(response.status, JSON.stringify(answer)).toBeLessThan(500);
      expect(answer.error?.code).toMatch(/^[A-Z\d_]+$/);
    }
  }
  await primary.close();
}
