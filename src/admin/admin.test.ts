import type { Hono } from 'hono';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import type { Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { LogError } from '../core/model/errors.ts';
import { formatPosition } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { createPrimary, type Primary, type PrimaryOptions } from '../primary/primary.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { createWorker } from '../worker/worker.ts';
import type { StatusReport } from '../observe/status-report.ts';
import { Gate } from '../../test/support/collector.ts';
import { settle } from '../../test/support/deployment.ts';
import { parseBatches } from '../testing/log-suite-place.ts';
import { createAdmin } from './admin.ts';

const ODD_NAMES = ['a/b', 'a%b', 'a%2Fb', '100%', '%41', 'ö/✓', 'é%41', '?#&=+', 'a;b,c', "o'neil", '..a'];
const memory = createMemoryTransport();
const streams = ['events', ...ODD_NAMES].map((name) => defineStream(name));

async function setUp(options: Partial<PrimaryOptions> = {}): Promise<{ primary: Primary; admin: Hono }> {
  const primary = await createPrimary({
    name: 'example.com',
    log: memoryLog(),
    streams,
    transport: createMemoryTransport(),
    ...options,
  });
  onTestFinished(() => primary.close());
  return { primary, admin: createAdmin({ primary }) };
}

function post(
  admin: Hono,
  body: string | Buffer,
  { stream = 'events', query = '', headers = {} }: { stream?: string; query?: string; headers?: object } = {},
) {
  return admin.request(`http://127.0.0.1:9093/streams/${encodeURIComponent(stream)}/rows${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson', ...headers },
    body,
    ...({ duplex: 'half' } as object),
  });
}

/** Where the stream stands, as text. */
function positionText(primary: Primary, stream = 'events'): string {
  return formatPosition(primary.position(stream));
}

function latest(primary: Primary, stream = 'events'): number {
  return primary.status().streams.find((status) => status.stream === stream)!.latest;
}

/** A log whose appends fail as the test says. */
function failingLog(failAt: (append: number) => Error | undefined): Log {
  const log = memoryLog();
  let appends = 0;
  const append = log.append.bind(log);
  log.append = async (stream, rows) => {
    const error = failAt(++appends);
    if (error !== undefined) throw error;
    return append(stream, rows);
  };
  return log;
}

describe('appending', () => {
  test('every line is a batch of its own; the answer has the last position and the count', async () => {
    const { primary, admin } = await setUp();
    const response = await post(admin, '{"a":1}\n"two"\n\n3');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ position: positionText(primary), rows: 3 });
    expect(latest(primary)).toBe(3);
  });

  test('batch=N makes batches of N rows; the last may have fewer', async () => {
    const { primary, admin } = await setUp();
    const response = await post(admin, '1\n2\n3\n4\n5\n', { query: '?batch=2' });
    expect(await response.json()).toEqual({ position: positionText(primary), rows: 5 });
    expect(latest(primary)).toBe(3);
  });

  test('a body without rows appends nothing', async () => {
    const { admin } = await setUp();
    expect(await (await post(admin, '\n \r\n')).json()).toEqual({ position: null, rows: 0 });
    expect(await (await post(admin, '')).json()).toEqual({ position: null, rows: 0 });
  });

  test.each(ODD_NAMES)('stream %s is found by its encoded name', async (stream) => {
    const { primary, admin } = await setUp();
    expect(await (await post(admin, '1\n', { stream })).json()).toEqual({
      position: positionText(primary, stream),
      rows: 1,
    });
    expect(latest(primary, stream)).toBe(1);
  });

  test('many rows go in without one commit for each, and all of them in order', async () => {
    const log = memoryLog();
    const { primary, admin } = await setUp({ log });
    let hints = 0;
    log.watch(() => hints++);
    const rows = Array.from({ length: 20_000 }, (_, i) => i);
    expect(await (await post(admin, rows.join('\n'))).json()).toEqual({
      position: positionText(primary),
      rows: 20_000,
    });
    expect(latest(primary)).toBe(20_000);
    expect(hints).toBeLessThan(500);
    const page = await log.read('events', { after: 0, maxBytes: 10_000_000 });
    const stored = parseBatches(page);
    expect(stored.every(({ token, rows: [row] }, i) => token === i + 1 && row === `${i}`)).toBe(true);
  });

  test('a body that outruns the log waits: only a bounded number of rows is on its way', async () => {
    let onItsWay = 0;
    let most = 0;
    const log = memoryLog();
    const append = log.append.bind(log);
    log.append = async (stream, rows) => {
      most = Math.max(most, ++onItsWay);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      onItsWay--;
      return append(stream, rows);
    };
    const { admin } = await setUp({ log });
    const response = await post(admin, '1\n'.repeat(30_000));
    expect(await response.json()).toMatchObject({ rows: 30_000 });
    expect(most).toBe(4_096);
  });
});

describe('what cannot be appended', () => {
  test('a bad line is named by its number; nothing of its batch is appended, those before it are', async () => {
    const { primary, admin } = await setUp();
    const response = await post(admin, '1\n2\n\n3\n{"open":\n5\n6\n', { query: '?batch=2' });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      error: { code: 'INVALID_ROW', message: expect.stringMatching(/^line 5 is not JSON: /), line: 5 },
      position: positionText(primary),
      rows: 2,
    });
    expect(latest(primary)).toBe(1);
  });

  test('a line that is not UTF-8 is named by its number', async () => {
    const { primary, admin } = await setUp();
    const response = await post(admin, Buffer.concat([Buffer.from('1\n"'), Buffer.of(0xff), Buffer.from('"\n')]));
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { code: 'INVALID_UTF8', line: 2 },
      position: positionText(primary),
      rows: 1,
    });
  });

  test('a row that fits on no line is named by its number, and no row after it is appended', async () => {
    const { primary, admin } = await setUp({ limits: { maxLineBytes: 100 } });
    const response = await post(admin, `1\n"${'x'.repeat(90)}"\n3\n`);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({
      error: { code: 'ROW_TOO_LARGE', line: 2 },
      position: positionText(primary),
      rows: 1,
    });
    expect(latest(primary)).toBe(1);
  });

  test('what counts is the row as we write it, not as it came', async () => {
    const { admin } = await setUp({ limits: { maxLineBytes: 100 } });
    expect((await post(admin, `"${'\\u0041'.repeat(60)}"\n`)).status).toBe(200);
    const response = await post(admin, `"${'x'.repeat(601)}`);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({
      error: { code: 'ROW_TOO_LARGE', line: 1 },
      position: null,
      rows: 0,
    });
  });

  test('a batch over maxBatchBytes is refused where it gets too large', async () => {
    const { primary, admin } = await setUp({ limits: { maxBatchBytes: 500 } });
    const response = await post(admin, `"${'x'.repeat(100)}"\n`.repeat(10), { query: '?batch=10' });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ error: { code: 'BATCH_TOO_LARGE', line: 4 }, rows: 0 });
    expect(latest(primary)).toBe(0);
  });

  test("a row that does not pass its stream's validator stops the append where it stands", async () => {
    const checked = defineStream('checked', { row: z.object({ id: z.number() }) });
    const { primary, admin } = await setUp({ streams: [checked] });
    const response = await post(admin, '{"id":1}\n{"id":"two"}\n{"id":3}\n', { stream: 'checked' });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { code: 'INVALID_ROW', line: 2 },
      position: positionText(primary, 'checked'),
      rows: 1,
    });
    expect(latest(primary, 'checked')).toBe(1);
  });

  test('an unknown stream is 404 NO_SUCH_STREAM', async () => {
    const { admin } = await setUp();
    const response = await post(admin, '1\n', { stream: 'nope' });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'NO_SUCH_STREAM' } });
  });

  test.each(['0', '10001', '-1', '1.5', 'abc', ''])('batch=%s is 400 INVALID_OPTION', async (batch) => {
    const { primary, admin } = await setUp();
    const response = await post(admin, '1\n', { query: `?batch=${batch}` });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'INVALID_OPTION' } });
    expect(latest(primary)).toBe(0);
  });

  test.each([
    ['LOG_FULL', 507],
    ['LOG_UNAVAILABLE', 503],
  ] as const)(
    '%s of the log is %i, with what is durable and the line where the failed batch begins',
    async (code, status) => {
      const log = failingLog((append) => (append >= 2 ? new LogError(code, 'the disk says no') : undefined));
      const { primary, admin } = await setUp({ log });
      const response = await post(admin, '1\n2\n3\n4\n5\n6\n', { query: '?batch=2' });
      expect(response.status).toBe(status);
      expect(await response.json()).toEqual({
        error: { code, message: 'the disk says no', line: 3 },
        position: positionText(primary),
        rows: 2,
      });
    },
  );

  test('a primary that is closed is 503 CLOSED', async () => {
    const { primary, admin } = await setUp();
    await primary.close();
    const response = await post(admin, '1\n');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ error: { code: 'CLOSED' }, rows: 0 });
  });
});

describe('who may ask', () => {
  test.each(['127.0.0.1', '127.0.0.1:9093', '127.8.8.8:1', '[::1]:9093', 'localhost', 'LocalHost:9093'])(
    'host %s is this machine',
    async (host) => {
      const { admin } = await setUp();
      expect((await admin.request('http://127.0.0.1:9093/healthz', { headers: { host } })).status).toBe(200);
    },
  );

  test.each([
    'example.com',
    '127.0.0.1.example.com',
    'localhost.example.com:9093',
    '10.0.0.1',
    '0.0.0.0:9093',
    '[::]:9093',
    '[fe80::1]',
    'a b',
  ])('host %s is refused with 403', async (host) => {
    const { admin } = await setUp();
    const response = await admin.request('http://127.0.0.1:9093/status', { headers: { host } });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: { code: 'FOREIGN_HOST' } });
  });

  test('a foreign host in the address of the request is refused too', async () => {
    const { admin } = await setUp();
    expect((await admin.request('http://example.com/status', { headers: { host: '127.0.0.1' } })).status).toBe(403);
  });

  test.each(['https://example.com', 'null', 'http://127.0.0.1.example.com', 'http://10.0.0.1:9093'])(
    'a page of %s is refused with 403',
    async (origin) => {
      const { primary, admin } = await setUp();
      const response = await post(admin, '1\n', { headers: { origin } });
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ error: { code: 'FOREIGN_ORIGIN' } });
      expect(latest(primary)).toBe(0);
    },
  );

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json',
    'application/x-ndjsonp',
    '',
  ])('content type %s is refused with 415, so that no form of a page can append', async (type) => {
    const { primary, admin } = await setUp();
    const response = await post(admin, '1\n', { headers: { 'content-type': type } });
    expect(response.status).toBe(415);
    expect(latest(primary)).toBe(0);
  });

  test('parameters of the content type are allowed', async () => {
    const { admin } = await setUp();
    expect(
      (await post(admin, '1\n', { headers: { 'content-type': 'Application/X-NDJSON; charset=utf-8' } })).status,
    ).toBe(200);
  });

  test('the question whether a page may send rows is never answered with yes', async () => {
    const { admin } = await setUp();
    const headers = {
      origin: 'http://localhost:3000',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type',
    };
    const response = await admin.request('http://127.0.0.1:9093/streams/events/rows', { method: 'OPTIONS', headers });
    expect(response.status).toBe(404);
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

describe('looking', () => {
  test('GET /status has streams, connections and counts', async () => {
    const { primary, admin } = await setUp();
    const { history } = await primary.append('events', [1]);
    const response = await admin.request('http://localhost/status');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      name: 'example.com',
      log: 'ok',
      streams: expect.arrayContaining([
        { stream: 'events', source: 'memory', durable: true, earliest: 1, latest: 1, history },
      ]),
      connections: [],
      counts: { connectionsMade: 0, slowConsumersCut: 0, trimmedServed: 0, refusals: {}, errors: {} },
    });
  });

  test('GET /status is a page of the streams, and says where the next one begins', async () => {
    const { admin } = await setUp();
    const get = async (query: string): Promise<StatusReport> =>
      (await (await admin.request(`http://localhost/status?${query}`)).json()) as StatusReport;
    const all = await get('');
    expect(all.next).toBeNull();
    const names = all.streams.map(({ stream }) => stream);
    const first = await get('limit=2');
    expect(first.streams.map(({ stream }) => stream)).toEqual(names.slice(0, 2));
    const rest = await get(new URLSearchParams({ after: first.next! }).toString());
    expect(rest.streams.map(({ stream }) => stream)).toEqual(names.slice(2));
    expect((await get('match=events')).streams).toHaveLength(1);
    for (const limit of ['0', '10001', 'x']) {
      const response = await admin.request(`http://localhost/status?limit=${limit}`);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: 'INVALID_OPTION' } });
    }
  });

  // SPEC D8
  test('GET /status says what was sent to a worker and what it has applied, in rows', async () => {
    const { primary, admin } = await setUp({ transport: memory });
    await primary.listen({ path: '/primary' });
    const clock = new VirtualClock();
    const worker = createWorker({ name: 'reader', connect: { path: '/primary' }, transport: memory, clock });
    onTestFinished(() => worker.stop());
    const gate = new Gate();
    onTestFinished(() => gate.open());
    let handled = 0;
    worker.subscribe('events', { from: 'start' }, async () => {
      if (handled++ > 0) await gate.opened;
    });
    await worker.start();
    await primary.append('events', [1, 2, 3]);
    await primary.append('events', [4, 5]);
    await settle();
    clock.step(clock.now() + 1_000);
    await settle();
    const { connections } = (await (await admin.request('http://localhost/status')).json()) as StatusReport;
    expect(connections[0]!.subscriptions).toEqual([
      { stream: 'events', state: 'live', sent: 2, sentLagRows: 0, applied: 1, appliedLagRows: 2, saved: null },
    ]);
  });

  // SPEC L11
  test('GET /healthz is 200 while the process answers, and says whether the log is ok, slow or failed', async () => {
    for (const health of ['ok', 'slow', 'failed'] as const) {
      const log = memoryLog();
      Object.defineProperty(log, 'health', { get: () => health });
      const { admin } = await setUp({ log });
      const response = await admin.request('http://localhost/healthz');
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ ok: true, log: health, name: 'example.com' });
    }
  });

  test('any other page is 404 and says which there are', async () => {
    const { admin } = await setUp();
    const response = await admin.request('http://localhost/streams/events/rows');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      error: { code: 'NO_SUCH_PAGE', message: expect.stringContaining('GET /status') },
    });
  });
});
