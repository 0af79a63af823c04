/** The part of the log suite on eras, on positions of the present history, and on the catalog. */

import assert from 'node:assert/strict';

import { eraNumberOf, formatHistory, type History, logIdOf, originOf, parseHistory } from '../core/model/history.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { CATALOG, catalogRows, type LogPlace, numberedRows, type TestAt } from './log-suite-place.ts';

const events: Stream = defineStream('events');
const others: Stream = defineStream('others');
const WHOLE = { after: 0, maxBytes: 1_000_000 };

export function registerHistories(testAt: TestAt, { durable }: { readonly durable: boolean }): void {
  registerEras(testAt);
  registerJudging(testAt);
  registerRowsAfter(testAt);
  registerCatalog(testAt);
  if (durable) registerReopened(testAt);
  else registerRestarted(testAt);
}

function registerEras(testAt: TestAt): void {
  testAt('an open begins an era of the log, whose number is at least the seconds since 1970', async (place) => {
    const log = await place.open([events]);
    const seconds = Math.floor(place.clock.wallNow() / 1_000);
    assert.match(log.id, /^[0-9a-f]{16}$/);
    assert.equal(logIdOf(log.era), log.id);
    assert.equal(eraNumberOf(log.era), seconds);
    place.passTime(5_000);
    assert.equal(eraNumberOf((await place.open([events])).era), seconds + 5);
  });

  testAt('an append resolves to its position, whose history is the era', async (place) => {
    const log = await place.open([events, others]);
    const positions = await Promise.all([
      log.append('events', ['1']),
      log.append('others', ['1', '2']),
      log.append('events', ['2']),
    ]);
    const history = log.era;
    assert.deepEqual(positions, [
      { stream: 'events', token: 1, history },
      { stream: 'others', token: 1, history },
      { stream: 'events', token: 2, history },
    ]);
    assert.deepEqual(log.bounds('events'), { earliest: 1, latest: 2, history, base: originOf(log.id) });
    assert.equal((await log.read('events', WHOLE)).history, history);
  });

  testAt('an empty stream has the history of its origin at both ends', async (place) => {
    const log = await place.open([events]);
    const origin = originOf(log.id);
    assert.deepEqual(log.bounds('events'), { earliest: 1, latest: 0, history: origin, base: origin });
    assert.equal((await log.read('events', WHOLE)).history, origin);
  });

  testAt('the base of a stream is the history of the last row that was dropped', async (place) => {
    const log = await place.open([events]);
    for (const row of numberedRows(3)) await log.append('events', [row]);
    await log.trim('events', 2);
    assert.deepEqual(log.bounds('events'), { earliest: 3, latest: 3, history: log.era, base: log.era });
    await log.trim('events', 3);
    assert.deepEqual(log.bounds('events'), { earliest: 4, latest: 3, history: log.era, base: log.era });
    assert.equal((await log.read('events', { ...WHOLE, after: 3 })).history, log.era);
  });
}

/** The log's verdict on a place in `events`. */
async function verdict(place: LogPlace, token: Token, history: History | undefined): Promise<string> {
  return place.log.judge({ stream: 'events', token, history });
}

function registerJudging(testAt: TestAt): void {
  testAt('a position is on the history exactly where the row at its token has its era', async (place) => {
    const log = await place.open([events]);
    // Some share a chunk and some do not.
    await Promise.all([1, 2, 3].map(async () => log.append('events', ['1'])));
    await log.append('events', ['4']);
    const { logId, number, random } = parseHistory(log.era)!;
    const otherRandom = formatHistory({ logId, number, random: random === '00000000' ? '00000001' : '00000000' });
    const otherNumber = formatHistory({ logId, number: number + 1, random });
    for (const token of [1, 2, 3, 4]) {
      assert.equal(await verdict(place, token, log.era), 'on');
      assert.equal(await verdict(place, token, undefined), 'on');
      for (const history of [otherRandom, otherNumber, originOf(logId)])
        assert.equal(await verdict(place, token, history), 'reset');
    }
    assert.equal(await verdict(place, 5, log.era), 'reset', 'above latest');
    assert.equal(await verdict(place, 5, undefined), 'reset', 'above latest');
  });

  testAt('token 0 is on every history of its log while nothing is gone, and a gap after', async (place) => {
    const log = await place.open([events]);
    const ofAnyEra = formatHistory({ logId: log.id, number: 7, random: 'abcdef01' });
    const histories = [originOf(log.id), log.era, ofAnyEra, undefined];
    for (const history of histories) assert.equal(await verdict(place, 0, history), 'on', 'of an empty stream');
    await log.append('events', ['1']);
    for (const history of histories) assert.equal(await verdict(place, 0, history), 'on');
    await log.trim('events', 1);
    for (const history of histories) assert.equal(await verdict(place, 0, history), 'gap');
  });

  testAt('a position of another log is a reset, whatever its token', async (place) => {
    const log = await place.open([events]);
    await log.append('events', ['1']);
    const { number, random } = parseHistory(log.era)!;
    const logId = log.id === '0123456789abcdef' ? 'fedcba9876543210' : '0123456789abcdef';
    for (const token of [0, 1, 2])
      for (const history of [originOf(logId), formatHistory({ logId, number, random })])
        assert.equal(await verdict(place, token, history), 'reset');
  });

  for (const together of [false, true]) {
    testAt(
      `rows appended ${together ? 'together' : 'one by one'} are judged where they were trimmed`,
      async (place) => {
        const log = await place.open([events]);
        const append = async (): Promise<unknown> => log.append('events', ['1']);
        if (together) await Promise.all(Array.from({ length: 6 }, append));
        else for (let i = 0; i < 6; i++) await append();
        await log.trim('events', 3);
        const other = formatHistory({ logId: log.id, number: 1, random: 'abcdef01' });
        const verdicts = async (history: History | undefined): Promise<string[]> =>
          Promise.all([0, 1, 2, 3, 4, 6, 7].map(async (token) => verdict(place, token, history)));
        assert.deepEqual(await verdicts(log.era), ['gap', 'gap', 'gap', 'on', 'on', 'on', 'reset']);
        assert.deepEqual(await verdicts(undefined), ['gap', 'gap', 'gap', 'on', 'on', 'on', 'reset']);
        assert.deepEqual(await verdicts(other), ['gap', 'gap', 'gap', 'reset', 'reset', 'reset', 'reset']);
      },
    );
  }

  testAt('a stream that was not declared cannot be judged', async (place) => {
    const log = await place.open([events]);
    const position = { stream: 'unheard-of', token: 0, history: undefined };
    await assert.rejects(async () => log.judge(position), { code: 'NO_SUCH_STREAM' });
  });
}

function registerRowsAfter(testAt: TestAt): void {
  testAt('the rows after a token are counted: exactly between commits, by share within one', async (place) => {
    const log = await place.open([events]);
    assert.equal(log.rowsAfter('events', 0), 0);
    await log.append('events', numberedRows(3));
    await log.append('events', numberedRows(2));
    const together = await Promise.all([1, 1, 10].map(async (rows) => place.append('events', numberedRows(rows))));
    assert.equal(log.rowsAfter('events', 0), 17);
    assert.equal(log.rowsAfter('events', 1), 14);
    assert.equal(log.rowsAfter('events', 2), 12);
    let before = 12;
    for (const token of together) {
      const rows = log.rowsAfter('events', token);
      assert.ok(rows < before && rows >= 0, `${rows} rows after ${token}, ${before} before it`);
      before = rows;
    }
    assert.equal(before, 0);
    assert.equal(log.rowsAfter('events', 1_000), 0);
  });

  testAt('the rows after a token that is gone are those that are kept', async (place) => {
    const log = await place.open([events]);
    for (let i = 0; i < 4; i++) await log.append('events', numberedRows(3));
    await log.trim('events', 2);
    assert.equal(log.rowsAfter('events', 0), 6);
    assert.equal(log.rowsAfter('events', 3), 3);
    await log.trim('events', 4);
    assert.equal(log.rowsAfter('events', 0), 0);
    await log.append('events', numberedRows(2));
    assert.equal(log.rowsAfter('events', 0), 2);
  });
}

function registerCatalog(testAt: TestAt): void {
  testAt('the catalog has a row for each stream that has rows, and none for itself', async (place) => {
    const log = await place.open([events, others, defineStreams('room:*')]);
    assert.deepEqual(await catalogRows(place), []);
    const made = Math.floor(place.clock.wallNow());
    await Promise.all(['events', 'room:1', 'events'].map(async (name) => log.append(name, ['1'])));
    await log.append('others', ['1']);
    assert.deepEqual(
      await catalogRows(place),
      ['events', 'room:1', 'others'].map((stream) => ({ stream, made })),
    );
    assert.deepEqual(log.bounds(CATALOG), { earliest: 1, latest: 3, history: log.era, base: originOf(log.id) });
    assert.equal(await log.judge({ stream: CATALOG, token: 3, history: log.era }), 'on');
    assert.equal(log.rowsAfter(CATALOG, 1), 2);
    assert.deepEqual([...log.streams()], ['events', 'room:1', 'others']);
  });

  testAt('only the log itself appends to the catalog, and nobody trims it', async (place) => {
    const log = await place.open([events]);
    await log.append('events', ['1']);
    await assert.rejects(log.append(CATALOG, ['{}']), { name: 'UsageError', code: 'NO_SUCH_STREAM' });
    await assert.rejects(log.trim(CATALOG, 1), { name: 'UsageError', code: 'NO_SUCH_STREAM' });
    await assert.rejects(log.delete(CATALOG), { name: 'UsageError', code: 'NO_SUCH_STREAM' });
    assert.equal((await catalogRows(place)).length, 1);
  });
}

function registerReopened(testAt: TestAt): void {
  testAt('the number of the era rises with each open, also where the clock was set back', async (place) => {
    const numbers: number[] = [];
    for (let i = 0; i < 4; i++) numbers.push(eraNumberOf((await place.open([events])).era));
    assert.deepEqual(
      numbers.map((number) => number - numbers[0]!),
      [0, 1, 2, 3],
    );
  });

  testAt('rows keep the era in which they were written, and a page ends where the era does', async (place) => {
    const eras: History[] = [];
    for (let i = 0; i < 3; i++) {
      const log = await place.open([events]);
      eras.push(log.era);
      for (const row of numberedRows(2)) await log.append('events', [row]);
    }
    const { log } = place;
    const pages = [];
    for (let after = 0; after < 6; ) {
      const { upTo, hasMore, history } = await log.read('events', { after, maxBytes: 1_000_000 });
      pages.push({ upTo, hasMore, history });
      after = upTo;
    }
    assert.deepEqual(pages, [
      { upTo: 2, hasMore: true, history: eras[0] },
      { upTo: 4, hasMore: true, history: eras[1] },
      { upTo: 6, hasMore: false, history: eras[2] },
    ]);
    for (const [i, history] of eras.entries())
      for (let token = 1; token <= 6; token++)
        assert.equal(await verdict(place, token, history), Math.ceil(token / 2) === i + 1 ? 'on' : 'reset');
    assert.equal(log.rowsAfter('events', 1), 5);
  });

  testAt('the base history outlives the chunks that it is of, and a restart', async (place) => {
    const { era: first } = await place.open([events]);
    for (const row of numberedRows(3)) await place.append('events', [row]);
    const { era: second } = await place.open([events]);
    await place.append('events', ['1']);
    await place.log.trim('events', 2);
    await place.open([events]);
    assert.deepEqual(place.log.bounds('events').base, first);
    assert.equal(await verdict(place, 2, first), 'on');
    assert.equal(await verdict(place, 2, second), 'reset');
    await place.log.trim('events', 4);
    const log = await place.open([events]);
    assert.deepEqual(log.bounds('events'), { earliest: 5, latest: 4, history: second, base: second });
    assert.equal(await verdict(place, 4, second), 'on');
    assert.equal(await verdict(place, 4, first), 'reset');
    await log.append('events', ['2']);
    assert.deepEqual(log.bounds('events'), { earliest: 5, latest: 5, history: log.era, base: second });
    assert.equal(log.rowsAfter('events', 0), 1);
  });

  testAt('retention writes the base history too', async (place) => {
    const { era: first } = await place.open([events]);
    for (const row of numberedRows(5)) await place.append('events', [row]);
    await place.open([defineStream('events', { retain: { rows: 1 } })]);
    await place.append('events', ['1']);
    const { earliest, base } = (await place.open([events])).bounds('events');
    assert.ok(earliest > 1 && earliest <= 6, `the first rows to be dropped, not those up to ${earliest - 1}`);
    assert.equal(base, first);
  });

  testAt('a stream keeps its row of the catalog when the log is opened again, declared or not', async (place) => {
    const { era: first } = await place.open([events]);
    await place.append('events', ['1']);
    const made = Math.floor(place.clock.wallNow());
    place.passTime(1_000);
    const log = await place.open([events, others]);
    assert.deepEqual(await catalogRows(place), [{ stream: 'events', made }]);
    await Promise.all(['events', 'others'].map(async (name) => log.append(name, ['1'])));
    assert.deepEqual(await catalogRows(place), [
      { stream: 'events', made },
      { stream: 'others', made: made + 1_000 },
    ]);
    assert.equal((await log.read(CATALOG, WHOLE)).history, first);
    assert.equal(log.bounds(CATALOG).history, log.era);
    const other = await place.open([others]);
    assert.equal((await catalogRows(place)).length, 2);
    assert.deepEqual([...other.streams()], ['others']);
  });
}

function registerRestarted(testAt: TestAt): void {
  testAt('positions of a log that kept nothing are resets once it is opened again', async (place) => {
    const before = await place.open([events]);
    const position = await before.append('events', ['1']);
    const log = await place.open([events]);
    await log.append('events', ['1']);
    assert.equal(await log.judge(position), 'reset');
    assert.equal(await log.judge({ ...position, token: 0 }), 'reset');
  });
}
