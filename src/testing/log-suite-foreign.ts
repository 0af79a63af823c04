/**
 * The part of the log suite on logs in other processes: their hints carry no rows, and their reads
 * and verdicts take time. What is true of the log may change while an answer is on its way.
 */

import assert from 'node:assert/strict';

import { randomInteger, seededRandom } from '../base/random.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import {
  type LogPlace,
  numberedRows,
  parseBatches,
  type StoredBatch,
  type TestAt,
  watchRows,
} from './log-suite-place.ts';

const events: Stream = defineStream('events');

export function registerForeign(testAt: TestAt): void {
  testAt('reads and verdicts are promises', async (place) => {
    const log = await place.open([events]);
    const position = await log.append('events', ['1']);
    const verdict = log.judge(position);
    const page = log.read('events', { after: 0, maxBytes: 100 });
    assert.ok(verdict instanceof Promise && page instanceof Promise, 'what takes time to be a promise');
    assert.deepEqual([await verdict, parseBatches(await page)], ['on', [{ token: position.token, rows: ['1'] }]]);
  });

  testAt('a read that begins after a hint has all rows of the hint', async (place) => {
    const log = await place.open([events]);
    const read: Promise<StoredBatch[]>[] = [];
    watchRows(log, ({ stream, latest, chunks }) => {
      assert.equal(chunks, undefined, 'a hint without rows');
      read.push(readUpTo(place, stream, latest));
    });
    const appended: StoredBatch[] = [];
    for (const row of numberedRows(20)) appended.push({ token: await place.append('events', [row]), rows: [row] });
    const known = await Promise.all(read);
    assert.ok(known.length > 0, 'the log to hint');
    for (const batches of known) assert.deepEqual(batches, appended.slice(0, batches.length));
    assert.deepEqual(known.at(-1), appended);
  });

  testAt(
    'reads that are on their way while rows are appended and dropped each give whole neighbours',
    async (place) => {
      const log = await place.open([events]);
      const random = seededRandom(4711);
      const appended = new Map<number, readonly string[]>();
      const reading: Promise<void>[] = [];
      for (let i = 0; i < 100; i++) {
        const rows = numberedRows(randomInteger(random, 1, 3), `batch ${i}`);
        const appending = place.append('events', rows).then((token) => void appended.set(token, rows));
        const { earliest, latest } = log.bounds('events');
        const after = randomInteger(random, earliest - 1, latest);
        reading.push(readOnce(place, after, appended));
        await appending;
        if (i % 20 === 19) await log.trim('events', randomInteger(random, earliest, latest));
      }
      await Promise.all(reading);
    },
  );

  testAt('a stream that is deleted while a read is on its way gives what it had, or nothing', async (place) => {
    const log = await place.open([events]);
    const { token } = await log.append('events', ['1']);
    const [page] = await Promise.all([log.read('events', { after: 0, maxBytes: 100 }), log.delete('events')]);
    assert.ok([token, 0].includes(page.upTo));
    assert.deepEqual(parseBatches(page), page.upTo === 0 ? [] : [{ token, rows: ['1'] }]);
    assert.equal(page.hasMore, false);
  });
}

async function readUpTo(place: LogPlace, stream: string, latest: number): Promise<StoredBatch[]> {
  const batches = await place.readAll(stream);
  assert.ok((batches.at(-1)?.token ?? 0) >= latest, `the rows up to ${latest}, which a hint named`);
  return batches.filter(({ token }) => token <= latest);
}

/** Reads a page. What was trimmed meanwhile may be refused. */
async function readOnce(
  place: LogPlace,
  after: number,
  appended: ReadonlyMap<number, readonly string[]>,
): Promise<void> {
  let page;
  try {
    page = await place.log.read('events', { after, maxBytes: 200 });
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'LOG_GAP');
    assert.ok(after < place.log.bounds('events').earliest - 1, 'a read of rows that are kept to be answered');
    return;
  }
  const batches = parseBatches(page);
  assert.equal(page.chunks[0]?.after ?? after, after, 'a page to begin where it was asked to');
  assert.equal(batches.at(-1)?.token ?? after, page.upTo);
  // The batch may be there before its append has resolved.
  for (const { token, rows } of batches) if (appended.has(token)) assert.deepEqual(rows, appended.get(token));
}
