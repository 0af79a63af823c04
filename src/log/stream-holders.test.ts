import { describe, expect, test } from 'vitest';

import type { Token } from '../core/model/token.ts';
import { type HolderRecord, MAX_HOLDERS, type SavedPlace, StreamHolders } from './stream-holders.ts';

/** A stream that keeps the tokens 11 to 100 (so 10 is a place): those up to 50 are of history a. */
let latest = 100;
const placeAt = (token: Token): SavedPlace | undefined => {
  if (token < 10 || token > latest) return undefined;
  return { token, history: token <= 50 ? 'a' : 'b' };
};

function holdersOf(untilSavedBy: readonly string[], stored: readonly HolderRecord[] = []): StreamHolders {
  latest = 100;
  return new StreamHolders({ untilSavedBy, placeAt, stored });
}

const names = (holders: StreamHolders): string[] => holders.list().map(({ worker }) => worker);
const savedOf = (holders: StreamHolders, worker: string): Token | undefined =>
  holders.list().find((holder) => holder.worker === worker)?.saved?.token;

describe('a name', () => {
  test('holds everything from the start, though its worker never came', () => {
    const holders = holdersOf(['audit', 'billing']);
    expect(names(holders)).toEqual(['audit', 'billing']);
    expect(holders.savedByAll).toBeLessThan(0);
    holders.acknowledge('billing', 40);
    expect(holders.savedByAll).toBeLessThan(0);
    holders.acknowledge('audit', 30);
    expect(holders.savedByAll).toBe(30);
  });

  test('that is forgotten holds nothing until its worker follows again', () => {
    const holders = holdersOf(['audit']);
    holders.acknowledge('audit', 30);
    expect(holders.forget('audit', 100)).toBe(true);
    expect(holders.forget('audit', 110)).toBe(false);
    expect(names(holders)).toEqual([]);
    expect(holders.savedByAll, 'what came after that is kept until somebody comes').toBe(100);
    expect(holders.hold('audit', 60)).toBe('holds');
    expect(holders.savedByAll).toBeLessThan(0);
  });

  test('that untilSavedBy does not have holds nothing', () => {
    const holders = holdersOf(['audit']);
    expect([holders.hold('other', 20), holders.acknowledge('other', 20)]).toEqual(['other', 'other']);
    expect(names(holders)).toEqual(['audit']);
  });
});

describe('a pattern', () => {
  test('holds everything until its first worker comes, and then each worker that has come', () => {
    const holders = holdersOf(['reader-*']);
    expect(names(holders)).toEqual(['reader-*']);
    expect(holders.hold('reader-1', 20)).toBe('holds');
    expect(names(holders)).toEqual(['reader-1']);
    holders.acknowledge('reader-1', 40);
    expect(holders.savedByAll).toBe(40);
    holders.hold('reader-2', undefined);
    expect(holders.savedByAll).toBeLessThan(0);
    holders.acknowledge('reader-2', 30);
    expect(holders.list().map(({ worker, saved }) => [worker, saved?.token])).toEqual([
      ['reader-2', 30],
      ['reader-1', 40],
    ]);
  });

  test('whose workers were all forgotten holds nothing, and neither does one that is itself forgotten', () => {
    const holders = holdersOf(['reader-*', 'other-*']);
    holders.acknowledge('reader-1', 40);
    holders.forget('reader-1', 100);
    expect(names(holders)).toEqual(['other-*']);
    holders.forget('other-*', 100);
    expect(holders.savedByAll).toBe(100);
  });

  test('lets no worker in whose name has a star', () => {
    const holders = holdersOf(['reader-*']);
    expect(holders.acknowledge('reader-*', 40)).toBe('other');
    expect(holders.hold('reader-**', 40)).toBe('other');
    expect(names(holders)).toEqual(['reader-*']);
  });

  // SPEC K7
  test('lets in MAX_HOLDERS workers of names up to 255 characters, and the others hold nothing', () => {
    const holders = holdersOf(['*', 'audit']);
    expect(holders.hold('x'.repeat(256), 20)).toBe('refused');
    expect(holders.hold('x'.repeat(255), 20)).toBe('holds');
    for (let i = 1; i < MAX_HOLDERS; i++) expect(holders.hold(`reader-${i}`, 20)).toBe('holds');
    expect(holders.hold('one-more', 20)).toBe('refused');
    expect(holders.acknowledge('one-more', 20)).toBe('refused');
    expect(holders.acknowledge('reader-7', 20)).toBe('holds');
    expect(holders.acknowledge('audit', 20)).toBe('holds');
    holders.forget('reader-7', 100);
    expect(holders.hold('one-more', 20)).toBe('holds');
  });
});

describe('what a worker asks for', () => {
  test('only lowers what it has saved', () => {
    const holders = holdersOf(['audit']);
    holders.hold('audit', 60);
    expect(savedOf(holders, 'audit')).toBeUndefined();
    holders.acknowledge('audit', 60);
    holders.hold('audit', 80);
    expect(savedOf(holders, 'audit')).toBe(60);
    holders.hold('audit', 20);
    expect(savedOf(holders, 'audit')).toBe(20);
    holders.hold('audit', undefined);
    expect(savedOf(holders, 'audit')).toBeUndefined();
  });

  test('from a place that is no longer kept means that it needs all', () => {
    const holders = holdersOf(['audit']);
    holders.acknowledge('audit', 60);
    holders.hold('audit', 5);
    expect(holders.savedByAll).toBeLessThan(0);
    holders.acknowledge('audit', 101);
    expect(savedOf(holders, 'audit')).toBeUndefined();
  });
});

test('where rows are taken back, a holder is told again, and what nobody held is kept again', () => {
  const holders = holdersOf(['audit']);
  holders.acknowledge('audit', 20);
  expect(holders.untold(60)).toHaveLength(1);
  holders.handleTold('audit', 100);
  latest = 60;
  holders.judgeAgain();
  holders.acknowledge('audit', 60);
  latest = 90;
  expect(holders.untold(80).map(({ worker }) => worker)).toEqual(['audit']);
  holders.forget('audit', 90);
  expect(holders.savedByAll).toBe(90);
  latest = 60;
  holders.judgeAgain();
  latest = 80;
  expect(holders.savedByAll).toBeLessThan(61);
});

test('rows that are taken back are not saved any more', () => {
  const holders = holdersOf(['audit', 'billing']);
  holders.acknowledge('audit', 60);
  holders.acknowledge('billing', 40);
  latest = 50;
  holders.judgeAgain();
  expect(holders.list()).toEqual([
    { worker: 'audit', saved: undefined },
    { worker: 'billing', saved: { token: 40, history: 'a' } },
  ]);
});

describe('rows that are to be cut', () => {
  test('are told to be needed once for each holder, until it has caught up with what was there', () => {
    const holders = holdersOf(['audit', 'billing', 'fast']);
    holders.acknowledge('billing', 20);
    holders.acknowledge('fast', 90);
    const told = (upTo: Token): string[] =>
      holders.untold(upTo).map(({ worker }) => {
        holders.handleTold(worker, 100);
        return worker;
      });
    expect(told(20)).toEqual(['audit']);
    expect(told(30)).toEqual(['billing']);
    expect(told(40)).toEqual([]);
    holders.acknowledge('billing', 35);
    expect(told(40)).toEqual([]);
    holders.acknowledge('billing', 100);
    expect(told(100)).toEqual(['fast']);
    holders.hold('billing', 50);
    expect(told(60)).toEqual(['billing']);
  });

  test('are nobody’s when all have saved them', () => {
    const holders = holdersOf(['audit']);
    holders.acknowledge('audit', 60);
    expect(holders.untold(60)).toEqual([]);
  });
});

describe('what is stored', () => {
  test('makes the same holders again', () => {
    const holders = holdersOf(['audit', 'gone', 'reader-*', 'never-*']);
    holders.acknowledge('audit', 60);
    holders.forget('gone', 100);
    holders.acknowledge('reader-1', 40);
    holders.hold('reader-2', 20);
    holders.hold('reader-3', 20);
    expect(holders.hasChanges).toBe(true);
    const first = holders.changes;
    holders.handleStored();
    expect([holders.hasChanges, first.removed]).toEqual([false, []]);
    holders.forget('reader-3', 100);
    expect(holders.changes).toEqual({ stored: [], removed: ['reader-3'] });
    const again = holdersOf(
      ['audit', 'gone', 'reader-*', 'never-*'],
      first.stored.filter(({ worker }) => worker !== 'reader-3'),
    );
    expect(again.list()).toEqual(holders.list());
    expect(again.hasChanges).toBe(false);
  });

  test('is urgent where somebody needs more than before', () => {
    const holders = holdersOf(['audit', 'reader-*']);
    const isUrgent = (): boolean => {
      const was = holders.isUrgent;
      holders.handleStored();
      return was;
    };
    holders.acknowledge('audit', 60);
    expect(isUrgent()).toBe(false);
    holders.hold('audit', 70);
    expect([holders.hasChanges, isUrgent()]).toEqual([false, false]);
    holders.hold('audit', 50);
    expect(isUrgent()).toBe(true);
    holders.hold('reader-1', 50);
    expect(isUrgent()).toBe(true);
    holders.acknowledge('reader-1', 50);
    holders.forget('audit', 100);
    expect(isUrgent()).toBe(false);
    holders.hold('audit', 70);
    expect(isUrgent()).toBe(true);
  });

  test('of a name that the option has no longer is left out and removed', () => {
    const stored = [{ worker: 'reader-1', saved: { token: 40, history: 'a' }, holds: true }];
    const holders = holdersOf(['audit'], stored);
    expect(names(holders)).toEqual(['audit']);
    expect(holders.changes).toEqual({ stored: [], removed: ['reader-1'] });
  });

  test('counts as nothing saved where it is not on the history', () => {
    const stored = ['lost-tail', 'another', 'cut'].map((worker, i) => ({
      worker,
      saved: [
        { token: 120, history: 'b' },
        { token: 60, history: 'c' },
        { token: 3, history: 'a' },
      ][i],
      holds: true,
    }));
    const holders = holdersOf(['lost-tail', 'another', 'cut'], stored);
    expect(holders.list().map(({ saved }) => saved)).toEqual([undefined, undefined, undefined]);
  });
});
