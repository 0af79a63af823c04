/** Rows whose lines come whole and cannot be read: only their stream is affected. */

import { once } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { ScriptedPrimary } from '../../test/support/scripted-primary.ts';
import { ERA, ORIGIN, ROWCAST, SYNAPSE } from '../../test/support/worker-ends.ts';
import type { RowcastError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Failure } from './failures.ts';
import type { SubscribeOptions, WorkerOptions } from './options.ts';
import { createWorker, type Worker } from './worker.ts';

const LIMIT = 1_000;
const LONG = `"${'x'.repeat(5 * LIMIT)}"`;

interface Scene {
  readonly primary: ScriptedPrimary;
  readonly worker: Worker;
  /** The error that ends the subscription of `events`. */
  readonly ended: Promise<unknown>;
  readonly events: Collector;
  readonly others: Collector;
  readonly failures: Failure[];
}

/** A worker that follows `events` and `others` at a primary of the test. */
async function scene(
  options: Partial<SubscribeOptions> = {},
  { greeting = ROWCAST, ...more }: Partial<WorkerOptions> & { greeting?: string } = {},
): Promise<Scene> {
  const primary = new ScriptedPrimary();
  const worker = createWorker({
    name: 'reader',
    connect: { host: '127.0.0.1', port: 1 },
    transport: primary.transport,
    ...more,
    limits: { maxLineBytes: LIMIT, minBackoffMs: 1, maxBackoffMs: 1, ...more.limits },
  });
  onTestFinished(() => void worker.stop());
  const failures: Failure[] = [];
  const onError = (failure: Failure): 'skip' => {
    failures.push(failure);
    return 'skip';
  };
  const events = new Collector();
  const others = new Collector();
  const subscription = worker.subscribe('events', { from: 'start', onError, ...options }, events.handler);
  const ended = subscription.done.catch((error: unknown) => error);
  worker.subscribe('others', { from: 'start' }, others.handler);
  worker.start().catch(() => {});
  await settle(1);
  primary.open();
  primary.send(['SERVER example.com', `PING ${greeting}`]);
  primary.takeLines();
  if (greeting === ROWCAST) primary.send([`HISTORY events 0 ${ERA}`, `HISTORY others 0 ${ERA}`]);
  else primary.send(['POSITION events 0', 'POSITION others 0']);
  return { primary, worker, ended, events, others, failures };
}

const bad: [string, string | Buffer, string, RegExp, string][] = [
  [
    'is not JSON',
    '[1,',
    'INVALID_ROW',
    /^stream events, token 2, row 1 of the batch: it is not JSON, or nested too deeply$/,
    '[1,',
  ],
  [
    'is over maxLineBytes',
    LONG,
    'LINE_TOO_LONG',
    /its line of 50\d\d bytes is over maxLineBytes 1000 of this worker: raise it to that of the primary$/,
    '',
  ],
  ['is not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'INVALID_UTF8', /it is not UTF-8$/, '"\ufffd"'],
];

function bytesOf(row: string | Buffer): Buffer {
  return Buffer.isBuffer(row) ? row : Buffer.from(row);
}

/** The batch of token 2, whose second row is bad, between two good ones. */
function linesAround(row: string | Buffer): Buffer {
  return Buffer.concat([
    Buffer.from('RDATA events 1 [1]\nRDATA events batch [2]\nRDATA events batch '),
    bytesOf(row),
    Buffer.from('\nRDATA events 2 [4]\nRDATA others 1 "o"\nRDATA events 3 [5]\n'),
  ]);
}

describe.each(bad)('a row that %s', (_what, row, code, text, kept) => {
  test.each([1_000_000, 700, 64, 1])(
    'concerns its batch alone, which onError skips, in chunks of %i bytes',
    async (size) => {
      const { primary, worker, events, others, failures } = await scene();
      const skipped = once(worker, 'skipped');
      const bytes = linesAround(row);
      for (let at = 0; at < bytes.length; at += size) primary.sendBytes(bytes.subarray(at, at + size));
      await skipped;
      await events.reached(2);
      expect(events.tokens).toEqual([1, 3]);
      expect(others.rows).toEqual(['o']);
      expect(failures).toMatchObject([{ stream: 'events', token: 2, rows: ['[2]', kept, '[4]'], error: { code } }]);
      expect(failures[0]!.error.message).toMatch(text);
      expect(primary.isLeft).toBe(false);
    },
  );

  // SPEC B12
  test('stops its stream by default, which is released; the connection and the other streams go on', async () => {
    const { primary, worker, ended, events, others } = await scene({ onError: 'stop' });
    primary.sendBytes(linesAround(row));
    const error = await ended;
    expect(error).toMatchObject({ name: 'PeerError', code, facts: { stream: 'events', token: 2, attempt: 1 } });
    expect(primary.takeLines()).toContain('RELEASE events');
    primary.send(['RDATA events 4 [6]', 'RELEASED events', 'RDATA others 2 "p"']);
    await others.reached(2);
    expect(events.tokens).toEqual([1]);
    expect(worker.position('events')?.token).toBe(1);
    expect(primary.isLeft).toBe(false);
  });

  test('from a primary that is not Rowcast is the same, and further rows of the stream are dropped', async () => {
    const { primary, ended, others } = await scene({ onError: 'stop' }, { greeting: SYNAPSE });
    primary.sendBytes(linesAround(row));
    expect(await ended).toMatchObject({ code });
    primary.send(['RDATA events 4 [6]', 'RDATA others 2 "p"']);
    await others.reached(2);
    expect(primary.isLeft).toBe(false);
  });
});

test('a row over maxLineBytes says in fields how long it is, which limit, and the option', async () => {
  const { primary, ended } = await scene({ onError: 'stop' });
  primary.send([`RDATA events 7 ${LONG}`]);
  expect(((await ended) as RowcastError).facts).toMatchObject({
    stream: 'events',
    token: 7,
    bytes: 'RDATA events 7 '.length + LONG.length,
    limit: LIMIT,
    option: 'maxLineBytes',
  });
});

test('a batch over maxBatchBytes by itself stops its stream alone, at the token of its last row', async () => {
  const limits = { maxLineBytes: LIMIT, maxBatchBytes: 2_000 };
  const { primary, ended, others } = await scene({ onError: 'stop' }, { limits });
  const rows = Array.from({ length: 20 }, () => `RDATA events batch "${'x'.repeat(700)}"`);
  primary.send([...rows, 'RDATA events 9 [1]', 'RDATA others 1 "o"']);
  expect(await ended).toMatchObject({
    code: 'BATCH_TOO_LARGE',
    message: expect.stringMatching(/^stream events, token 9, the batch: it takes over maxBatchBytes 2000 /),
    facts: { token: 9, limit: 2_000, option: 'maxBatchBytes' },
  });
  await others.reached(1);
  expect(primary.isLeft).toBe(false);
});

test('a row over the limit is not held in memory: only a line over maxBatchBytes ends the connection', async () => {
  const { primary, worker } = await scene({}, { limits: { maxLineBytes: LIMIT, maxBatchBytes: 1024 * 1024 } });
  const lost = once(worker, 'disconnected');
  primary.sendBytes(Buffer.from('RDATA events 1 "'));
  const piece = Buffer.alloc(64 * 1024, 'x');
  for (let i = 0; i < 15; i++) primary.sendBytes(piece);
  expect(primary.isLeft).toBe(false);
  for (let i = 0; i < 2; i++) primary.sendBytes(piece);
  expect(primary.isLeft).toBe(true);
  primary.cut();
  expect((await lost)[0].error).toMatchObject({ code: 'LINE_TOO_LONG' });
});

test('a line over the limit that is no row ends the connection, says which option, and waits longer each time', async () => {
  const limits = { maxLineBytes: LIMIT, minBackoffMs: 1, maxBackoffMs: 10_000 };
  const { primary, worker } = await scene({}, { limits, random: { next: () => 1, nextBits: () => 1 } as never });
  const waits: number[] = [];
  for (let i = 0; i < 4; i++) {
    if (i > 0) {
      while (!primary.isAwaited) await settle(1);
      primary.open();
      primary.send(['SERVER example.com', `PING ${ROWCAST}`]);
    }
    // Each connection catches up first, which is progress.
    primary.send([`POSITION events 0 ${ORIGIN}`, `POSITION others 0 ${ORIGIN}`]);
    await settle(2);
    expect(worker.isLive).toBe(true);
    const lost = once(worker, 'disconnected');
    primary.send([`PING ${'x'.repeat(2 * LIMIT)}`]);
    expect(primary.takeLines()).toContain('ERROR Line length exceeded');
    primary.cut();
    const [{ error, retryInMs }] = await lost;
    expect(error).toMatchObject({ code: 'LINE_TOO_LONG', facts: { limit: LIMIT, option: 'maxLineBytes' } });
    waits.push(retryInMs);
  }
  expect(waits).toEqual([2, 4, 8, 16]);
});

test('a worker whose maxLineBytes is below that of its primary fails one stream, and does not reconnect', async () => {
  const { primary, worker } = deploy();
  const streams = [defineStream('events'), defineStream('others')];
  const server = await primary({ streams });
  const reader = worker({ limits: { maxLineBytes: 10_000 } });
  const others = new Collector();
  let connections = 0;
  reader.on('connected', () => connections++);
  reader.subscribe('events', { from: 'start' }, () => {});
  reader.subscribe('others', { from: 'start' }, others.handler);
  await reader.start();
  const failed = once(reader, 'error');
  await server.append('events', ['x'.repeat(200_000)]);
  expect((await failed)[0]).toMatchObject({ code: 'LINE_TOO_LONG', facts: { stream: 'events', token: 1 } });
  await server.append('others', ['fine']);
  await others.reached(1);
  expect(connections).toBe(1);
  await expect.poll(() => server.status().connections[0]?.subscriptions.length).toBe(1);
});
