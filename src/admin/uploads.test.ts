/** What many uploads at once may hold. */

import { getEventListeners } from 'node:events';
import type { Hono } from 'hono';
import { describe, expect, onTestFinished, test } from 'vitest';
import { memoryLog } from '../log/memory.ts';
import { defineStream } from '../core/model/stream.ts';
import { formatPosition } from '../core/model/position.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { createMemoryTransport } from '../transport/memory.ts';
import { settle } from '../../test/support/deployment.ts';
import { createAdmin } from './admin.ts';
import type { AdminLimits } from './limits.ts';
import { BYTES_AROUND_UPLOAD } from './upload-budget.ts';

const KB = 1024;

interface Scene {
  readonly primary: Primary;
  readonly clock: VirtualClock;
  readonly begin: (text: string, query?: string, key?: string) => Upload;
  readonly admin: Hono;
}

async function setUp(limits: Partial<AdminLimits>, signal?: AbortSignal): Promise<Scene> {
  const clock = new VirtualClock();
  const primary = await createPrimary({
    name: 'example.com',
    log: memoryLog(),
    streams: [defineStream('events')],
    transport: createMemoryTransport(),
  });
  onTestFinished(() => primary.close());
  const admin = createAdmin({ primary, clock, limits, ...(signal && { signal }) });
  return { primary, clock, admin, begin: (text, query, key) => new Upload(admin, text, query, key) };
}

/** An upload that goes on while the test lets it. */
class Upload {
  readonly #body = new TransformStream<Uint8Array, Uint8Array>();
  readonly #writer = this.#body.writable.getWriter();
  readonly answer: Promise<Response>;
  isAnswered = false;

  constructor(admin: Hono, text: string, query = '?batch=10000', key?: string) {
    this.answer = (async () => {
      const answer = await admin.request(`http://127.0.0.1:9093/streams/events/rows${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', ...(key !== undefined && { 'idempotency-key': key }) },
        body: this.#body.readable,
        ...({ duplex: 'half' } as object),
      });
      this.isAnswered = true;
      return answer;
    })();
    this.write(text);
  }

  write(text: string): void {
    this.#writer.write(Buffer.from(text)).catch(() => {});
  }

  async end(): Promise<Response> {
    this.#writer.close().catch(() => {});
    return this.answer;
  }
}

const row = `"${'x'.repeat(KB - 3)}"\n`;

describe('all uploads together', () => {
  // SPEC A6
  test('hold at most uploadBytes: one that would hold more is 503 with Retry-After, and tells how far it came', async () => {
    const { primary, begin } = await setUp({ uploadBytes: 2 * BYTES_AROUND_UPLOAD + 100 * KB });
    const first = begin(row.repeat(60));
    await settle();
    const second = begin(row.repeat(70), '?batch=20');
    await settle();
    expect(second.isAnswered).toBe(false);
    second.write(row.repeat(45));
    await settle();
    expect(second.isAnswered).toBe(false);
    const third = begin('1\n');
    const refused = await third.answer;
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await refused.json()).toMatchObject({ error: { code: 'UPLOADS_FULL', retryAfterMs: 1_000 }, rows: 0 });
    first.write(row.repeat(60));
    expect((await first.answer).status).toBe(503);
    expect(await (await first.answer).json()).toMatchObject({ error: { code: 'UPLOADS_FULL', line: 1 }, rows: 0 });
    const done = await second.end();
    expect(await done.json()).toEqual({ position: formatPosition(primary.position('events')), rows: 115 });
  });

  test('say which line comes next, after what is appended', async () => {
    const { begin } = await setUp({ uploadBytes: 2 * BYTES_AROUND_UPLOAD + 40 * KB });
    begin(row.repeat(30));
    await settle();
    const large = `"${'x'.repeat(20 * KB)}"\n`;
    const answer = await begin(`\n${row.repeat(27)}${large}`, '?batch=5').answer;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: 'UPLOADS_FULL', line: 27 }, rows: 25 });
  });

  test('count a line that has not ended', async () => {
    const { begin } = await setUp({ uploadBytes: 2 * BYTES_AROUND_UPLOAD + 200 * KB });
    begin(`"${'x'.repeat(40 * KB)}`);
    await settle();
    const answer = await begin(`"${'x'.repeat(40 * KB)}`).answer;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: 'UPLOADS_FULL', line: 1 } });
  });

  test('never wait for each other: one that is refused gives room, and the other goes on', async () => {
    const { begin } = await setUp({ uploadBytes: 2 * BYTES_AROUND_UPLOAD + 100 * KB });
    const both = [begin(row.repeat(40)), begin(row.repeat(40))];
    await settle();
    for (const upload of both) upload.write(row.repeat(30));
    const statuses = (await Promise.all(both.map((upload) => upload.end()))).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 503]);
    expect((await begin(row.repeat(70)).end()).status).toBe(200);
  });

  test('refuse a batch that does not fit alone: it would never get through', async () => {
    const { begin } = await setUp({ uploadBytes: BYTES_AROUND_UPLOAD + 50 * KB });
    const answer = await begin(row.repeat(60)).answer;
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ error: { code: 'BATCH_TOO_LARGE' } });
    expect((await begin(row.repeat(600), '?batch=20').end()).status).toBe(200);
  });

  test('end one whose client has let a batch wait for uploadTimeoutMs, only where another needs its room', async () => {
    const { begin, clock } = await setUp({ uploadBytes: 2 * BYTES_AROUND_UPLOAD + 50 * KB, uploadTimeoutMs: 5_000 });
    const slow = begin(row.repeat(40));
    await settle();
    clock.step(clock.now() + 4_999);
    expect((await begin(row.repeat(30)).answer).status).toBe(503);
    expect(slow.isAnswered).toBe(false);
    clock.step(clock.now() + 1);
    expect((await begin(row.repeat(30)).end()).status).toBe(200);
    const ended = await slow.answer;
    expect(ended.status).toBe(503);
    expect(ended.headers.get('retry-after')).toBe('1');
    expect(await ended.json()).toMatchObject({ error: { code: 'UPLOADS_FULL', line: 1 }, rows: 0 });
  });

  test('give their room back, however they end', async () => {
    const { begin } = await setUp({ uploadBytes: BYTES_AROUND_UPLOAD + 50 * KB });
    for (let i = 0; i < 50; i++) {
      expect((await begin(`${row.repeat(20)}not json\n`).end()).status).toBe(400);
      expect((await begin(row.repeat(20)).end()).status).toBe(200);
    }
  });

  test('white space around a row is not kept with it', async () => {
    const { begin } = await setUp({ uploadBytes: BYTES_AROUND_UPLOAD + 150 * KB });
    const upload = begin(`${' '.repeat(50 * KB)}"0123456789abcdef"\n`.repeat(20));
    expect(await (await upload.end()).json()).toMatchObject({ rows: 20 });
  });
});

test('a server that stops answers every upload with what is durable, by one listener for all of them', async () => {
  const stopping = new AbortController();
  const { begin } = await setUp({}, stopping.signal);
  const uploads = Array.from({ length: 12 }, () => begin('1\n2\n3\n', '?batch=2'));
  await settle();
  expect(getEventListeners(stopping.signal, 'abort')).toHaveLength(1);
  stopping.abort();
  uploads.push(begin('1\n2\n3\n', '?batch=2'));
  for (const [i, upload] of uploads.entries()) {
    const answer = await upload.answer;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: 'CLOSED' }, rows: i < 12 ? 2 : 0 });
  }
});

test('firstLine and firstBatch number a body that goes on with an upload', async () => {
  const { primary, begin } = await setUp({});
  expect((await begin('1\n2\n3\n4\n', '?batch=2', 'key').end()).status).toBe(200);
  const rest = await begin('3\n4\n5\n', '?batch=2&firstLine=3&firstBatch=2', 'key').end();
  expect(await rest.json()).toEqual({ position: formatPosition(primary.position('events')), rows: 3, repeatedRows: 2 });
  expect(primary.position('events').token).toBe(3);
  const faulty = await begin('6\nno\n', '?batch=1&firstLine=101&firstBatch=90').end();
  expect(await faulty.json()).toMatchObject({ error: { line: 102, message: expect.stringMatching(/^line 102 /) } });
  expect((await begin('1\n', '?firstLine=0').answer).status).toBe(400);
});

test('limits of the admin port are checked', async () => {
  for (const limits of [{ uploadBytes: 0 }, { uploadBytes: Number.NaN }, { uploadByte: 5 }]) {
    await expect(setUp(limits)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  }
});
