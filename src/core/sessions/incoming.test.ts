import { describe, expect, test } from 'vitest';
import { describeRows } from '../../../test/support/session-ends.ts';
import { LenientIncoming, type RowsOutput, StrictIncoming } from './incoming.ts';

const MAX_BATCH_BYTES = 1_000;

function outputs(): { push: (output: RowsOutput) => void; take: () => string[] } {
  let kept: RowsOutput[] = [];
  return {
    push: (output) => kept.push(output),
    take: () => {
      const told = kept.map((output) => describeRows(output));
      kept = [];
      return told;
    },
  };
}

const setUp = <Any>(
  Kind: new (maxBatchBytes: number, into: { push: (output: RowsOutput) => void }) => Any,
): Any & { take: () => string[] } => {
  const into = outputs();
  return Object.assign(new Kind(MAX_BATCH_BYTES, into) as Any & object, { take: into.take });
};
const strict = (): StrictIncoming & { take: () => string[] } => setUp(StrictIncoming);
const lenient = (): LenientIncoming & { take: () => string[] } => setUp(LenientIncoming);

describe('toward a Rowcast primary', () => {
  test('a batch is told only when its last row has come, and moves the position', () => {
    const incoming = strict();
    incoming.subscribe('events', 53);
    incoming.takeRow('events', undefined, 'a', 10);
    incoming.takeRow('events', undefined, 'b', 10);
    expect(incoming.take()).toEqual([]);
    incoming.takeRow('events', 54, 'c', 10);
    expect(incoming.take()).toEqual(['events 54 ["a","b","c"] @54']);
  });

  test('batches of several streams do not mix', () => {
    const incoming = strict();
    incoming.subscribe('events', 0);
    incoming.subscribe('typing', 0);
    incoming.takeRow('events', undefined, 1, 10);
    incoming.takeRow('typing', 1, 'x', 10);
    incoming.takeRow('events', 1, 2, 10);
    expect(incoming.take()).toEqual(['typing 1 ["x"] @1', 'events 1 [1,2] @1']);
  });

  test('POSITION tells the position, and for the first time that the stream is live', () => {
    const incoming = strict();
    incoming.subscribe('events', 53);
    incoming.takePosition('events', 53);
    incoming.takePosition('events', 60);
    expect(incoming.take()).toEqual(['events @53 live', 'events @60']);
  });

  test('from NOW the first POSITION says where', () => {
    const incoming = strict();
    incoming.subscribe('events', 'NOW');
    incoming.takePosition('events', 7);
    incoming.takeRow('events', 8, 'x', 10);
    expect(incoming.take()).toEqual(['events @7 live', 'events 8 ["x"] @8']);
  });

  test('rows at or below the position are dropped, at most once each within a process', () => {
    const incoming = strict();
    incoming.subscribe('events', 5);
    incoming.takeRow('events', 4, 'old', 10);
    incoming.takeRow('events', 5, 'old', 10);
    incoming.takeRow('events', 6, 'new', 10);
    incoming.takeRow('events', 6, 'again', 10);
    expect(incoming.take()).toEqual(['events 6 ["new"] @6']);
  });

  test('a token that falls on one connection is an error', () => {
    const incoming = strict();
    incoming.subscribe('events', 0);
    incoming.takeRow('events', 7, 'x', 10);
    expect(() => incoming.takeRow('events', 6, 'y', 10)).toThrow(
      expect.objectContaining({
        code: 'TOKEN_FELL',
        message: 'stream events went from token 7 to 6, expected a higher one',
      }),
    );
  });

  test('a lower POSITION is a reset; what is unfinished belongs to the old history, and rows start again after it', () => {
    const incoming = strict();
    incoming.subscribe('events', 50);
    incoming.takeRow('events', 51, 'old', 10);
    incoming.takeRow('events', undefined, 'torn', 10);
    incoming.takePosition('events', 2);
    incoming.takeRow('events', 3, 'new', 10);
    incoming.takePosition('events', 3);
    expect(incoming.take()).toEqual([
      'events 51 ["old"] @51',
      'events reset @2',
      'events 3 ["new"] @3',
      'events @3 live',
    ]);
  });

  test('a rewind to where nothing is kept is a reset, then live', () => {
    const incoming = strict();
    incoming.subscribe('events', 50);
    incoming.takePosition('events', 0);
    incoming.takePosition('events', 0);
    expect(incoming.take()).toEqual(['events reset @0', 'events @0 live']);
  });

  test('streams that were not asked for are ignored', () => {
    const incoming = strict();
    incoming.subscribe('events', 0);
    incoming.takeRow('typing', 1, 'x', 10);
    incoming.takePosition('typing', 1);
    incoming.endRun();
    expect(incoming.take()).toEqual([]);
  });
});

describe('toward any other primary', () => {
  test('in catch-up the position moves only at POSITION', () => {
    const incoming = lenient();
    incoming.subscribe('account_data', 10);
    for (const token of [12, 14, 14, 11, 13]) incoming.takeRow('account_data', token, token, 10);
    incoming.endRun();
    incoming.takePosition('account_data', 14);
    expect(incoming.take()).toEqual([
      'account_data 12 [12]',
      'account_data 14 [14]',
      'account_data 14 [14]',
      'account_data 11 [11]',
      'account_data 13 [13]',
      'account_data @14 live',
    ]);
  });

  test('live the position moves to the highest token once another line comes, and no row is dropped for its token', () => {
    const incoming = lenient();
    incoming.subscribe('backfill', 'NOW');
    incoming.takePosition('backfill', 45);
    incoming.take();
    for (const token of [67, 66, 53, 46, 47]) incoming.takeRow('backfill', token, token, 10);
    expect(incoming.take()).toEqual([
      'backfill 67 [67]',
      'backfill 66 [66]',
      'backfill 53 [53]',
      'backfill 46 [46]',
      'backfill 47 [47]',
    ]);
    incoming.endRun();
    expect(incoming.take()).toEqual(['backfill @67']);
    incoming.takeRow('backfill', 48, 48, 10);
    incoming.endRun();
    expect(incoming.take(), 'it never falls').toEqual(['backfill 48 [48]']);
    incoming.endRun();
    expect(incoming.take()).toEqual([]);
  });

  test('each stream moves by itself, when a line of another one comes', () => {
    const incoming = lenient();
    incoming.subscribeAll();
    incoming.takePosition('a', 1);
    incoming.takePosition('b', 1);
    incoming.takeRow('a', 2, 0, 10);
    incoming.takeRow('b', undefined, 0, 10);
    incoming.takeRow('a', 3, 0, 10);
    incoming.takeRow('b', 5, 0, 10);
    incoming.endRun();
    expect(incoming.take()).toEqual([
      'a @1 live',
      'b @1 live',
      'a 2 [0]',
      'a @2',
      'a 3 [0]',
      'a @3',
      'b 5 [0,0]',
      'b @5',
    ]);
  });

  test('a lower POSITION is a reset, and says where the new history stands', () => {
    const incoming = lenient();
    incoming.subscribe('typing', 12);
    incoming.takePosition('typing', 3);
    expect(incoming.take()).toEqual(['typing reset @3', 'typing @3 live']);
  });

  test('what a reset overtakes moves no position: neither rows of the same run nor a torn batch', () => {
    const incoming = lenient();
    incoming.subscribe('typing', 12);
    incoming.takePosition('typing', 12);
    incoming.takeRow('typing', 60, 'old', 10);
    incoming.takeRow('typing', undefined, 'torn', 10);
    incoming.takePosition('typing', 3);
    incoming.endRun();
    incoming.takeRow('typing', 4, 'new', 10);
    incoming.endRun();
    expect(incoming.take()).toEqual([
      'typing @12 live',
      'typing 60 ["old"]',
      'typing reset @3',
      'typing @3',
      'typing 4 ["new"]',
      'typing @4',
    ]);
  });

  test('in catch-up a row at or below what was asked for is a reset, once', () => {
    const incoming = lenient();
    incoming.subscribe('federation', 38);
    for (const token of [1, 2, 39]) incoming.takeRow('federation', token, 0, 10);
    incoming.takePosition('federation', 39);
    expect(incoming.take()).toEqual([
      'federation reset @0',
      'federation 1 [0]',
      'federation 2 [0]',
      'federation 39 [0]',
      'federation @39 live',
    ]);
  });

  test('from 0 or NOW there is nothing to reset', () => {
    const incoming = lenient();
    incoming.subscribe('a', 'NOW');
    incoming.takeRow('a', 1, 0, 10);
    incoming.subscribe('b', 0);
    incoming.takeRow('b', 1, 0, 10);
    expect(incoming.take()).toEqual(['a 1 [0]', 'b 1 [0]']);
  });

  test('ALL takes every stream that comes', () => {
    const incoming = lenient();
    incoming.takeRow('events', 1, 0, 10);
    incoming.takePosition('events', 1);
    incoming.subscribeAll();
    incoming.takePosition('events', 1);
    incoming.takeRow('typing', 1, 0, 10);
    expect(incoming.take()).toEqual(['events @1 live', 'typing 1 [0]']);
  });

  test('a stream that is asked for by name beside ALL starts anew: rows of ALL move nothing, live ones are no reset', () => {
    const incoming = lenient();
    incoming.subscribeAll();
    incoming.takePosition('backfill', 80);
    incoming.takeRow('backfill', 81, 'of ALL', 10);
    incoming.take();
    incoming.subscribe('backfill', 53);
    incoming.endRun();
    incoming.takeRow('backfill', 46, 'live', 10);
    incoming.takeRow('backfill', 54, 'asked for', 10);
    incoming.endRun();
    incoming.takePosition('backfill', 81);
    expect(incoming.take()).toEqual(['backfill 46 ["live"]', 'backfill 54 ["asked for"]', 'backfill @81 live']);
  });
});

describe('limits', () => {
  test.each([
    ['a Rowcast primary', strict],
    ['any other primary', lenient],
  ] as const)('the unfinished batch of %s is bounded', (_who, make) => {
    const incoming = make();
    incoming.subscribe('events', 0);
    incoming.takeRow('events', undefined, 'x', 600);
    incoming.takeRow('events', 1, 'y', 400);
    incoming.takeRow('events', undefined, 'x', 600);
    expect(() => incoming.takeRow('events', undefined, 'y', 401)).toThrow(
      expect.objectContaining({ code: 'BATCH_TOO_LARGE', message: 'a batch of stream events is over 1000 bytes' }),
    );
  });
});
