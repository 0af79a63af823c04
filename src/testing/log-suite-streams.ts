/** The part of the log suite on streams that are made and deleted while the log is open. */

import assert from 'node:assert/strict';

import { defineStreams } from '../core/model/declarations.ts';
import { eraNumberOf, originOf } from '../core/model/history.ts';
import { defineStream, type Stream } from '../core/model/stream.ts';
import type { SourceEvent } from '../log/log.ts';
import { CATALOG, catalogRows, type LogPlace, numberedRows, type TestAt } from './log-suite-place.ts';

const rooms = defineStreams('room:*', { retain: { rows: 5 } });
const events: Stream = defineStream('events');

export function registerStreams(testAt: TestAt, { durable }: { readonly durable: boolean }): void {
  registerMaking(testAt);
  registerDeleting(testAt);
  if (durable) registerReopened(testAt);
}

function registerMaking(testAt: TestAt): void {
  testAt('a stream that is declared and not made is empty at 0', async (place) => {
    const log = await place.open([events, rooms]);
    const origin = originOf(log.id);
    for (const stream of ['events', 'room:1']) {
      assert.equal(log.serves(stream), true);
      assert.deepEqual(log.bounds(stream), { earliest: 1, latest: 0, history: origin, base: origin });
      assert.equal(await log.judge({ stream, token: 0, history: origin }), 'on');
      assert.equal(await log.judge({ stream, token: 1, history: log.era }), 'reset');
      assert.deepEqual(await place.readAll(stream), []);
      assert.equal(log.rowsAfter(stream, 0), 0);
      await log.trim(stream, 10);
    }
    assert.deepEqual([...log.streams()], []);
    assert.equal(log.serves('user:1'), false);
    assert.equal(log.serves(CATALOG), true);
  });

  testAt('the hint of the catalog comes before that of a stream that is made', async (place) => {
    const log = await place.open([events, rooms]);
    const hints = watchAll(place);
    await Promise.all(['room:1', 'events', 'room:2'].map(async (name) => log.append(name, ['1'])));
    assert.deepEqual(hints, ['rows $streams 3', 'rows room:1 1', 'rows events 1', 'rows room:2 1']);
    await log.append('room:1', ['2']);
    assert.deepEqual(hints.slice(4), ['rows room:1 2']);
  });

  testAt('a stream of a pattern has the options of its pattern', async (place) => {
    const log = await place.open([rooms]);
    for (const row of numberedRows(40)) await log.append('room:1', [row]);
    assert.ok(log.bounds('room:1').earliest > 10, 'retention to drop rows of a stream that was made');
  });
}

function registerDeleting(testAt: TestAt): void {
  testAt('a stream that is deleted is as if it was never made, and its deletion is told', async (place) => {
    const log = await place.open([events, rooms]);
    const before = await log.append('room:1', ['1']);
    const kept = await log.append('room:2', ['1']);
    const made = Math.floor(place.clock.wallNow());
    place.passTime(5);
    const hints = watchAll(place);
    await log.delete('room:1');
    assert.deepEqual(hints, ['rows $streams 3', 'deleted room:1']);
    assert.deepEqual(await catalogRows(place), [
      { stream: 'room:1', made },
      { stream: 'room:2', made },
      { stream: 'room:1', deleted: made + 5 },
    ]);
    assert.equal(log.bounds('room:1').latest, 0);
    assert.deepEqual(await place.readAll('room:1'), []);
    assert.equal(await log.judge(before), 'reset');
    assert.equal(await log.judge(kept), 'on');
    assert.deepEqual([...log.streams()], ['room:2']);
  });

  testAt('a stream that is not made cannot be deleted, and nothing is told', async (place) => {
    const log = await place.open([events, rooms]);
    const hints = watchAll(place);
    await log.delete('room:1');
    assert.deepEqual(hints, []);
    await assert.rejects(log.delete('user:1'), { name: 'UsageError', code: 'NO_SUCH_STREAM' });
  });

  testAt('a name that is made again in the era of its deletion begins another era first', async (place) => {
    const log = await place.open([events, rooms]);
    const first = await log.append('room:1', ['1']);
    await log.delete('room:1');
    const other = await log.append('events', ['1']);
    assert.equal(other.history, first.history, 'no other stream to need another era');
    const hints = watchAll(place);
    const second = await log.append('room:1', ['2']);
    assert.deepEqual(hints, [`era ${log.era}`, 'rows $streams 4', 'rows room:1 1']);
    assert.equal(second.token, 1);
    assert.equal(second.history, log.era);
    assert.ok(eraNumberOf(second.history) > eraNumberOf(first.history!));
    assert.equal(await log.judge(first), 'reset');
    assert.equal(await log.judge(second), 'on');
    assert.equal(await log.judge(other), 'on');
    await log.append('room:1', ['3']);
    assert.equal(hints.length, 4, 'one era to be enough');
  });

  testAt(
    'what was appended before a deletion is gone with the stream, and what comes later makes it again',
    async (place) => {
      const log = await place.open([rooms]);
      const before = log.append('room:1', ['1']);
      const deleted = log.delete('room:1');
      const after = log.append('room:1', ['2']);
      await Promise.all([before, deleted, after]);
      assert.deepEqual(await place.readAll('room:1'), [{ token: (await after).token, rows: ['2'] }]);
      assert.equal(await log.judge(await before), 'reset');
    },
  );
}

function registerReopened(testAt: TestAt): void {
  testAt('a deletion outlives a restart, and so do the streams that were made', async (place) => {
    await place.open([rooms]);
    const first = await place.log.append('room:1', ['1']);
    await place.log.append('room:2', ['1']);
    await place.log.delete('room:1');
    const log = await place.open([rooms]);
    assert.deepEqual([...log.streams()], ['room:2']);
    assert.equal(log.bounds('room:1').latest, 0);
    assert.equal(await log.judge(first), 'reset');
    const { era } = log;
    const again = await log.append('room:1', ['2']);
    assert.equal(again.history, era, 'the open to have begun an era already');
    assert.equal(await log.judge(first), 'reset');
    assert.deepEqual(await place.readAll('room:1'), [{ token: 1, rows: ['2'] }]);
  });

  testAt('options that change between starts apply when the stream is opened again', async (place) => {
    await place.open([defineStreams('room:*')]);
    for (const row of numberedRows(30)) await place.append('room:1', [row]);
    const log = await place.open([defineStreams('room:*', { retain: { rows: 3 } })]);
    for (const row of numberedRows(20)) await log.append('room:1', [row]);
    assert.ok(log.bounds('room:1').earliest > 30, 'the new retention to hold');
  });
}

/** What the log tells, as text. */
function watchAll({ log }: LogPlace): string[] {
  const told: string[] = [];
  log.watch((event) => void told.push(textOf(event)));
  return told;
}

function textOf(event: SourceEvent): string {
  switch (event.kind) {
    case 'rows':
      return `rows ${event.stream} ${event.latest}`;
    case 'era':
      return `era ${event.era}`;
    default:
      return `${event.kind} ${event.stream}`;
  }
}
