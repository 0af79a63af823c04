/** `rowcast append` toward a primary that has no room for its upload. */

import { request } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { RunningCommand } from '../../test/support/fake-terminal.ts';
import { settle } from '../../test/support/deployment.ts';
import { type AdminServer, listenAdmin } from '../admin/server.ts';
import { BYTES_AROUND_UPLOAD } from '../admin/upload-budget.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import { parseBatches } from '../testing/log-suite-place.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { UnsettledRows } from './unsettled-rows.ts';

const KB = 1024;

async function setUp(uploadBytes: number) {
  const log = memoryLog();
  const streams = [defineStream('events')];
  const transport = createMemoryTransport();
  const primary: Primary = await createPrimary({ name: 'example.com', log, streams, transport });
  onTestFinished(() => primary.close());
  const server: AdminServer = await listenAdmin({ primary, host: '127.0.0.1', port: 0, limits: { uploadBytes } });
  onTestFinished(() => server.close());
  const rows = async (): Promise<string[]> => {
    const page = await log.read('events', { after: 0, maxBytes: 10_000_000 });
    return parseBatches(page).flatMap((batch) => batch.rows);
  };
  return { primary, port: server.address.port, rows };
}

// SPEC A7
test('waits for room, goes on after what is appended, and each row is appended once and in order', async () => {
  const { port, rows } = await setUp(2 * BYTES_AROUND_UPLOAD + 200 * KB);
  // Another upload holds most of the room with a batch that is not whole.
  const holder = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/streams/events/rows?batch=10000',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  holder.on('error', () => {});
  holder.write(`"${'h'.repeat(KB)}"\n`.repeat(150));
  await settle(100);
  const append = new RunningCommand([
    'append',
    'events',
    '--batch',
    '10',
    '--id-prefix',
    'once',
    '--json',
    '--admin',
    `127.0.0.1:${port}`,
  ]);
  const small = Array.from({ length: 25 }, (_, i) => `${i}`);
  // The third batch does not fit beside the other upload.
  const large = Array.from({ length: 20 }, (_, i) => `"${i}${'x'.repeat(5 * KB)}"`);
  append.stdin.write(`${small.join('\n')}\n\n`);
  await settle(100);
  append.stdin.write(`${large.join('\n')}\n`);
  await append.saw(/waiting for room/);
  expect((await rows()).length).toBeGreaterThanOrEqual(20);
  holder.destroy();
  append.stdin.end('"last"');
  expect(await append.ended).toBe(0);
  expect(await rows()).toEqual([...small, ...large, '"last"']);
  expect(JSON.parse(append.out)).toMatchObject({ rows: 46, repeatedRows: 0 });
  expect(append.err.match(/waiting for room/g)).toHaveLength(1);
});

test('can be interrupted while it waits, and says what is appended', async () => {
  const { port } = await setUp(BYTES_AROUND_UPLOAD);
  const holder = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/streams/events/rows',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  holder.on('error', () => {});
  holder.flushHeaders();
  await settle(100);
  const append = new RunningCommand(['append', 'events', '--admin', `127.0.0.1:${port}`]);
  append.stdin.write('1\n');
  await append.saw(/waiting for room/);
  expect(await append.stop()).toBe(1);
  expect(append.err).toMatch(/interrupted; 0 of \d rows? sent are surely appended/);
  holder.destroy();
});

async function textOf(body: AsyncIterable<Uint8Array>, bytes: number): Promise<string> {
  let text = '';
  for await (const piece of body) {
    text += Buffer.from(piece).toString();
    if (text.length >= bytes) break;
  }
  return text;
}

test('rows that are not known to be appended come again in the next body, at every place', async () => {
  const text = '1\n\n22\n \t\r\n333\n4';
  for (let cut = 0; cut <= text.length; cut++) {
    for (let appended = 0; appended <= 3; appended++) {
      const stdin = new PassThrough();
      const rows = new UnsettledRows(stdin, () => {});
      stdin.write(text.slice(0, cut));
      stdin.end(text.slice(cut));
      expect(await textOf(rows.body(), Infinity)).toBe(text);
      rows.handleAppended(appended);
      expect(rows.firstLine).toBe([1, 2, 4, 6][appended]);
      const rest = ['1\n\n22\n \t\r\n333\n4', '\n22\n \t\r\n333\n4', ' \t\r\n333\n4', '4'][appended]!;
      expect(await textOf(rows.body(), Infinity)).toBe(rest);
      rows.close();
    }
  }
});
