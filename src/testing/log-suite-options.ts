/** The part of the log suite on the options of appends: ids, tokens and histories. */

import assert from 'node:assert/strict';

import { defineStream, type Stream } from '../core/model/stream.ts';
import { type LogPlace, numberedRows, type TestAt } from './log-suite-place.ts';

const events: Stream = defineStream('events');
const others: Stream = defineStream('others');
const DAY_MS = 24 * 60 * 60 * 1_000;

/** A history of another log, as a relay has them. */
const FOREIGN = 'fedcba9876543210.1764281400.a1b2c3d4';
const LATER = 'fedcba9876543210.1764281500.00000001';

export function registerIds(testAt: TestAt, { durable }: { readonly durable: boolean }): void {
  testAt('an append with an id that was seen appends nothing and gives the first position', async (place) => {
    const log = await place.open([events, others]);
    const first = await log.append('events', ['1', '2'], { id: 'a' });
    const other = await log.append('others', ['1', '2'], { id: 'a' });
    await log.append('events', ['3']);
    assert.deepEqual(await log.append('events', ['1', '2'], { id: 'a' }), first);
    assert.deepEqual(await log.append('others', ['1', '2'], { id: 'a' }), other);
    assert.equal(log.bounds('events').latest, first.token + 1);
    assert.notDeepEqual(await log.append('events', ['1', '2'], { id: 'b' }), first);
  });

  testAt('also when both run at once', async (place) => {
    const log = await place.open([events]);
    const positions = await Promise.all([1, 2, 3].map(async () => log.append('events', ['1'], { id: 'a' })));
    assert.deepEqual(positions, [positions[0], positions[0], positions[0]]);
    assert.equal((await place.readAll('events')).length, 1);
  });

  testAt('the same id with other rows is refused, and what waits beside it is appended', async (place) => {
    const log = await place.open([events]);
    const first = log.append('events', ['1'], { id: 'a' });
    const refused = [['2'], ['1', '1'], ['1 ']].map(async (rows) => log.append('events', rows, { id: 'a' }));
    const beside = log.append('events', ['3']);
    for (const one of refused) await assert.rejects(one, { name: 'UsageError', code: 'ID_REUSED' });
    assert.deepEqual(
      (await place.readAll('events')).map(({ rows }) => rows),
      [['1'], ['3']],
    );
    assert.equal((await beside).token, (await first).token + 1);
  });

  testAt('an id is remembered for its time, whatever became of its rows, and no longer', async (place) => {
    const log = await place.open([events]);
    const first = await log.append('events', ['1'], { id: 'a' });
    await log.trim('events', first.token);
    place.passTime(DAY_MS - 1);
    assert.deepEqual(await log.append('events', ['1'], { id: 'a' }), first);
    place.passTime(1);
    assert.notDeepEqual(await log.append('events', ['1'], { id: 'a' }), first);
  });

  testAt('a stream that is deleted forgets its ids', async (place) => {
    const log = await place.open([events]);
    const first = await log.append('events', ['1'], { id: 'a' });
    await log.delete('events');
    const second = await log.append('events', ['2'], { id: 'a' });
    assert.notDeepEqual(second, first);
  });

  testAt('an id of no or too many characters is refused', async (place) => {
    const log = await place.open([events]);
    for (const id of ['', 'x'.repeat(256), '\ud800']) {
      await assert.rejects(log.append('events', ['1'], { id }), { name: 'UsageError', code: 'INVALID_OPTION' });
    }
    await log.append('events', ['1'], { id: 'x'.repeat(255) });
  });

  if (!durable) return;
  testAt('ids outlive a restart', async (place) => {
    await place.open([events]);
    const first = await place.log.append('events', ['1'], { id: 'a' });
    const log = await place.open([events]);
    assert.deepEqual(await log.append('events', ['1'], { id: 'a' }), first);
    await assert.rejects(log.append('events', ['2'], { id: 'a' }), { code: 'ID_REUSED' });
  });
}

export function registerTokens(testAt: TestAt, { durable }: { readonly durable: boolean }): void {
  testAt('a token that is given is the batch’s own, and may skip', async (place) => {
    const log = await place.open([events]);
    const positions = await Promise.all([
      log.append('events', ['1']),
      log.append('events', ['2', '3'], { token: 7 }),
      log.append('events', ['4']),
      log.append('events', ['5'], { token: 100 }),
    ]);
    const tokens = [1, 7, 8, 100];
    assert.deepEqual(
      positions,
      tokens.map((token) => ({ stream: 'events', token, history: log.era })),
    );
    const rows = [['1'], ['2', '3'], ['4'], ['5']];
    const whole = tokens.map((token, i) => ({ token, rows: rows[i] }));
    for (const maxBytes of [1, 1_000]) {
      for (let after = 0; after <= 101; after++) {
        const expected = whole.filter(({ token }) => token > after);
        assert.deepEqual(await place.readAll('events', { after, maxBytes }), expected, `after ${after}`);
      }
    }
    if (!durable) return;
    await place.open([events]);
    assert.deepEqual(await place.readAll('events'), whole);
    assert.equal((await place.log.append('events', ['6'])).token, 101);
  });

  testAt('after the highest token nothing is appended, and what is there stays readable', async (place) => {
    const log = await place.open([events]);
    const token = Number.MAX_SAFE_INTEGER;
    await log.append('events', ['1'], { token });
    await assert.rejects(log.append('events', ['2']), { name: 'UsageError', code: 'INVALID_TOKEN' });
    assert.deepEqual(await place.readAll('events'), [{ token, rows: ['1'] }]);
  });

  testAt('a token that is not above the latest is refused, and what waits beside it is appended', async (place) => {
    const log = await place.open([events]);
    const appended = [log.append('events', ['1'], { token: 5 }), log.append('events', ['2'])];
    for (const token of [5, 6, 1]) {
      await assert.rejects(log.append('events', ['3'], { token }), { name: 'UsageError', code: 'TOKEN_FELL' });
    }
    assert.deepEqual(
      (await Promise.all(appended)).map(({ token }) => token),
      [5, 6],
    );
    await assert.rejects(log.append('events', ['3'], { token: 0.5 }), { code: 'INVALID_TOKEN' });
    assert.equal(log.bounds('events').latest, 6);
  });
}

export function registerRelayed(
  testAt: TestAt,
  { durable, ids }: { readonly durable: boolean; readonly ids: boolean },
): void {
  /** Tokens 10 and 11 of one history, 12 of a later one. */
  const appendForeign = async ({ log }: LogPlace): Promise<void> => {
    await log.rebase!({ stream: 'events', token: 9, history: FOREIGN });
    await Promise.all([
      log.append('events', ['10'], { token: 10, history: FOREIGN }),
      log.append('events', ['11'], { token: 11, history: FOREIGN }),
      log.append('events', ['12'], { token: 12, history: LATER }),
    ]);
  };

  testAt('rows keep a history that is given, and positions of it are judged', async (place) => {
    let log = await place.open([events]);
    await appendForeign(place);
    if (durable) log = await place.open([events]);
    assert.deepEqual(log.bounds('events'), { earliest: 10, latest: 12, history: LATER, base: FOREIGN });
    const judged = async (token: number, history: string): Promise<string> =>
      log.judge({ stream: 'events', token, history });
    assert.deepEqual(await Promise.all([8, 9, 10, 11, 12, 13].map(async (token) => judged(token, FOREIGN))), [
      'gap',
      'on',
      'on',
      'on',
      'reset',
      'reset',
    ]);
    assert.equal(await judged(12, LATER), 'on');
    assert.equal(await judged(11, log.era), 'reset');
    const page = await log.read('events', { after: 9, maxBytes: 1_000 });
    assert.deepEqual([page.upTo, page.history], [11, FOREIGN]);
    await assert.rejects(log.append('events', ['1'], { history: LATER }), { code: 'INVALID_OPTION' });
  });

  testAt('a truncation takes back all rows after its token, and is told', async (place) => {
    let log = await place.open([events]);
    await appendForeign(place);
    const told: string[] = [];
    log.watch(({ kind }) => void told.push(kind));
    await log.truncate!('events', 10);
    assert.deepEqual(told, ['rebased']);
    if (durable) log = await place.open([events]);
    assert.deepEqual(log.bounds('events'), { earliest: 10, latest: 10, history: FOREIGN, base: FOREIGN });
    assert.deepEqual(await place.readAll('events', { after: 9, maxBytes: 100 }), [{ token: 10, rows: ['10'] }]);
    assert.equal(log.rowsAfter('events', 9), 1);
    await log.append('events', ['11b'], { token: 11, history: LATER });
    assert.equal(await log.judge({ stream: 'events', token: 11, history: FOREIGN }), 'reset');
    await log.truncate!('events', 9);
    assert.deepEqual(log.bounds('events'), { earliest: 10, latest: 9, history: FOREIGN, base: FOREIGN });
    for (const token of [8, 10]) await assert.rejects(log.truncate!('events', token), { code: 'INVALID_TOKEN' });
  });

  testAt('rows are counted exactly after a truncation between batches of one turn', async (place) => {
    const log = await place.open([events]);
    await Promise.all([1, 5, 1].map(async (count) => log.append('events', numberedRows(count))));
    await log.truncate!('events', 2);
    await log.append('events', numberedRows(2));
    await log.append('events', numberedRows(3));
    const { chunks } = await log.read('events', { after: 0, maxBytes: 1_000_000 });
    const before = chunks[0]!.rowsUpTo - chunks[0]!.rows;
    assert.equal(chunks.at(-1)!.rowsUpTo - before, 11);
    assert.equal(log.rowsAfter('events', 0), 11);
  });

  testAt('retention goes on after a truncation to where a trim was', async (place) => {
    const retained = defineStream('events', { retain: { rows: 2 } });
    let log = await place.open([retained]);
    // One chunk, of which a part was trimmed and the rest is taken back.
    await Promise.all([1, 1, 1, 1].map(async () => log.append('events', ['1'])));
    const { latest } = log.bounds('events');
    await log.trim('events', latest - 2);
    await log.truncate!('events', latest - 2);
    if (durable) log = await place.open([retained]);
    for (const row of numberedRows(40)) await log.append('events', [row]);
    const { earliest } = log.bounds('events');
    assert.ok(earliest > latest, `rows to be dropped as they come, not kept from ${earliest}`);
  });

  testAt('a rebase drops all rows, and the stream goes on after its position', async (place) => {
    let log = await place.open([events]);
    for (const row of numberedRows(3)) await log.append('events', [row]);
    await log.rebase!({ stream: 'events', token: 41, history: FOREIGN });
    if (durable) log = await place.open([events]);
    assert.deepEqual(log.bounds('events'), { earliest: 42, latest: 41, history: FOREIGN, base: FOREIGN });
    assert.deepEqual(await place.readAll('events', { after: 41, maxBytes: 100 }), []);
    await log.append('events', ['1'], { token: 42, history: LATER });
    assert.deepEqual(await place.readAll('events', { after: 41, maxBytes: 100 }), [{ token: 42, rows: ['1'] }]);
  });

  if (!ids) return;
  testAt('the ids of rows that are taken back are forgotten', async (place) => {
    const log = await place.open([events, others]);
    for (const [i, id] of ['a', 'b', 'c'].entries()) await log.append('events', [`${i}`], { id });
    const other = await log.append('others', ['2'], { id: 'c' });
    await log.truncate!('events', 2);
    assert.equal((await log.append('events', ['1'], { id: 'b' })).token, 2);
    assert.equal((await log.append('events', ['"anew"'], { id: 'c' })).token, 3);
    await log.rebase!({ stream: 'events', token: 41, history: FOREIGN });
    assert.equal((await log.append('events', ['"anew"'], { id: 'a', token: 42, history: FOREIGN })).token, 42);
    assert.deepEqual(await log.append('others', ['2'], { id: 'c' }), other);
  });
}
