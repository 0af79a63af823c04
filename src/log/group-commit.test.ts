import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Position } from '../core/model/position.ts';
import { defineStream } from '../core/model/stream.ts';
import { openOptions } from '../testing/log-suite-place.ts';
import { encodeChunks } from './encode-chunks.ts';
import { GroupCommit } from './group-commit.ts';
import { memoryLog } from './memory.ts';

/** So large that each has a commit of its own. */
const LARGE_ROW = JSON.stringify('x'.repeat(1_000_000));

afterEach(() => {
  vi.unstubAllGlobals();
});

/** With a log that keeps nothing; `commits`: how many batches each was of. */
function setUp(): { appends: GroupCommit; commits: number[] } {
  const commits: number[] = [];
  let latest = 0;
  const appends = new GroupCommit({
    check: () => {},
    latest: () => latest,
    commit: ({ streams }) => {
      const history = '0123456789abcdef.1764281400.a1b2c3d4';
      const events = Array.from(streams.values(), (planned) => {
        const chunks = encodeChunks({ planned, rowsUpTo: latest, history, atMs: 0, logMs: 0 });
        latest += planned.batches.length;
        commits.push(planned.batches.length);
        return { kind: 'rows', stream: planned.stream, latest, chunks } as const;
      });
      return { era: history, events };
    },
    soon: (flush) => void setImmediate(flush),
  });
  return { appends, commits };
}

async function tokenOf(append: Promise<Position>): Promise<number> {
  return (await append).token;
}

/** What would end the process, unless the program goes on after an uncaught exception. */
function collectUncaught(): unknown[] {
  const uncaught: unknown[] = [];
  vi.stubGlobal('setImmediate', (callback: () => void) =>
    setTimeout(() => {
      try {
        callback();
      } catch (error) {
        uncaught.push(error);
      }
    }),
  );
  return uncaught;
}

describe('a listener that throws', () => {
  test('keeps no append from its end, neither those that wait nor those to come', async () => {
    const uncaught = collectUncaught();
    const { appends } = setUp();
    const fault = new Error('of the listener');
    let hints = 0;
    appends.watch(() => {
      if (hints++ === 0) throw fault;
    });
    const waiting = [1, 2, 3].map(async () => tokenOf(appends.append('events', [LARGE_ROW])));
    expect(await Promise.all(waiting)).toEqual([1, 2, 3]);
    expect(await tokenOf(appends.append('events', ['4']))).toBe(4);
    expect(uncaught).toEqual([fault]);
  });

  test('is heard of when all that waited is flushed', async () => {
    const { appends } = setUp();
    let hints = 0;
    appends.watch(() => {
      throw new Error(`hint ${++hints}`);
    });
    const waiting = [1, 2, 3].map(async () => tokenOf(appends.append('events', [LARGE_ROW])));
    expect(() => appends.flush()).toThrow('hint 1');
    expect(await Promise.all(waiting)).toEqual([1, 2, 3]);
  });
});

test('a listener may flush: all is committed once, in order', async () => {
  const { appends, commits } = setUp();
  let isFirst = true;
  appends.watch(() => {
    if (!isFirst) return;
    isFirst = false;
    appends.flush();
  });
  const waiting = [1, 2, 3, 4].map(async () => tokenOf(appends.append('events', [LARGE_ROW])));
  appends.flush();
  expect(await Promise.all(waiting)).toEqual([1, 2, 3, 4]);
  expect(commits).toEqual([1, 1, 1, 1]);
});

test('what listeners append while all is flushed has commits of its own, later', async () => {
  const { appends, commits } = setUp();
  const further: Promise<number>[] = [];
  appends.watch(() => {
    if (further.length < 2) further.push(tokenOf(appends.append('events', ['"further"'])));
  });
  const waiting = tokenOf(appends.append('events', ['"first"']));
  appends.flush();
  expect(await waiting).toBe(1);
  expect(commits).toEqual([1]);
  await further[0];
  expect(await Promise.all(further)).toEqual([2, 3]);
});

test('a commit is bounded also where rows are tiny', async () => {
  const { appends, commits } = setUp();
  await Promise.all(Array.from({ length: 40_000 }, async () => appends.append('events', ['1'])));
  expect(commits.reduce((sum, batches) => sum + batches)).toBe(40_000);
  expect(Math.max(...commits)).toBeLessThan(10_000);
});

test('between the commits of a flood others have a turn, in the memory log too', async () => {
  const log = memoryLog();
  await log.open(openOptions([defineStream('events')]));
  await log.append('events', ['"made"']);
  let commits = 0;
  let turns = 0;
  log.watch(() => commits++);
  const countTurn = (): void => {
    turns++;
    if (commits < 5) setImmediate(countTurn);
  };
  setImmediate(countTurn);
  await Promise.all([1, 2, 3, 4, 5].map(async () => log.append('events', [LARGE_ROW])));
  expect({ commits, turns: turns >= 4 }).toEqual({ commits: 5, turns: true });
  await log.close();
});
