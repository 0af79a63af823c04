/** The part of the log suite on retention by acknowledgement (`retain.untilSavedBy`). */

import assert from 'node:assert/strict';

import { defineStreams } from '../core/model/declarations.ts';
import { defineStream, type Retention } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { CuttingEvent, LogHolders } from '../log/log.ts';
import { type LogPlace, numberedRows, type TestAt } from './log-suite-place.ts';

interface Supports {
  readonly durable: boolean;
  readonly relays: boolean;
}

export function registerAcknowledgements(testAt: TestAt, { durable, relays }: Supports): void {
  registerHolding(testAt);
  registerCutting(testAt);
  registerForgetting(testAt);
  registerHistory(testAt, relays);
  if (durable) registerReopened(testAt);
}

const open = (place: LogPlace, retain: Retention): Promise<unknown> => place.open([defineStream('events', { retain })]);

function holdersOf({ log }: LogPlace): LogHolders {
  assert.ok(log.holders, 'a log with supports.acknowledgements to have holders');
  return log.holders;
}

/** Appends rows one by one. Returns the token of the last. */
async function append(place: LogPlace, count: number, stream = 'events'): Promise<Token> {
  let last = 0;
  for (const row of numberedRows(count)) last = await place.append(stream, [row]);
  return last;
}

/** After this many commits a log has dropped the rows that its retention does not need. */
const IN_TIME = 40;

const earliest = ({ log }: LogPlace, stream = 'events'): Token => log.bounds(stream).earliest;

/** Appends until drops are due. Checks that exactly the rows up to the token went. */
async function assertDropped(place: LogPlace, upTo: Token): Promise<void> {
  await append(place, IN_TIME);
  assert.equal(earliest(place), upTo + 1, `the rows up to ${upTo} and no others to be dropped`);
}

function watchCutting({ log }: LogPlace): CuttingEvent[] {
  const told: CuttingEvent[] = [];
  log.watch((event) => {
    if (event.kind === 'cutting') told.push(event);
  });
  return told;
}

function registerHolding(testAt: TestAt): void {
  testAt('a name holds all rows until its worker has saved them, though it never came', async (place) => {
    await open(place, { untilSavedBy: ['audit', 'billing'] });
    const latest = await append(place, IN_TIME);
    assert.equal(earliest(place), 1);
    assert.equal(holdersOf(place).acknowledge('events', 'billing', latest), 'holds');
    await assertDropped(place, 0);
    holdersOf(place).acknowledge('events', 'audit', 10);
    await assertDropped(place, 10);
    holdersOf(place).acknowledge('events', 'audit', latest + IN_TIME);
    await assertDropped(place, latest);
  });

  testAt('a pattern holds all rows until its first worker comes, and then each that has come', async (place) => {
    await open(place, { untilSavedBy: ['reader-*'] });
    await append(place, IN_TIME);
    assert.equal(earliest(place), 1);
    const holders = holdersOf(place);
    holders.hold('events', 'reader-1', undefined);
    holders.acknowledge('events', 'reader-1', 20);
    assert.equal(holders.hold('events', 'other-1', undefined), 'other');
    await assertDropped(place, 20);
    holders.hold('events', 'reader-2', 30);
    holders.acknowledge('events', 'reader-1', 40);
    await assertDropped(place, 20);
    holders.acknowledge('events', 'reader-2', 35);
    await assertDropped(place, 35);
  });

  testAt(
    'who holds rows is listed with what was saved and how many rows follow, furthest behind first',
    async (place) => {
      await open(place, { untilSavedBy: ['audit', 'reader-*'] });
      const holders = holdersOf(place);
      assert.deepEqual(holders.of('events'), [], 'a stream that is not made has no rows to hold');
      assert.equal(holders.hold('events', 'reader-1', 0), 'other');
      const latest = await append(place, 10);
      const { log } = place;
      holders.acknowledge('events', 'reader-1', latest);
      holders.acknowledge('events', 'reader-2', 4);
      assert.deepEqual(holders.of('events'), [
        { worker: 'audit', saved: undefined, lagRows: 10 },
        { worker: 'reader-2', saved: { stream: 'events', token: 4, history: log.era }, lagRows: 6 },
        { worker: 'reader-1', saved: { stream: 'events', token: latest, history: log.era }, lagRows: 0 },
      ]);
    },
  );

  testAt('what a worker asks for can only lower what it has saved', async (place) => {
    await open(place, { untilSavedBy: ['audit', 'slow'] });
    await append(place, IN_TIME);
    const holders = holdersOf(place);
    const savedToken = (): unknown => holders.of('events').find(({ worker }) => worker === 'audit')!.saved?.token;
    holders.hold('events', 'audit', 30);
    assert.equal(savedToken(), undefined);
    holders.acknowledge('events', 'audit', 30);
    holders.hold('events', 'audit', 20);
    holders.hold('events', 'audit', 25);
    assert.equal(savedToken(), 20);
    holders.hold('events', 'audit', undefined);
    assert.equal(savedToken(), undefined);
    await assertDropped(place, 0);
  });

  testAt('a stream without untilSavedBy has no holders', async (place) => {
    await open(place, { rows: 5 });
    await append(place, IN_TIME);
    const holders = holdersOf(place);
    assert.equal(holders.hold('events', 'audit', undefined), 'other');
    assert.equal(holders.acknowledge('events', 'audit', 3), 'other');
    assert.deepEqual(holders.of('events'), []);
    assert.throws(() => holders.of('unheard-of'), { code: 'NO_SUCH_STREAM' });
  });

  testAt('a trim drops rows, whoever holds them', async (place) => {
    await open(place, { untilSavedBy: ['audit'] });
    await append(place, 10);
    holdersOf(place).acknowledge('events', 'audit', 3);
    await place.log.trim('events', 8);
    assert.equal(earliest(place), 9);
    assert.equal(holdersOf(place).of('events')[0]!.lagRows, 2);
    holdersOf(place).acknowledge('events', 'audit', 5);
    assert.equal(holdersOf(place).of('events')[0]!.saved, undefined, 'the history of what is gone is not known');
  });
}

function registerCutting(testAt: TestAt): void {
  testAt('rows cuts what a worker has not saved, and it is told before, once until it has caught up', async (place) => {
    await open(place, { untilSavedBy: ['audit', 'billing'], rows: 20 });
    const told = watchCutting(place);
    await append(place, 10);
    const holders = holdersOf(place);
    holders.acknowledge('events', 'audit', 5);
    holders.acknowledge('events', 'billing', 10);
    await append(place, 10);
    holders.acknowledge('events', 'billing', 20);
    assert.equal(told.length, 0);
    while (told.length === 0) await append(place, 1);
    const { holder, upTo, stream } = told[0]!;
    assert.deepEqual([stream, holder.worker, holder.saved?.token], ['events', 'audit', 5]);
    assert.ok(upTo > 5 && holder.lagRows >= 20, `rows up to ${upTo} to go, ${holder.lagRows} rows behind`);
    assert.ok(earliest(place) <= 6, 'what is told to be cut to be there still');
    holders.acknowledge('events', 'billing', place.log.bounds('events').latest);
    await append(place, 15);
    holders.acknowledge('events', 'billing', place.log.bounds('events').latest);
    await append(place, IN_TIME);
    holders.acknowledge('events', 'billing', place.log.bounds('events').latest);
    assert.ok(earliest(place) > 6, 'rows to be cut');
    assert.equal(told.filter(({ holder: { worker } }) => worker === 'audit').length, 1);
    holders.acknowledge('events', 'audit', place.log.bounds('events').latest);
    await append(place, IN_TIME + 20);
    assert.equal(told.filter(({ holder: { worker } }) => worker === 'audit').length, 2);
  });

  testAt('ageMs cuts what a worker has not saved', async (place) => {
    await open(place, { untilSavedBy: ['audit'], ageMs: 1_000 });
    const told = watchCutting(place);
    const latest = await append(place, 10);
    place.passTime(2_000);
    await append(place, IN_TIME);
    assert.deepEqual(
      told.map(({ holder }) => [holder.worker, holder.saved]),
      [['audit', undefined]],
    );
    await append(place, IN_TIME);
    assert.equal(earliest(place), latest + 1);
  });

  testAt('what all have saved goes though rows and ageMs would keep it, and nothing is told', async (place) => {
    await open(place, { untilSavedBy: ['audit'], rows: 1_000, ageMs: 1_000_000 });
    const told = watchCutting(place);
    const latest = await append(place, 10);
    holdersOf(place).acknowledge('events', 'audit', latest);
    await assertDropped(place, latest);
    assert.equal(told.length, 0);
  });
}

function registerForgetting(testAt: TestAt): void {
  const rooms = defineStreams('room:*', { retain: { untilSavedBy: ['audit', 'reader-*'] } });

  testAt('a worker that is forgotten holds nothing in any stream until it follows again', async (place) => {
    await place.open([rooms, defineStream('events')]);
    const holders = holdersOf(place);
    for (const stream of ['room:1', 'room:2', 'events']) await append(place, 5, stream);
    for (const stream of ['room:1', 'room:2']) holders.acknowledge(stream, 'audit', 5);
    holders.acknowledge('room:2', 'reader-1', 2);
    assert.deepEqual(await holders.forget('reader-1'), ['room:2']);
    assert.deepEqual(await holders.forget('reader-1'), []);
    assert.deepEqual((await holders.forget('audit')).toSorted(), ['room:1', 'room:2']);
    assert.deepEqual(holders.of('room:2'), []);
    await append(place, IN_TIME, 'room:2');
    assert.equal(earliest(place, 'room:2'), 6, 'what was let go to be dropped, and what came after it to be kept');
    holders.hold('room:2', 'audit', undefined);
    assert.deepEqual(
      holders.of('room:2').map(({ worker }) => worker),
      ['audit'],
    );
    assert.deepEqual(await holders.forget('reader-*'), ['room:1'], 'a pattern whose first worker has not come');
  });

  testAt('a stream that is deleted and made again has the holders of a new one', async (place) => {
    await place.open([rooms]);
    const holders = holdersOf(place);
    await append(place, 5, 'room:1');
    holders.acknowledge('room:1', 'audit', 5);
    holders.acknowledge('room:1', 'reader-1', 5);
    await place.log.delete('room:1');
    assert.deepEqual(holders.of('room:1'), []);
    await append(place, 6, 'room:1');
    assert.deepEqual(holders.of('room:1'), [
      { worker: 'audit', saved: undefined, lagRows: 6 },
      { worker: 'reader-*', saved: undefined, lagRows: 6 },
    ]);
  });
}

function registerHistory(testAt: TestAt, relays: boolean): void {
  if (!relays) return;
  testAt('what was saved of rows that are taken back counts as nothing', async (place) => {
    const log = await place.open([defineStream('events', { retain: { untilSavedBy: ['a', 'b'] } })]);
    await append(place, 10);
    const holders = holdersOf(place);
    holders.acknowledge('events', 'a', 8);
    holders.acknowledge('events', 'b', 4);
    await log.truncate!('events', 6);
    const tokens = (): unknown => holders.of('events').map(({ worker, saved }) => [worker, saved?.token]);
    assert.deepEqual(tokens(), [
      ['a', undefined],
      ['b', 4],
    ]);
    await log.rebase!({ stream: 'events', token: 50, history: log.era });
    assert.deepEqual(tokens(), [
      ['a', undefined],
      ['b', undefined],
    ]);
  });
}

function registerReopened(testAt: TestAt): void {
  const retain = { untilSavedBy: ['audit', 'gone', 'reader-*'] };

  testAt('a log that is opened again has the same holders', async (place) => {
    await open(place, retain);
    await append(place, 10);
    const holders = holdersOf(place);
    holders.acknowledge('events', 'audit', 8);
    holders.acknowledge('events', 'reader-1', 4);
    holders.hold('events', 'reader-2', 4);
    await holders.forget('gone');
    const before = holders.of('events');
    await open(place, retain);
    assert.deepEqual(holdersOf(place).of('events'), before);
    await append(place, 5);
    holdersOf(place).acknowledge('events', 'reader-2', 6);
    await open(place, retain);
    await assertDropped(place, 4);
  });

  testAt(
    'the option holds for rows from before it was set, and what it no longer names holds nothing',
    async (place) => {
      await open(place, {});
      await append(place, 10);
      await open(place, retain);
      assert.deepEqual(
        holdersOf(place)
          .of('events')
          .map(({ worker, lagRows }) => [worker, lagRows]),
        [
          ['audit', 10],
          ['gone', 10],
          ['reader-*', 10],
        ],
      );
      holdersOf(place).acknowledge('events', 'reader-1', 3);
      await open(place, { untilSavedBy: ['audit'] });
      await append(place, 1);
      assert.deepEqual(
        holdersOf(place)
          .of('events')
          .map(({ worker }) => worker),
        ['audit'],
      );
      await open(place, retain);
      assert.deepEqual(
        holdersOf(place)
          .of('events')
          .map(({ worker }) => worker),
        ['audit', 'gone', 'reader-*'],
        'a worker from before the option was set again to be let in when it follows again',
      );
    },
  );
}
