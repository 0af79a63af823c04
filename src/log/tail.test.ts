import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';

import type { Page } from '../core/model/page.ts';
import { defineStream } from '../core/model/stream.ts';
import { pageLines } from '../core/wire/page-lines.ts';
import { attributesOf, openOptions } from '../testing/log-suite-place.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Log, ReadOptions, RowsEvent, SourceListener } from './log.ts';
import { memoryLog } from './memory.ts';
import { Tail } from './tail.ts';
import { TailRoom } from './tail-room.ts';

const STREAM_NAMES = ['a', 'b'];

/** A memory log that counts its reads, and whose hints a test may change or lose. */
class WatchedLog {
  readonly clock: VirtualClock = new VirtualClock();
  readonly inner: Log = memoryLog({ clock: this.clock });
  reads = 0;
  change: (hint: RowsEvent) => RowsEvent | undefined = (hint) => hint;

  async open(): Promise<Log> {
    await this.inner.open(openOptions(STREAM_NAMES.map((name) => defineStream(name))));
    const { inner } = this;
    return {
      name: 'watched',
      id: inner.id,
      era: inner.era,
      catalog: inner.catalog,
      health: inner.health,
      serves: (stream) => inner.serves(stream),
      streams: () => inner.streams(),
      delete: (stream) => inner.delete(stream),
      judge: (position) => inner.judge(position),
      rowsAfter: (stream, after) => inner.rowsAfter(stream, after),
      open: (options) => inner.open(options),
      append: (stream, rows, options) => inner.append(stream, rows, options),
      read: (stream, options) => {
        this.reads++;
        return inner.read(stream, options);
      },
      bounds: (stream) => inner.bounds(stream),
      watch: (listener) =>
        inner.watch((event) => {
          if (event.kind !== 'rows') listener(event);
          // The tests look at the streams alone.
          else if (event.stream !== inner.catalog) this.#pass(event, listener);
        }),
      trim: (stream, upTo) => inner.trim(stream, upTo),
      close: () => inner.close(),
    };
  }

  #pass(hint: RowsEvent, listener: SourceListener): void {
    const changed = this.change(hint);
    if (changed !== undefined) listener(changed);
  }
}

async function setUp(maxBytes?: number): Promise<{
  watched: WatchedLog;
  log: Log;
  tail: Tail;
  read: (after: number, maxBytes?: number, stream?: string) => Page;
}> {
  const watched = new WatchedLog();
  const log = await watched.open();
  const tail = new Tail(log, maxBytes === undefined ? {} : { maxBytes });
  const read = (after: number, pageBytes = 1_000_000, stream = 'a'): Page =>
    tail.read(stream, { after, maxBytes: pageBytes }) as Page;
  return { watched, log, tail, read };
}

/** Batches of two rows, each a chunk. */
async function append(log: Log, count: number, stream = 'a', padding = ''): Promise<void> {
  for (let i = 0; i < count; i++) await log.append(stream, [`${i}`, `"${padding}"`]);
}

const WHOLE: ReadOptions = { after: 0, maxBytes: 1_000_000 };

test('what was appended since the tail was made is read at once and not from the log', async () => {
  const { watched, log, read } = await setUp();
  await append(log, 10);
  for (const maxBytes of [1, 50, 1_000_000]) {
    for (let after = 0; after <= 10; after++)
      expect(read(after, maxBytes)).toEqual(watched.inner.read('a', { after, maxBytes }));
  }
  expect(watched.reads).toBe(0);
});

test('1,000 sessions that read at the same positions get the same bytes', async () => {
  const { watched, log, read } = await setUp();
  await append(log, 20);
  await Promise.all([log.append('a', ['"x"']), log.append('a', ['"y"'])]);
  for (const after of [0, 7, 20, 21]) {
    const pages = Array.from({ length: 1_000 }, () => read(after));
    const lines = pageLines(pages[0]!, false);
    for (const page of pages) expect(pageLines(page, false)).toBe(lines);
  }
  expect(watched.reads).toBe(0);
});

test('a page that was full stays shared when more is appended, and says that more follows', async () => {
  const { log, read } = await setUp();
  await append(log, 3);
  const page = read(0, 150);
  expect(page).toMatchObject({ upTo: 3, hasMore: false });
  await append(log, 1);
  expect(read(0, 150)).toEqual({ ...page, hasMore: true });
  expect(pageLines(read(0, 150), false)).toBe(pageLines(page, false));
});

test('a page that was not full grows with what is appended', async () => {
  const { log, read } = await setUp();
  await append(log, 2);
  expect(read(0).upTo).toBe(2);
  await append(log, 1);
  expect(read(0)).toMatchObject({ upTo: 3, rows: 6, hasMore: false });
});

test('who has everything gets an empty page without a read of the log', async () => {
  const { watched, log, read } = await setUp();
  await append(log, 2);
  expect(read(2)).toMatchObject({ rows: 0, upTo: 2, hasMore: false });
  expect(watched.reads).toBe(0);
});

test('rows from before the tail was made, and positions beyond latest, are read from the log', async () => {
  const watched = new WatchedLog();
  const log = await watched.open();
  await append(log, 5);
  const tail = new Tail(log);
  expect(await tail.read('a', WHOLE)).toMatchObject({ rows: 10, upTo: 5 });
  await append(log, 5);
  expect(await tail.read('a', { ...WHOLE, after: 4 })).toMatchObject({ rows: 12, upTo: 10 });
  expect(await tail.read('a', { ...WHOLE, after: 11 })).toMatchObject({ rows: 0, upTo: 10 });
  expect(watched.reads, 'the first page is kept: it reached latest').toBe(2);
  expect(await tail.read('a', { ...WHOLE, after: 5 })).toMatchObject({ rows: 10, upTo: 10 });
  expect(watched.reads).toBe(2);
});

test('over its limit the tail drops the oldest chunks of all streams', async () => {
  const { watched, log, tail, read } = await setUp(20_000);
  await append(log, 3, 'a', 'x'.repeat(1_000));
  watched.clock.step(watched.clock.now() + 1);
  await append(log, 3, 'b', 'x'.repeat(1_000));
  expect(tail.bytes).toBeLessThan(20_000);
  read(0);
  watched.clock.step(watched.clock.now() + 1);
  await append(log, 3, 'b', 'x'.repeat(1_000));
  expect(tail.bytes).toBeLessThanOrEqual(20_000);
  expect(tail.bytes).toBeGreaterThan(16_000);
  expect(watched.reads).toBe(0);
  expect(read(0)).toMatchObject({ upTo: 3 });
  expect(watched.reads, 'the oldest of a was dropped').toBe(1);
  expect(read(0, 1_000_000, 'b')).toMatchObject({ upTo: 6, rows: 12 });
  expect(watched.reads, 'all of b is there').toBe(1);
});

test('a tail of 0 bytes keeps nothing and reads all from the log', async () => {
  const { watched, log, tail, read } = await setUp(0);
  await append(log, 3);
  expect(tail.bytes).toBe(0);
  expect(read(0)).toMatchObject({ upTo: 3 });
  expect(read(3)).toMatchObject({ upTo: 3, rows: 0 });
  expect(watched.reads).toBe(2);
});

test('after a hint that was lost or came without its rows the first read brings them for everyone, and no read is short', async () => {
  const { watched, log, read } = await setUp();
  await append(log, 2);
  for (const change of [
    () => undefined,
    ({ kind, stream, latest }: RowsEvent): RowsEvent => ({ kind, stream, latest }),
  ]) {
    const { latest } = log.bounds('a');
    watched.change = change;
    await append(log, 1);
    watched.reads = 0;
    expect(read(latest)).toMatchObject({ upTo: latest + 1, hasMore: false });
    expect(watched.reads).toBe(1);
    expect(read(latest - 1)).toMatchObject({ upTo: latest + 1, hasMore: false });
    watched.change = (hint) => hint;
    await append(log, 1);
    expect(read(latest)).toMatchObject({ upTo: latest + 2, hasMore: false });
    expect(read(latest + 1)).toMatchObject({ upTo: latest + 2, hasMore: false });
    expect(watched.reads).toBe(1);
  }
});

test('rows that nobody read before the next hint are left to the source, and the tail starts again behind them', async () => {
  const { watched, log, read } = await setUp();
  await append(log, 2);
  watched.change = () => undefined;
  await append(log, 1);
  watched.change = (hint) => hint;
  await append(log, 1);
  expect(read(3)).toMatchObject({ upTo: 4, hasMore: false });
  expect(watched.reads).toBe(0);
  expect(read(1)).toMatchObject({ upTo: 4, hasMore: false });
  expect(watched.reads).toBe(1);
});

test('100 sessions that wait for the same rows cost the source one read, and each of 100 appends one', async () => {
  const { watched, log } = await setUp();
  const answers: (() => void)[] = [];
  const { read: readNow } = log;
  // Like a database: it answers later, and its hints carry no rows.
  log.read = async (stream, options) => {
    const page = await readNow(stream, options);
    await new Promise<void>((resolve) => answers.push(resolve));
    return page;
  };
  watched.change = ({ kind, stream, latest }) => ({ kind, stream, latest });
  const tail = new Tail(log);
  for (let n = 0; n < 100; n++) {
    await append(log, 1);
    const pages = Array.from({ length: 100 }, async () => tail.read('a', { ...WHOLE, after: n }));
    await Promise.resolve();
    for (const answer of answers.splice(0)) answer();
    for (const page of await Promise.all(pages)) expect(page).toMatchObject({ upTo: n + 1, rows: 2 });
  }
  expect(watched.reads).toBe(100);
});

test('a read that began when there was nothing is not shared with who asks once there is', async () => {
  const { watched, log } = await setUp();
  const answers: (() => void)[] = [];
  const { read: readNow } = log;
  log.read = async (stream, options) => {
    const page = await readNow(stream, options);
    await new Promise<void>((resolve) => answers.push(resolve));
    return page;
  };
  watched.change = ({ kind, stream, latest }) => ({ kind, stream, latest });
  const tail = new Tail(log);
  const early = tail.read('a', WHOLE);
  await append(log, 1);
  const late = tail.read('a', WHOLE);
  await Promise.resolve();
  for (const answer of answers) answer();
  expect(await early).toMatchObject({ rows: 0, upTo: 0 });
  expect(await late).toMatchObject({ rows: 2, upTo: 1 });
});

test('a read that fails fails for all that wait for it, and the next one reads again', async () => {
  const { log } = await setUp();
  const { read: readNow } = log;
  let faults = 1;
  log.read = async (stream, options) => {
    if (faults-- > 0) throw new Error('the database is gone');
    return readNow(stream, options);
  };
  const tail = new Tail(log);
  const failing = [1, 2].map(async () => tail.read('a', WHOLE));
  for (const one of failing) await expect(one).rejects.toThrow('the database is gone');
  expect(await tail.read('a', WHOLE)).toMatchObject({ upTo: 0 });
});

test('a stream that is deleted takes its rows out of the tail, also those that are being read', async () => {
  const { log, read } = await setUp();
  await append(log, 3);
  expect(read(0)).toMatchObject({ rows: 6 });
  await log.delete('a');
  expect(read(0)).toMatchObject({ rows: 0, upTo: 0 });
  const { read: readNow } = log;
  let answer: () => void = () => {};
  log.read = async (stream, options) => {
    const page = await readNow(stream, options);
    await new Promise<void>((resolve) => (answer = resolve));
    return page;
  };
  const tail = new Tail(log, {});
  await append(log, 1);
  tail.close();
  const other = new Tail(log);
  const reading = other.read('a', WHOLE) as Promise<Page>;
  await Promise.resolve();
  await Promise.resolve();
  await log.delete('a');
  answer();
  expect((await reading).rows).toBe(2);
  expect(other.bytes).toBe(0);
});

test('a stream that a listener deletes while its rows are announced does not come back', async () => {
  const { log, read } = await setUp();
  await append(log, 1, 'b');
  let isFirst = true;
  log.watch(({ kind }) => {
    if (kind !== 'rows' || !isFirst) return;
    isFirst = false;
    void log.delete('a');
  });
  // One commit: the rows of a are announced after those of b.
  await Promise.all([append(log, 1, 'b'), log.append('a', ['"old"']), log.append('a', ['"older"'])]);
  await log.append('a', ['"new"']);
  const { chunks, upTo } = read(0);
  expect(upTo).toBe(1);
  expect(chunks.map(({ texts }) => Buffer.from(texts).toString())).toEqual(['"new"']);
});

test('a read that is never answered is not shared for ever', async () => {
  const { watched, log } = await setUp();
  await append(log, 1);
  const { read: readNow } = log;
  let isStuck = true;
  log.read = async (stream, options) => (isStuck ? new Promise<Page>(() => {}) : readNow(stream, options));
  const tail = new Tail(log, { clock: watched.clock, maxReadMs: 30_000 });
  void tail.read('a', WHOLE);
  isStuck = false;
  watched.clock.step(watched.clock.now() + 30_000);
  expect(await tail.read('a', WHOLE)).toMatchObject({ rows: 2, upTo: 1 });
});

test('attributes are read with their batches, and a page ends where an era does', async () => {
  const { watched, log, read } = await setUp();
  const next = '0123456789abcdef.1764281400.a1b2c3d4';
  await log.append('a', ['1'], { attributes: '{"n":1}' });
  await log.append('a', ['2'], { attributes: '{"n":2}' });
  expect(read(0)).toMatchObject({ upTo: 2, hasMore: false, history: log.era });
  watched.change = (hint) => ({ ...hint, chunks: hint.chunks!.map((chunk) => ({ ...chunk, history: next })) });
  await log.append('a', ['3'], { attributes: '{"n":3}' });
  const attributes = [
    { token: 1, json: '{"n":1}' },
    { token: 2, json: '{"n":2}' },
  ];
  for (let again = 0; again < 2; again++) {
    expect(read(0)).toMatchObject({ upTo: 2, hasMore: true, history: log.era });
    expect(attributesOf(read(0))).toEqual(attributes);
  }
  expect(attributesOf(read(1))).toEqual(attributes.slice(1));
  expect(read(2)).toMatchObject({ upTo: 3, hasMore: false, history: next });
  expect(watched.reads).toBe(0);
});

test('a hint that comes twice changes nothing', async () => {
  const { watched, log, tail, read } = await setUp();
  await append(log, 1);
  const before = tail.bytes;
  watched.change = (hint) => ({ ...hint, chunks: [...hint.chunks!, ...hint.chunks!] });
  await append(log, 1);
  expect(tail.bytes).toBe(2 * before);
  expect(read(0)).toMatchObject({ rows: 4 });
});

test('rows that were trimmed are refused by the tail too, and forgotten', async () => {
  const { log, tail, read } = await setUp();
  await append(log, 5);
  const one = tail.bytes / 5;
  read(0);
  await log.trim('a', 3);
  for (const after of [0, 1, 2]) expect(() => read(after)).toThrow(expect.objectContaining({ code: 'LOG_GAP' }));
  expect(read(3)).toMatchObject({ upTo: 5, rows: 4 });
  await append(log, 1);
  expect(tail.bytes).toBe(one * 3);
  await log.trim('a', 100);
  expect(read(6)).toMatchObject({ rows: 0, upTo: 6 });
  await append(log, 1);
  expect(read(6)).toMatchObject({ rows: 2, upTo: 7 });
  expect(tail.bytes).toBe(one);
});

test('a stream that the log does not have is refused as by the log', async () => {
  const { read } = await setUp();
  expect(() => read(0, 1, 'unheard-of')).toThrow(expect.objectContaining({ code: 'NO_SUCH_STREAM' }));
});

test('a tail that is closed keeps nothing and watches no more', async () => {
  const { watched, log, tail, read } = await setUp();
  await append(log, 2);
  tail.close();
  await append(log, 2);
  expect(tail.bytes).toBe(0);
  expect(read(0)).toMatchObject({ upTo: 4 });
  expect(watched.reads).toBe(1);
});

test('a limit that is no number of bytes is refused', async () => {
  const { log } = await setUp();
  for (const maxBytes of [-1, 0.5, Number.NaN])
    expect(() => new Tail(log, { maxBytes })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

// SPEC B16
test('a page of the log that someone has not sent yet is shared by all that read it later', async () => {
  const { watched, log } = await setUp();
  await append(log, 3, 'a', 'x'.repeat(300_000));
  // Each read of a log on disk makes new bytes.
  const fresh: Log = {
    ...log,
    bounds: (stream) => log.bounds(stream),
    watch: (listener) => log.watch(listener),
    read: (stream, options) => {
      watched.reads++;
      const page = watched.inner.read(stream, options) as Page;
      return { ...page, chunks: page.chunks.map((chunk) => ({ ...chunk, texts: Buffer.from(chunk.texts) })) };
    },
  };
  const tail = new Tail(fresh, { maxBytes: 0 });
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (const maxBytes of [1, 500_000]) {
    const options = { after: 0, maxBytes };
    watched.reads = 0;
    // A socket keeps a view of its own of the bytes, and nothing else.
    const sent: Uint8Array[] = [];
    for (let peer = 0; peer < 40; peer++) {
      const lines = pageLines(tail.read('a', options) as Page, false);
      sent.push(new Uint8Array(lines.buffer, lines.byteOffset, lines.length));
      if (peer % 10 !== 0) continue;
      await new Promise(setImmediate);
      collect();
    }
    expect(new Set(sent.map(({ buffer }) => buffer)).size, 'all peers hold one buffer').toBe(1);
    expect(watched.reads).toBe(1);
  }
  await log.trim('a', 1);
  watched.reads = 0;
  expect(() => tail.read('a', { after: 0, maxBytes: 1 })).toThrow(expect.objectContaining({ code: 'LOG_GAP' }));
  await log.delete('a');
  expect(tail.read('a', { after: 0, maxBytes: 1 })).toMatchObject({ rows: 0 });
});

// SPEC B17
test('tails that share their room hold no more than it together, and the oldest chunk of all goes first', async () => {
  const [one, two] = [await setUp(), await setUp()];
  const room = new TailRoom(20_000);
  const tails = [one, two].map(({ log }) => new Tail(log, { room }));
  const padding = 'x'.repeat(1_000);
  const isKept = (tail: number, after: number): boolean => {
    const { watched } = [one, two][tail]!;
    watched.reads = 0;
    void tails[tail]!.read('a', { after, maxBytes: 1 });
    return watched.reads === 0;
  };
  await append(one.log, 4, 'a', padding);
  await append(two.log, 3, 'a', padding);
  expect(isKept(0, 0)).toBe(true);
  await append(two.log, 3, 'a', padding);
  expect(room.bytes).toBeLessThanOrEqual(20_000);
  expect([isKept(0, 0), isKept(0, 3), isKept(1, 0)]).toEqual([false, true, true]);
  await append(two.log, 10, 'a', padding);
  expect([isKept(0, 3), isKept(1, 0), isKept(1, 15)]).toEqual([false, false, true]);
  expect(room.bytes).toBe(tails[0]!.bytes + tails[1]!.bytes);
  tails[1]!.close();
  expect(room.bytes).toBe(tails[0]!.bytes);
});

test('a log that lost its file is asked also for pages that someone still holds', async () => {
  const watched = new WatchedLog();
  let isLost = false;
  const inner = await watched.open();
  const log: Log = {
    ...inner,
    get health() {
      return isLost ? 'failed' : inner.health;
    },
    read: (stream, options) => {
      if (isLost) throw new Error('the file is lost');
      return inner.read(stream, options);
    },
  };
  const tail = new Tail(log, { maxBytes: 0 });
  await append(log, 3);
  const held = tail.read('a', { after: 0, maxBytes: 1_000 });
  expect(held).toHaveProperty('rows', 6);
  isLost = true;
  expect(() => tail.read('a', { after: 0, maxBytes: 1_000 })).toThrow('the file is lost');
});
