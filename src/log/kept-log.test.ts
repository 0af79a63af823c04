import { expect, test } from 'vitest';

import { defineStreams } from '../core/model/declarations.ts';
import { LogError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import { type DifferentialTestOptions, differentialTest } from '../testing/differential.ts';
import { logSuite } from '../testing/log-suite.ts';
import { openOptions, parseBatches } from '../testing/log-suite-place.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { type Change, type ChangeStore, formatChange, parseChange } from './change.ts';
import { KeptLog } from './kept-log.ts';

/** Keeps changes as text, which takes a turn of the event loop, as a database would. */
class SlowStore implements ChangeStore {
  texts: string[] = [];
  rewrites = 0;
  isClosed = true;
  fault: Error | undefined;
  #gate: Promise<void> = Promise.resolve();

  /** Writes wait until the function that it returns is called. */
  closeGate(): () => void {
    let open = (): void => {};
    this.#gate = new Promise((resolve) => (open = resolve));
    return () => open();
  }

  async open(): Promise<Change[]> {
    this.isClosed = false;
    return this.texts.map(parseChange);
  }

  async write(change: Change): Promise<void> {
    await this.#gate;
    await new Promise(setImmediate);
    if (this.fault !== undefined) throw this.fault;
    this.texts.push(formatChange(change));
  }

  async rewrite(changes: Iterable<Change>): Promise<void> {
    this.texts = Array.from(changes, formatChange);
    this.rewrites++;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

const stores = new Map<string, SlowStore>();

const tested: DifferentialTestOptions = {
  name: 'log over a slow store',
  create: ({ directory, clock }) => {
    const store = stores.get(directory) ?? new SlowStore();
    stores.set(directory, store);
    return new KeptLog({ name: 'slow', store, clock });
  },
  supports: {
    durable: true,
    ids: true,
    explicitTokens: true,
    relays: true,
    acknowledgements: true,
    backup: false,
    foreignHints: false,
  },
};

logSuite(test, tested);
differentialTest(test, tested);

const declared = [defineStream('events'), defineStreams('room:*', { retain: { untilSavedBy: ['audit'] } })];

async function opened(store: SlowStore, declarations = declared): Promise<KeptLog> {
  const log = new KeptLog({ name: 'slow', store, clock: new VirtualClock() });
  await log.open(openOptions(declarations));
  return log;
}

test('while a write is on its way nothing of it is seen, and all that comes shares the next one', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  await log.append('events', ['0']);
  const before = store.texts.length;
  const openGate = store.closeGate();
  const first = log.append('events', ['1']);
  await new Promise(setImmediate);
  const later = [log.append('events', ['2']), log.append('events', ['3'])];
  await new Promise(setImmediate);
  expect(log.bounds('events').latest).toBe(1);
  openGate();
  const tokens = (await Promise.all([first, ...later])).map(({ token }) => token);
  expect(tokens).toEqual([2, 3, 4]);
  expect(store.texts.length - before).toBe(2);
});

test('a trim, a deletion and appends happen in the order in which they were asked for', async () => {
  const log = await opened(new SlowStore());
  const done = [
    log.append('events', ['1']),
    log.append('events', ['2']),
    log.trim('events', 1),
    log.append('events', ['3']),
    log.delete('events'),
    log.append('events', ['4']),
    log.trim('events', 1),
    log.append('events', ['5']),
  ];
  await Promise.all(done);
  expect(log.bounds('events')).toMatchObject({ earliest: 2, latest: 2 });
  const page = await log.read('events', { after: 1, maxBytes: 100 });
  expect(parseBatches(page)).toEqual([{ token: 2, rows: ['5'] }]);
  await log.close();
});

// SPEC L19
test('after a write that failed the log refuses all changes until it is opened again', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  await log.append('events', ['1']);
  store.fault = new Error('the disk is gone');
  const waiting = [log.append('events', ['2']), log.append('events', ['3'])];
  for (const one of waiting) await expect(one).rejects.toMatchObject({ code: 'LOG_OUTCOME_UNKNOWN' });
  store.fault = undefined;
  expect(log.health).toBe('failed');
  expect(log.trouble?.code).toBe('LOG_OUTCOME_UNKNOWN');
  await expect(log.append('events', ['4'])).rejects.toMatchObject({ code: 'LOG_OUTCOME_UNKNOWN' });
  await expect(log.trim('events', 1)).rejects.toMatchObject({ code: 'LOG_OUTCOME_UNKNOWN' });
  expect(log.bounds('events').latest).toBe(1);
  await log.close();
  expect(store.isClosed).toBe(true);
  await log.open(openOptions(declared));
  expect([log.health, log.trouble]).toEqual(['ok', undefined]);
  expect((await log.append('events', ['2'])).token).toBe(2);
});

test('the error of a store is passed on where it is a LogError', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  store.fault = new LogError('LOG_FULL', 'no room');
  await expect(log.append('events', ['1'])).rejects.toBe(store.fault);
});

test('a store that cannot be read is closed, and the log is not open', async () => {
  const store = new SlowStore();
  store.texts = ['{'];
  await expect(opened(store)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
  expect(store.isClosed).toBe(true);
});

test.each<[unknown, string]>([
  [undefined, 'gave undefined, not a list of changes: an empty store gives []'],
  ['{}', 'gave a string, not a list of changes'],
  [['{"era":"8f3c1d2e4b5a6978.7.a1b2c3d4"}'], 'gave a string in place of a change: parseChange makes one of a text'],
  [[{ trimmed: [] }], 'begins no era'],
])('a store that gives %s in place of its changes is refused, and nothing is written over', async (given, why) => {
  const written: unknown[] = [];
  const store = {
    open: () => given as Iterable<Change>,
    write: (change: Change) => void written.push(change),
    rewrite: (changes: Iterable<Change>) => void written.push(changes),
    close: () => {},
  };
  await expect(new KeptLog({ name: 'mine', store }).open(openOptions(declared))).rejects.toThrow(why);
  expect(written).toEqual([]);
});

test('what is rewritten makes the same log: rows, bounds, ids, holders, and streams that are not declared', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  await log.append('events', ['1', '2'], { id: 'a', attributes: '{"a":1}' });
  await Promise.all([log.append('events', ['"é"']), log.append('events', ['4'], { token: 10 })]);
  await log.append('room:1', ['1']);
  await log.append('room:2', ['1']);
  log.holders.acknowledge('room:1', 'audit', 1);
  await log.trim('events', 1);
  await log.delete('room:2');
  const whole = async (of: KeptLog): Promise<unknown> => ({
    bounds: ['events', 'room:1', 'room:2', '$streams'].map((name) => of.bounds(name)),
    names: [...of.streams()],
    rows: parseBatches(await of.read('events', { after: 1, maxBytes: 1_000 })),
    left: [0, 1, 2, 5, 10].map((after) => of.rowsAfter('events', after)),
    holders: of.holders.of('room:1'),
    verdict: await of.judge({ stream: 'events', token: 1, history: of.bounds('events').base }),
  });
  const before = await whole(log);
  await log.close();
  // Opened once without the rooms: they are kept all the same.
  const other = await opened(store, [defineStream('events')]);
  expect([...other.streams()]).toEqual(['events']);
  expect(() => other.bounds('room:1')).toThrow('room:1');
  await other.close();
  const again = await opened(store);
  expect(store.rewrites).toBe(3);
  expect(await whole(again)).toEqual(before);
  expect((await again.append('events', ['1', '2'], { id: 'a' })).token).toBe(1);
});

test('very many workers that ask at once cost one write', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  const names = Array.from({ length: 100 }, (_, i) => `room:${i}`);
  await Promise.all(names.map(async (name) => log.append(name, ['1'])));
  const before = store.texts.length;
  for (const name of names) log.holders.acknowledge(name, 'audit', 1);
  await log.close();
  expect(store.texts.length - before).toBe(1);
});

test('what a worker sets free is dropped, also when a commit of another stream comes first', async () => {
  const log = await opened(new SlowStore());
  await log.append('room:1', ['1']);
  await log.append('events', ['1']);
  const appended = log.append('events', ['2']);
  log.holders.acknowledge('room:1', 'audit', 1);
  await appended;
  await expect.poll(() => log.bounds('room:1').earliest).toBe(2);
});

test('rows age while the log is open and nothing is appended, also where it is opened again', async () => {
  const store = new SlowStore();
  const clock = new VirtualClock();
  const declarations = [defineStream('events', { retain: { ageMs: 1_000 } })];
  const log = new KeptLog({ name: 'slow', store, clock });
  await log.open(openOptions(declarations));
  await log.append('events', ['1'], { id: 'a' });
  clock.step(clock.now() + 1_000);
  await log.close();
  await log.open(openOptions(declarations));
  await log.append('events', ['2']);
  expect(log.bounds('events').earliest).toBe(2);
});

test('a log whose last write fails is closed all the same', async () => {
  const store = new SlowStore();
  const log = await opened(store);
  store.fault = new Error('the disk is gone');
  await log.close();
  expect(store.isClosed).toBe(true);
  expect(() => log.bounds('events')).toThrow('not open');
});

test('a write that is on its way for over a second is told while it lasts', async () => {
  let now = 1_000_000;
  const clock = { now: () => now, wallNow: () => now, wakeIn: () => ({ cancel: () => {} }) };
  let finish = (): void => {};
  const store = {
    open: () => [],
    write: async (): Promise<void> =>
      new Promise((resolve) => {
        finish = resolve;
        if (now === 1_000_000) resolve();
      }),
    close: () => {},
  };
  const log = new KeptLog({ name: 'slow disk', store, clock });
  await log.open(openOptions(declared));
  now++;
  const appended = log.append('events', ['1']);
  await new Promise(setImmediate);
  now += 1_000;
  expect([log.health, log.trouble]).toEqual(['ok', undefined]);
  now += 1;
  expect([log.health, log.trouble]).toEqual(['slow', { sinceMs: 1_000_001, lastCommitMs: 1_001, code: undefined }]);
  finish();
  await appended;
  expect(log.trouble).toEqual({ sinceMs: 1_000_001, lastCommitMs: 1_001, code: undefined });
  await Promise.all([log.close(), new Promise(setImmediate).then(() => finish())]);
});
