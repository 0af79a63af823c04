import type { Hono } from 'hono';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import type { Log } from '../log/log.ts';
import { memoryLog } from '../log/memory.ts';
import { LogError } from '../core/model/errors.ts';
import { formatPosition } from '../core/model/position.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream } from '../core/model/stream.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import type { PrimaryOptions } from '../primary/options.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createMemoryTransport, type MemoryTransport } from '../transport/memory.ts';
import { createWorker } from '../worker/worker.ts';
import type { StatusReport } from '../observe/status-report.ts';
import { Gate } from '../../test/support/collector.ts';
import { settle } from '../../test/support/deployment.ts';
import { Netcat } from '../../test/support/netcat.ts';
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

  test('what counts is the row as it came, with its escapes and without the white space around it', async () => {
    const { admin } = await setUp({ limits: { maxLineBytes: 100 } });
    expect((await post(admin, `   "${'\\u0041'.repeat(11)}"   \r\n`)).status).toBe(200);
    for (const text of [`"${'\\u0041'.repeat(12)}"\n`, `"${'x'.repeat(601)}`]) {
      const response = await post(admin, text);
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({
        error: { code: 'ROW_TOO_LARGE', line: 1 },
        position: null,
        rows: 0,
      });
    }
  });

  test.each([
    ['a deeply nested row', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'INVALID_ROW'],
    ['a row that is opened 100,000 times', '['.repeat(100_000), 'INVALID_ROW'],
    ['a raw tab in a string', '"a\tb"', 'INVALID_ROW'],
    ['a byte order mark in the middle', '\ufeff2', 'INVALID_ROW'],
    ['white space that JSON does not have', '\u00a0', 'INVALID_ROW'],
    ['a raw half character', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'INVALID_UTF8'],
  ])('%s is named by its number', async (_what, row, code) => {
    const { primary, admin } = await setUp();
    const response = await post(admin, Buffer.concat([Buffer.from('1\n'), Buffer.from(row), Buffer.from('\n3\n')]));
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code, line: 2 }, rows: 1 });
    expect(latest(primary)).toBe(1);
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

  test('a stream of a pattern is made by its first row, and a name that is none is 400', async () => {
    const { primary, admin } = await setUp({ streams: [defineStreams('room:*')] });
    const response = await post(admin, '1\n', { stream: 'room:42' });
    expect(await response.json()).toEqual({ position: positionText(primary, 'room:42'), rows: 1 });
    expect((await post(admin, '1\n', { stream: 'room:' })).status).toBe(404);
    for (const stream of ['room:a b', 'room:\n']) {
      const refused = await post(admin, '1\n', { stream });
      expect(refused.status).toBe(400);
      expect(await refused.json()).toMatchObject({ error: { code: 'INVALID_STREAM_NAME' } });
    }
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

/** What a peer that is not Rowcast reads of a stream from the start. */
async function linesOf(primary: Primary, transport: MemoryTransport, stream = 'events'): Promise<string[]> {
  await primary.listen({ path: '/wire' });
  const hand = new Netcat(transport, { path: '/wire' });
  hand.send(`REPLICATE ${stream} 0`);
  await hand.line(`POSITION ${stream}`);
  return hand.lines.filter((line) => line.startsWith('RDATA '));
}

describe('the text of a row', () => {
  // SPEC A1
  test('goes to the wire byte for byte: numbers, repeated keys, escapes and spaces', async () => {
    const transport = createMemoryTransport();
    const { primary, admin } = await setUp({ transport });
    const texts = [
      '9007199254740993',
      '1e400',
      '-0',
      '1.10',
      '{"a":1,"a":2}',
      String.raw`"\u00e9 \ud800"`,
      '{ "b" : [ 1 ] }',
      '"\u2028"',
      '"🚀"',
    ];
    expect((await post(admin, texts.join('\n'))).status).toBe(200);
    expect(await linesOf(primary, transport)).toEqual(texts.map((text, i) => `RDATA events ${i + 1} ${text}`));
  });

  test('loses a byte order mark in front, the white space around it, and tabs and line ends between tokens', async () => {
    const transport = createMemoryTransport();
    const { primary, admin } = await setUp({ transport });
    expect((await post(admin, '\ufeff1\r\n \t{\t"a":\r1} \r\n\r\n \t\n2')).status).toBe(200);
    expect(await linesOf(primary, transport)).toEqual([
      'RDATA events 1 1',
      'RDATA events 2 { "a": 1}',
      'RDATA events 3 2',
    ]);
  });

  test('is kept where a validator looks at the value', async () => {
    const transport = createMemoryTransport();
    const stream = defineStream('checked', { row: z.object({ price: z.number() }) });
    const { primary, admin } = await setUp({ streams: [stream], transport });
    expect((await post(admin, '{"price":1.10,"note":1e400}\n', { stream: 'checked' })).status).toBe(200);
    expect(await linesOf(primary, transport, 'checked')).toEqual(['RDATA checked 1 {"price":1.10,"note":1e400}']);
  });
});

describe('an upload with an Idempotency-Key', () => {
  const keyed = { query: '?batch=2', headers: { 'idempotency-key': 'import-7' } };

  test('is appended once, and answered in the same way, however often it is sent', async () => {
    const { primary, admin } = await setUp();
    const answers: unknown[] = [];
    for (let i = 0; i < 3; i++) answers.push(await (await post(admin, '1\n2\n3\n4\n5', keyed)).json());
    const answer = { position: positionText(primary), rows: 5 };
    expect(answers).toEqual([0, 5, 5].map((repeatedRows) => ({ ...answer, repeatedRows })));
    expect(latest(primary)).toBe(3);
    await primary.append('events', ['another']);
    expect(await (await post(admin, '1\n2\n3\n4\n5', keyed)).json()).toEqual({ ...answer, repeatedRows: 5 });
  });

  test('that ended in the middle is completed by the next one', async () => {
    const { primary, admin } = await setUp();
    const first = await post(admin, '1\n2\n3\n4\nbroken\n6\n', keyed);
    expect(await first.json()).toMatchObject({ error: { code: 'INVALID_ROW', line: 5 }, rows: 4 });
    const second = await post(admin, '1\n2\n3\n4\n5\n6\n', keyed);
    expect(await second.json()).toEqual({ position: positionText(primary), rows: 6, repeatedRows: 4 });
    expect(latest(primary)).toBe(3);
  });

  // SPEC A3
  test('and with other rows is 409 and names the batch, and nothing after that batch is appended', async () => {
    const { primary, admin } = await setUp();
    await post(admin, '1\n2\n3\n4\n5\n6\n', keyed);
    const response = await post(admin, `1\n2\n3\n0\n5\n6\n${'7\n'.repeat(100)}`, keyed);
    expect(response.status).toBe(409);
    expect(await response.json()).toEqual({
      error: { code: 'ID_REUSED', message: expect.stringContaining('import-7/2'), line: 3, batch: 2 },
      position: formatPosition({ ...primary.position('events'), token: 1 }),
      rows: 2,
      repeatedRows: 2,
    });
    expect(latest(primary)).toBe(3);
  });

  test('that comes twice at once appends each row once', async () => {
    const { primary, admin } = await setUp();
    const rows = Array.from({ length: 1_000 }, (_, i) => `${i}\n`).join('');
    const answers = await Promise.all(
      [1, 2].map(async () => (await post(admin, rows, { headers: { 'idempotency-key': 'twice' } })).json()),
    );
    for (const answer of answers) expect(answer).toMatchObject({ position: positionText(primary), rows: 1_000 });
    expect(latest(primary)).toBe(1_000);
  });

  test('alone says how many of its rows were there already', async () => {
    const { admin } = await setUp();
    expect(await (await post(admin, '1\n')).json()).not.toHaveProperty('repeatedRows');
  });

  test('appends the same rows as another upload does with another key, or on another stream', async () => {
    const { primary, admin } = await setUp();
    for (const key of ['a', 'b', 'a/1', '~'.repeat(200)])
      expect((await post(admin, '1\n', { headers: { 'idempotency-key': key } })).status).toBe(200);
    expect((await post(admin, '2\n', { stream: 'a/b', headers: { 'idempotency-key': 'a' } })).status).toBe(200);
    expect([latest(primary), latest(primary, 'a/b')]).toEqual([4, 1]);
  });

  test('shares commits among its batches once it is past what was appended before', async () => {
    const log = memoryLog();
    const { primary, admin } = await setUp({ log });
    let hints = 0;
    log.watch(() => hints++);
    const headers = { 'idempotency-key': 'long' };
    expect((await post(admin, '1\n'.repeat(10), { headers })).status).toBe(200);
    expect((await post(admin, '1\n'.repeat(20_000), { headers })).status).toBe(200);
    expect(latest(primary)).toBe(20_000);
    expect(hints).toBeLessThan(500);
  });

  test.each(['', 'two words', 'ü', '\u007f', 'x'.repeat(201)])(
    'has a key of 1 to 200 visible characters, not %j',
    async (key) => {
      const { primary, admin } = await setUp();
      const response = await post(admin, '1\n', { headers: { 'idempotency-key': key } });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: 'INVALID_OPTION' } });
      expect(latest(primary)).toBe(0);
    },
  );
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

  test('GET /status refuses a match that is neither a name nor a pattern', async () => {
    const { admin } = await setUp();
    for (const match of ['a**', 'a b', '']) {
      const response = await admin.request(`http://localhost/status?${new URLSearchParams({ match }).toString()}`);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: 'INVALID_STREAM_NAME' } });
    }
  });

  test('control characters and marks of direction of a name are escaped in an answer', async () => {
    const { admin } = await setUp();
    const name = 'reader\u202e\u009b31m\u001b';
    const response = await admin.request(`http://localhost/workers/${encodeURIComponent(name)}`, { method: 'DELETE' });
    const text = await response.text();
    expect(text).toContain('reader\\u202e\\u009b31m\\u001b');
    expect(JSON.parse(text)).toEqual({ worker: name, streams: [] });
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

  test('DELETE /workers/NAME lets go of what the worker holds, and GET /status says who holds rows', async () => {
    const held = defineStream('held', { retain: { untilSavedBy: ['audit'] } });
    const { primary, admin } = await setUp({ streams: [held] });
    await primary.append('held', [1, 2]);
    const status = async (): Promise<StatusReport> =>
      (await (await admin.request('http://localhost/status')).json()) as StatusReport;
    expect((await status()).streams[0]).toMatchObject({
      holders: [{ worker: 'audit', saved: null, lagRows: 2, connected: false }],
      holderCount: 1,
    });
    const forget = async (): Promise<Response> => admin.request('http://localhost/workers/audit', { method: 'DELETE' });
    const first = await forget();
    expect([first.status, await first.json()]).toEqual([200, { worker: 'audit', streams: ['held'] }]);
    expect(await (await forget()).json()).toEqual({ worker: 'audit', streams: [] });
    expect((await status()).streams[0]).toMatchObject({ holders: [], holderCount: 0 });
    await primary.close();
    expect((await forget()).status).toBe(503);
  });

  // SPEC L11
  test('GET /healthz is 200 while the process answers, and names a log whose last commit failed or took over a second', async () => {
    const trouble = { sinceMs: 1_764_598_992_000, lastCommitMs: 25_012, code: 'LOG_FULL' as const };
    for (const [health, logTrouble] of [
      ['ok', undefined],
      ['slow', { ...trouble, code: undefined }],
      ['failing', trouble],
      ['failed', { ...trouble, lastCommitMs: undefined }],
    ] as const) {
      const log = memoryLog();
      Object.defineProperty(log, 'health', { get: () => health });
      Object.defineProperty(log, 'trouble', { get: () => logTrouble });
      const { admin } = await setUp({ log });
      const response = await admin.request('http://localhost/healthz');
      expect(response.status).toBe(200);
      const told =
        logTrouble === undefined
          ? null
          : {
              since: '2025-12-01T14:23:12.000Z',
              lastCommitMs: logTrouble.lastCommitMs ?? null,
              code: logTrouble.code ?? null,
            };
      expect(await response.json()).toEqual({ ok: true, log: health, logTrouble: told, name: 'example.com' });
      const status = (await (await admin.request('http://localhost/status')).json()) as StatusReport;
      expect(status).toMatchObject({ log: health, logTrouble: told });
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
