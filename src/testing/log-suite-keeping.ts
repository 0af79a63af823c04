/** The part of the log suite on retention, and on a log that is not open. */

import assert from 'node:assert/strict';

import { defineStream, type Retention, type Stream } from '../core/model/stream.ts';
import {
  type LogPlace,
  numberedRows,
  openOptions,
  type StoredBatch,
  type TestAt,
  watchRows,
} from './log-suite-place.ts';

const events: Stream = defineStream('events');
const others: Stream = defineStream('others');

export function registerKeeping(testAt: TestAt, { durable }: { readonly durable: boolean }): void {
  registerTrim(testAt);
  registerRetention(testAt);
  registerUsage(testAt);
  if (durable) registerReopening(testAt);
  else registerForgetting(testAt);
}

async function appendOneByOne(place: LogPlace, count: number, of?: string): Promise<StoredBatch[]> {
  const batches: StoredBatch[] = [];
  for (const row of numberedRows(count, of)) batches.push({ token: await place.append('events', [row]), rows: [row] });
  return batches;
}

async function appendTogether(place: LogPlace, count: number): Promise<StoredBatch[]> {
  return Promise.all(
    numberedRows(count).map(async (row) => ({ token: await place.append('events', [row]), rows: [row] })),
  );
}

function registerTrim(testAt: TestAt): void {
  for (const [how, append] of [
    ['one by one', appendOneByOne],
    ['together', appendTogether],
  ] as const) {
    testAt(`a trim of rows appended ${how} drops those up to its token and no other`, async (place) => {
      const log = await place.open([events]);
      const batches = await append(place, 10);
      const { token } = batches[3]!;
      const { latest } = log.bounds('events');
      await log.trim('events', token);
      assert.deepEqual(place.extent('events'), { earliest: token + 1, latest });
      assert.deepEqual(await place.readAll('events', { after: token, maxBytes: 100 }), batches.slice(4));
      await assertGap(place, token - 1);
      await assertGap(place, 0);
      await log.trim('events', token - 1);
      assert.deepEqual(
        place.extent('events'),
        { earliest: token + 1, latest },
        'a trim of what is gone changes nothing',
      );
    });
  }

  testAt('a trim beyond latest drops all and moves nothing: the next token follows on', async (place) => {
    const log = await place.open([events]);
    await appendOneByOne(place, 3);
    const { latest } = log.bounds('events');
    await log.trim('events', latest + 1_000);
    assert.deepEqual(place.extent('events'), { earliest: latest + 1, latest });
    assert.deepEqual(await place.readAll('events', { after: latest, maxBytes: 100 }), []);
    await assertGap(place, latest - 1);
    const token = await place.append('events', ['"after"']);
    assert.ok(token > latest);
    assert.deepEqual(await place.readAll('events', { after: latest, maxBytes: 100 }), [{ token, rows: ['"after"'] }]);
  });

  testAt(
    'a trim comes after the appends that were asked for before it, also of a stream that they make',
    async (place) => {
      const log = await place.open([events]);
      const appended = [log.append('events', ['1']), log.append('events', ['2']), log.append('events', ['3'])];
      await log.trim('events', 2);
      await Promise.all(appended);
      assert.deepEqual(await place.readAll('events', { after: 2, maxBytes: 1_000 }), [{ token: 3, rows: ['3'] }]);
      assert.equal(log.bounds('events').earliest, 3);
    },
  );

  testAt('a trim of an empty stream does nothing', async (place) => {
    const log = await place.open([events]);
    await log.trim('events', 10);
    assert.deepEqual(place.extent('events'), { earliest: 1, latest: 0 });
  });
}

/** Reads the kept rows, and checks that a read of dropped rows is refused. */
async function keptRows(place: LogPlace): Promise<StoredBatch[]> {
  const { earliest } = place.log.bounds('events');
  if (earliest > 1) await assertGap(place, earliest - 2);
  return place.readAll('events', { after: earliest - 1, maxBytes: 100 });
}

async function assertGap(place: LogPlace, after: number): Promise<void> {
  const { earliest } = place.log.bounds('events');
  await assert.rejects(async () => place.log.read('events', { after, maxBytes: 100 }), {
    name: 'LogError',
    code: 'LOG_GAP',
    message: new RegExp(`events.* ${earliest}\\b.* ${after}\\b`),
  });
}

/** After this many commits a log has dropped the rows that its retention does not need. */
const IN_TIME = 20;

/**
 * Checks that the newest batches are kept: all that must be, and no more than whole chunks and rare
 * drops explain.
 */
async function assertKept(
  place: LogPlace,
  batches: readonly StoredBatch[],
  least: number,
  more = IN_TIME,
): Promise<void> {
  const kept = await keptRows(place);
  assert.ok(kept.length >= least, `at least ${least} batches, not ${kept.length}`);
  assert.ok(kept.length <= least + more, `at most ${least + more} batches, not ${kept.length}`);
  assert.deepEqual(kept, batches.slice(-kept.length));
}

function registerRetention(testAt: TestAt): void {
  const open = (place: LogPlace, retain: Retention): Promise<unknown> =>
    place.open([defineStream('events', { retain })]);

  testAt('retain.rows keeps at least the newest rows, and drops the chunks before them in time', async (place) => {
    await open(place, { rows: 10 });
    const batches = await appendOneByOne(place, 65);
    await assertKept(place, batches, 10);
    const together = await appendTogether(place, 40);
    const later = await appendOneByOne(place, IN_TIME);
    await assertKept(place, [...batches, ...together, ...later], 10);
  });

  testAt('retain.ageMs keeps at least the rows that are younger', async (place) => {
    await open(place, { ageMs: 1_000 });
    await appendOneByOne(place, 5, 'old');
    place.passTime(600);
    const middle = await appendOneByOne(place, 5, 'middle');
    place.passTime(600);
    const young = await appendOneByOne(place, IN_TIME, 'young');
    await assertKept(place, [...middle, ...young], middle.length + young.length, 5);
    place.passTime(100_000);
    const hasRows = (): boolean => place.log.bounds('events').earliest <= place.log.bounds('events').latest;
    for (let turn = 0; turn < 1_000 && hasRows(); turn++) await new Promise(setImmediate);
    assert.deepEqual(await keptRows(place), [], 'rows that are too old go also where nothing is appended');
    const last = await appendOneByOne(place, IN_TIME, 'last');
    await assertKept(place, last, last.length);
  });

  testAt('with both limits, what either one keeps is kept', async (place) => {
    await open(place, { rows: 3, ageMs: 1_000 });
    const old = await appendOneByOne(place, 5, 'old');
    place.passTime(2_000);
    const young = await appendOneByOne(place, 2, 'young');
    await assertKept(place, [...old, ...young], 3, 5);
    const more = await appendOneByOne(place, IN_TIME, 'more');
    await assertKept(place, [...old, ...young, ...more], young.length + more.length, 0);
  });

  testAt('retention goes on after a trim', async (place) => {
    await open(place, { rows: 4 });
    await appendTogether(place, 10);
    await place.log.trim('events', 8);
    const batches = await appendOneByOne(place, IN_TIME + 4);
    await assertKept(place, batches, 4);
  });
}

function registerUsage(testAt: TestAt): void {
  const operations = (place: LogPlace, stream: string): Array<[string, () => unknown]> => [
    ['append', () => place.append(stream, ['1'])],
    ['read', () => place.log.read(stream, { after: 0, maxBytes: 100 })],
    ['bounds', () => place.log.bounds(stream)],
    ['trim', () => place.log.trim(stream, 1)],
  ];
  const assertRefused = async (place: LogPlace, stream: string, code: string): Promise<void> => {
    for (const [operation, run] of operations(place, stream))
      await assert.rejects(async () => run(), { name: 'UsageError', code }, operation);
  };

  testAt('a stream that was not declared is refused', async (place) => {
    await place.open([events]);
    await assertRefused(place, 'unheard-of', 'NO_SUCH_STREAM');
  });

  testAt('a log is of use only between open and close, and is opened once', async (place) => {
    const unopened = place.create();
    assert.throws(() => unopened.id, { name: 'UsageError', code: 'CLOSED' });
    assert.throws(() => unopened.bounds('events'), { name: 'UsageError', code: 'CLOSED' });
    await unopened.close();
    const log = await place.open([events]);
    await assert.rejects(log.open(openOptions([events])), {
      name: 'UsageError',
      code: 'INVALID_OPTION',
    });
    await place.append('events', ['1']);
    await log.close();
    await assertRefused(place, 'events', 'CLOSED');
    await log.close();
  });

  testAt('closing finishes what was appended before, and refuses what comes after', async (place) => {
    const log = await place.open([events]);
    const hints: number[] = [];
    let lateAppend: Promise<unknown> = Promise.resolve();
    watchRows(log, ({ latest }) => {
      hints.push(latest);
      if (hints.length > 1) return;
      lateAppend = place.append('events', ['"late"']);
      // Awaited below. Until then a rejection must not count as unhandled.
      lateAppend.catch(() => undefined);
    });
    const appended = place.append('events', ['1']);
    const closed = log.close();
    const token = await appended;
    await closed;
    assert.deepEqual(hints, [token]);
    await assert.rejects(lateAppend, { name: 'UsageError', code: 'CLOSED' });
  });
}

function registerReopening(testAt: TestAt): void {
  testAt('a log that is opened again has the same id, rows and bounds, and goes on', async (place) => {
    const { id } = await place.open([events, others]);
    assert.notEqual(id, '');
    const batches = [...(await appendOneByOne(place, 5)), ...(await appendTogether(place, 5))];
    await place.log.trim('events', batches[1]!.token);
    const extent = place.extent('events');
    const log = await place.open([events, others]);
    assert.equal(log.id, id);
    assert.deepEqual(place.extent('events'), extent);
    assert.deepEqual(await keptRows(place), batches.slice(2));
    const more = await appendOneByOne(place, 1, 'more');
    assert.deepEqual(await keptRows(place), [...batches.slice(2), ...more]);
  });

  testAt('a stream of which all was dropped goes on after its last token when opened again', async (place) => {
    await place.open([events]);
    await appendOneByOne(place, 3);
    const { latest } = place.log.bounds('events');
    await place.log.trim('events', latest);
    await place.open([events]);
    assert.deepEqual(place.extent('events'), { earliest: latest + 1, latest });
    const [batch] = await appendOneByOne(place, 1);
    assert.ok(batch!.token > latest);
  });

  testAt('retention holds for rows from before the log was opened', async (place) => {
    await place.open([defineStream('events')]);
    const old = await appendOneByOne(place, 20, 'old');
    await place.open([defineStream('events', { retain: { rows: 5 } })]);
    const young = await appendOneByOne(place, 2, 'young');
    await assertKept(place, [...old, ...young], 5, 1);
  });

  testAt('what the log holds of streams that are not declared is left alone', async (place) => {
    await place.open([events, others]);
    const batches = await appendOneByOne(place, 3);
    await place.open([others]);
    await assert.rejects(async () => place.log.bounds('events'), { code: 'NO_SUCH_STREAM' });
    await place.append('others', ['1']);
    await place.open([events]);
    assert.deepEqual(await keptRows(place), batches);
  });

  testAt('what was appended while closing is there when opened again', async (place) => {
    await place.open([events]);
    const appended = place.append('events', ['1']);
    await place.open([events]);
    assert.deepEqual(await place.readAll('events'), [{ token: await appended, rows: ['1'] }]);
  });
}

function registerForgetting(testAt: TestAt): void {
  testAt('a log that keeps nothing starts another history each time it is opened', async (place) => {
    const log = await place.open([events]);
    const { id } = log;
    await appendOneByOne(place, 3);
    await log.close();
    await log.open(openOptions([events]));
    assert.notEqual(log.id, id);
    assert.deepEqual(place.extent('events'), { earliest: 1, latest: 0 });
    assert.deepEqual(await place.readAll('events'), []);
  });
}
