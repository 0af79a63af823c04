/** One stream of a Rowcast primary: docs/protocol.md, "Between Rowcast peers". */

import { describe, expect, test } from 'vitest';
import {
  at,
  ERA,
  era,
  FollowerEnd,
  type FollowerEndOptions,
  MEMORY,
  memoryEra,
  ORIGIN,
  ROWCAST,
  rowcast,
  SYNAPSE,
} from '../../../test/support/worker-ends.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';

type OnReset = SubscriptionSpec['onReset'];

const asked = (lines: readonly string[]): string[] => lines.filter((line) => !/^(PING|APPLIED)/.test(line));

/** `events` live at token 5, and `typing`, which is volatile, live at token 3. */
function following(onReset: OnReset = 'fail', options: FollowerEndOptions = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribe('events', at('events', 5), onReset);
  end.subscribe('typing', 'now', onReset);
  end.greetedBy(ROWCAST);
  end.hear(`POSITION events 5 ${ERA}`, `POSITION typing 3 ${MEMORY}`);
  end.takeRows();
  return end;
}

/** `events` asked for after token 5, and nothing heard. */
function asking(onReset: OnReset = 'fail', options: FollowerEndOptions = {}): FollowerEnd {
  const end = new FollowerEnd(options);
  end.subscribe('events', at('events', 5), onReset);
  end.greetedBy(ROWCAST);
  return end;
}

/** What the primary is told to be wrong, and that the connection ends by it. */
function fault(end: FollowerEnd, ...lines: readonly string[]): string {
  const said = end.hear(...lines);
  expect(said).toEqual([expect.stringMatching(/^ERROR /)]);
  expect(end.outputs.of('close')).toHaveLength(1);
  end.close();
  return `${end.disconnected.code} ${end.disconnected.text}`;
}

describe('asking', () => {
  test('a position is asked for with its history, the start by START, new rows by NOW', () => {
    const end = new FollowerEnd();
    end.subscribe('a', at('a', 53));
    end.subscribe('b', 'start');
    end.subscribe('c', 'now');
    expect(end.greetedBy(ROWCAST)).toEqual([`REPLICATE a 53 ${ERA}`, 'REPLICATE b START', 'REPLICATE c NOW']);
  });

  test('a bare number is a word of a person, and goes as it is', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 53);
    expect(end.greetedBy(ROWCAST)).toEqual(['REPLICATE events 53']);
  });

  test('rows that come before anything was asked for are passed over', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 0);
    end.start().open();
    end.hear('RDATA events 1 1', 'POSITION events 1');
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual(['REPLICATE events 0']);
    expect(end.takeRows()).toEqual([]);
  });
});

describe('rows and their histories', () => {
  // SPEC D2
  test('a batch is applied only when its last row has come, and moves the position', () => {
    const end = asking();
    end.hear('RDATA events batch "a"', 'RDATA events batch "b"');
    expect(end.takeRows()).toEqual([]);
    end.hear('RDATA events 6 "c"');
    expect(end.takeRows()).toEqual(['events 6 ["a","b","c"] @6']);
  });

  test('batches of several streams do not mix', () => {
    const end = following();
    end.hear('RDATA events batch 1', 'RDATA typing 4 "x"', 'RDATA events 6 2');
    expect(end.takeRows()).toEqual(['typing 4 ["x"] @4', 'events 6 [1,2] @6']);
  });

  test('after a position rows are of its history until HISTORY says another one', () => {
    const end = asking();
    end.hear('RDATA events 6 1', `HISTORY events 6 ${era(8)}`, 'RDATA events 7 1', 'RDATA events 9 1');
    end.hear(`HISTORY events 9 ${era(9)}`, 'RDATA events 10 1');
    expect(end.positions).toEqual([
      at('events', 6),
      at('events', 7, era(8)),
      at('events', 9, era(8)),
      at('events', 10, era(9)),
    ]);
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE events 10 ${era(9)}`]);
  });

  test('POSITION names the history of its row, and of the rows that follow', () => {
    const end = asking();
    end.hear(`POSITION events 8 ${era(8)}`, 'RDATA events 9 1');
    expect(end.positions).toEqual([at('events', 9, era(8))]);
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE events 9 ${era(8)}`]);
  });

  test('HISTORY moves no position: a live stream is asked for at the row that it has', () => {
    const end = following();
    end.hear(`HISTORY events 5 ${era(8)}`);
    expect(end.regreetedBy(ROWCAST)[0]).toBe(`REPLICATE events 5 ${ERA}`);
    end.hear(`POSITION events 5 ${ERA}`, `HISTORY events 5 ${era(8)}`, 'RDATA events 6 1');
    expect(end.positions).toEqual([at('events', 6, era(8))]);
  });

  test('tokens may skip between HISTORY and what came before it', () => {
    const end = asking();
    end.hear(`HISTORY events 7 ${era(8)}`, 'RDATA events 8 1');
    expect(end.positions).toEqual([at('events', 8, era(8))]);
  });

  test('from the start, and from a bare number, rows come only after HISTORY', () => {
    for (const from of ['start', 0, 5] as const) {
      const end = new FollowerEnd();
      end.subscribe('events', from);
      end.greetedBy(ROWCAST);
      expect(fault(end, 'RDATA events 6 1')).toBe('UNEXPECTED_COMMAND stream events: a row came before HISTORY');
    }
    const end = new FollowerEnd();
    end.subscribe('events', 'start');
    end.greetedBy(ROWCAST);
    end.hear(`HISTORY events 39 ${ERA}`, 'RDATA events 40 1', `POSITION events 40 ${ERA}`);
    expect(end.takeRows()).toEqual(['events trimmed 40', 'events 40 [1] @40', 'events @40 live']);
  });

  test('a start that was cut before its first row is a start again', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'start');
    end.greetedBy(ROWCAST);
    end.hear(`HISTORY events 39 ${ERA}`, 'RDATA events batch 1');
    expect(end.regreetedBy(ROWCAST)).toEqual(['REPLICATE events START']);
  });

  test('POSITION tells where it stands, and for the first time that it is live', () => {
    const end = asking();
    end.hear(`POSITION events 5 ${ERA}`, `POSITION events 60 ${ERA}`);
    expect(end.takeRows()).toEqual(['events @5 live', 'events @60']);
  });

  test('a stream of which nothing was ever appended stands at token 0, of the origin of its log', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'start');
    end.greetedBy(ROWCAST);
    end.hear(`POSITION events 0 ${ORIGIN}`, `HISTORY events 0 ${ERA}`, 'RDATA events 1 1');
    expect(end.takeRows()).toEqual(['events @0 live', 'events 1 [1] @1']);
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE events 1 ${ERA}`]);
  });

  test('a stream is live for the application once everything before its POSITION is applied', () => {
    const end = asking();
    end.isApplying = false;
    end.hear('RDATA events 6 1', `POSITION events 6 ${ERA}`);
    expect([end.follower.isLive, end.isLive('events')]).toEqual([true, false]);
    end.apply();
    expect(end.isLive('events')).toBe(true);
    end.hear('RDATA events 7 1');
    expect(end.isLive('events'), 'a live row that waits does not make it less so').toBe(true);
  });
});

describe('REFUSED', () => {
  const facts = `{"earliest":40,"latest":90,"history":"${era(8)}"}`;

  test.each([
    ['GAP', 'fail', ['events failed GAP'], []],
    ['GAP', 'earliest', ['events reset'], ['REPLICATE events START']],
    ['GAP', 'now', ['events reset'], ['REPLICATE events NOW']],
    ['GAP', 'by-durability', ['events failed GAP'], []],
    ['RESET', 'fail', ['events failed RESET'], []],
    ['RESET', 'earliest', ['events reset'], ['REPLICATE events START']],
    ['RESET', 'now', ['events reset'], ['REPLICATE events NOW']],
    ['RESET', 'by-durability', ['events failed RESET'], []],
    ['UNKNOWN_STREAM', 'earliest', ['events failed UNKNOWN_STREAM'], []],
    ['AHEAD', 'earliest', [], []],
    ['UNAVAILABLE', 'earliest', [], []],
  ] as const)('%s with onReset %s: the connection and the other streams go on', (code, onReset, rows, lines) => {
    for (const start of [asking, following]) {
      const end = start(onReset);
      end.takeRows();
      expect(asked(end.hear(`REFUSED events ${code} ${facts}`))).toEqual(lines);
      expect(end.takeRows()).toEqual(rows);
      expect(end.outputs.of('close')).toEqual([]);
      if (start === asking) continue;
      end.hear('RDATA typing 4 1');
      expect(end.takeRows()).toEqual(['typing 4 [1] @4']);
      expect(end.isLive('typing')).toBe(true);
    }
  });

  test('a volatile stream goes on by itself where nobody said how', () => {
    const end = following('by-durability');
    expect(end.hear(`REFUSED typing RESET {"history":"${MEMORY}"}`)).toEqual(['REPLICATE typing START']);
    expect(end.takeRows()).toEqual(['typing reset']);
  });

  test('what the error says: the position, what the primary keeps, what to do', () => {
    const errorOf = (line: string): unknown => {
      const end = asking('fail');
      end.isApplying = false;
      end.hear(line);
      const last = end.outputs.of('ended')[0]!.subscription.delivery.take();
      return last?.kind === 'failed' && last.error;
    };
    expect(errorOf(`REFUSED events GAP ${facts}`)).toMatchObject({
      name: 'PeerError',
      code: 'GAP',
      message: `Rows of stream events after events=5@${ERA} are no longer kept: it starts at 40. Use onReset: 'earliest' or 'now' to go on by itself.`,
      facts: { stream: 'events', position: at('events', 5), earliest: 40, latest: 90, history: era(8) },
    });
    expect(errorOf(`REFUSED events RESET ${facts}`)).toMatchObject({
      code: 'RESET',
      message: expect.stringContaining(
        `position events=5@${ERA} is not on its history, which reaches to 90 of ${era(8)}.`,
      ) as unknown,
    });
    const goesOn = asking('earliest');
    goesOn.isApplying = false;
    goesOn.hear(`REFUSED events RESET {"deleted":true}`);
    expect(goesOn.subscription('events').delivery.take(), 'no advice where it goes on already').toMatchObject({
      error: { message: `Stream events was deleted: position events=5@${ERA} is void.` },
    });
    expect(errorOf('REFUSED events GAP {}'), 'every fact may be missing').toMatchObject({ code: 'GAP' });
    expect(errorOf('REFUSED events RESET {}')).toMatchObject({ code: 'RESET' });
    expect(errorOf('REFUSED events UNKNOWN_STREAM {}')).toMatchObject({
      message: 'the primary has no stream events: declare it there, or check the name',
    });
  });

  test('it may come in the middle of a batch, which is dropped, and of a catch-up, whose rows count', () => {
    const end = asking('earliest');
    expect(end.hear('RDATA events 6 1', 'RDATA events batch "torn"', 'REFUSED events GAP {"earliest":40}')).toEqual([
      'REPLICATE events START',
    ]);
    end.hear(`HISTORY events 39 ${ERA}`, 'RDATA events 40 "x"', `POSITION events 40 ${ERA}`);
    expect(end.takeRows()).toEqual([
      'events 6 [1] @6',
      'events reset',
      'events trimmed 40',
      'events 40 ["x"] @40',
      'events @40 live',
    ]);
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE events 40 ${ERA}`]);
  });

  test('a stream that failed stays away, also on the next connection', () => {
    const end = following('fail');
    end.hear('REFUSED events RESET {}');
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE typing 3 ${MEMORY}`]);
  });

  // SPEC S6
  test('one that failed can be subscribed again at once, without RELEASE: nothing runs', () => {
    const end = following('fail');
    end.hear('REFUSED events RESET {}');
    expect(end.subscribe('events', 'start')).toEqual(['REPLICATE events START']);
  });

  test.each(['AHEAD', 'UNAVAILABLE'])('%s: the stream alone is asked for again, after waits that grow', (code) => {
    const end = following('fail');
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      end.hear(`REFUSED events ${code} {}`);
      const since = end.now;
      let lines: string[] = [];
      while (lines.length === 0) {
        end.hear('PING 2');
        lines = asked(end.passTime(50));
      }
      expect(lines).toEqual([`REPLICATE events 5 ${ERA}`]);
      waits.push(end.now - since);
    }
    expect(waits[0]).toBeLessThanOrEqual(250);
    expect(Math.max(...waits)).toBeGreaterThan(5_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(30_050);
    expect(end.isLive('typing')).toBe(true);
    expect([end.follower.isLive, end.isLive('events')]).toEqual([false, false]);
    expect(end.takeRows()).toEqual([]);
    end.hear(`POSITION events 5 ${ERA}`, `REFUSED events ${code} {}`);
    end.passTime(250);
    expect(end.outputs.story.at(-1), 'once it was live the wait is short again').toBe(`REPLICATE events 5 ${ERA}`);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test('AHEAD is forgotten with the connection: the next one is asked at once', () => {
    const end = following('fail');
    end.hear('REFUSED events AHEAD {}');
    expect(end.regreetedBy(ROWCAST)).toContain(`REPLICATE events 5 ${ERA}`);
    expect(asked(end.passTime(5_000))).toEqual([]);
  });

  test('a stream that was left while it waited is not asked for again', () => {
    const end = following('fail');
    end.hear('REFUSED events AHEAD {}');
    expect(end.unsubscribe('events')).toEqual([]);
    expect(asked(end.passTime(5_000))).toEqual([]);
    expect(end.subscribe('events', 'now')).toEqual(['REPLICATE events NOW']);
  });

  test.each([
    ['start', 'REPLICATE events START'],
    ['now', 'REPLICATE events NOW'],
  ] as const)(
    'GAP or RESET of what names no position, %s, is no reset: it is asked for again after a wait, not in a loop',
    (from, line) => {
      for (const code of ['GAP', 'RESET']) {
        const end = new FollowerEnd();
        end.subscribe('events', from, 'fail');
        end.greetedBy(ROWCAST);
        expect(end.hear(`REFUSED events ${code} {}`)).toEqual([]);
        expect(asked(end.passTime(200))).toEqual([line]);
        expect(end.takeRows()).toEqual([]);
      }
    },
  );

  test('a primary that refuses again and again makes no endless list of resets', () => {
    const end = following('earliest');
    end.isApplying = false;
    for (let i = 0; i < 100; i++) end.hear('REFUSED events RESET {}');
    expect(end.outputs.of('close').length, 'it is refused once; then nothing is replicated').toBe(1);
    end.apply();
    expect(end.takeRows()).toEqual(['events reset']);
  });
});

describe('RELEASE', () => {
  test('a stream that nobody wants any more is released, and what still comes of it is dropped', () => {
    const end = following();
    expect(end.unsubscribe('events')).toEqual(['RELEASE events']);
    end.hear('RDATA events 6 1', 'RDATA events batch 2', `POSITION events 9 ${ERA}`, `HISTORY events 4 ${era(9)}`);
    end.hear('REFUSED events RESET {}', 'RELEASED events');
    expect(end.takeRows()).toEqual([]);
    expect(end.follower.isLive).toBe(true);
    expect(end.regreetedBy(ROWCAST)).toEqual([`REPLICATE typing 3 ${MEMORY}`]);
  });

  test('one that is wanted again is asked for at once, on the same connection; its rows are those after RELEASED', () => {
    const end = following();
    end.unsubscribe('events');
    expect(end.subscribe('events', at('events', 1))).toEqual([`REPLICATE events 1 ${ERA}`]);
    end.hear('RDATA events 6 "old"', `POSITION events 6 ${ERA}`, 'RELEASED events');
    end.hear('RDATA events 2 "new"', `POSITION events 2 ${ERA}`);
    expect(end.takeRows()).toEqual(['events 2 ["new"] @2', 'events @2 live']);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test('several times over: lines count only when each RELEASE was answered', () => {
    const end = following();
    for (let i = 1; i <= 3; i++) {
      expect(end.unsubscribe('events')).toEqual(['RELEASE events']);
      expect(end.subscribe('events', at('events', i))).toEqual([`REPLICATE events ${i} ${ERA}`]);
    }
    for (let i = 1; i <= 2; i++) end.hear('RELEASED events', `RDATA events ${i + 1} "of request ${i}"`);
    expect(end.takeRows()).toEqual([]);
    expect(end.isLive('events')).toBe(false);
    end.hear('RELEASED events', 'RDATA events 4 "of request 3"');
    expect(end.takeRows()).toEqual(['events 4 ["of request 3"] @4']);
  });

  test('one that is left, wanted and left again stays away', () => {
    const end = following();
    end.unsubscribe('events');
    end.subscribe('events', 'start');
    expect(end.unsubscribe('events')).toEqual(['RELEASE events']);
    end.hear('RELEASED events', `HISTORY events 0 ${ERA}`, 'RDATA events 1 1', 'RELEASED events');
    expect(end.takeRows()).toEqual([]);
    expect(end.follower.isLive).toBe(true);
  });

  test('a cut ends what was pending: the next connection knows of no RELEASE', () => {
    const end = following();
    end.unsubscribe('events');
    end.subscribe('events', at('events', 1));
    expect(end.regreetedBy(ROWCAST)).toContain(`REPLICATE events 1 ${ERA}`);
    end.hear('RDATA events 2 1');
    expect(end.takeRows()).toEqual(['events 2 [1] @2']);
    expect(fault(end, 'RELEASED events')).toContain('RELEASED came, and nothing was released');
  });

  test('one that was subscribed before the connection and left before it is not asked for', () => {
    const end = new FollowerEnd();
    end.subscribe('events', 'now');
    end.unsubscribe('events');
    expect(end.greetedBy(ROWCAST)).toEqual([]);
    expect(end.follower.isLive).toBe(true);
  });
});

describe('ATTR', () => {
  const options = { wantsAttributes: true };

  test('a worker that wants attributes says so, and gets them with their batch', () => {
    const end = new FollowerEnd(options);
    end.subscribe('events', at('events', 5));
    end.start();
    expect(end.open()[1]).toBe(`PING ${end.now} rowcast/2 attr`);
    end.hear('SERVER example.com', `PING ${ROWCAST}`);
    end.hear('ATTR events 6 {"trace":"a1"}', 'RDATA events batch 1', 'RDATA events 6 2', 'RDATA events 7 3');
    expect(end.batches).toEqual([
      { stream: 'events', token: 6, position: at('events', 6), rows: [1, 2], attributes: { trace: 'a1' } },
      { stream: 'events', token: 7, position: at('events', 7), rows: [3] },
    ]);
  });

  test.each([
    ['to a worker that did not ask for them', {}, ['ATTR events 6 {}']],
    ['of a stream that was not asked for', options, ['ATTR nosuch 6 {}']],
    ['of a stream that waits to ask again', options, ['REFUSED events AHEAD {}', 'ATTR events 6 {}']],
    ['within a batch', options, ['RDATA events batch 1', 'ATTR events 6 {}']],
    ['twice for a batch', options, ['ATTR events 6 {}', 'ATTR events 6 {}']],
    ['of another token than the batch that follows', options, ['ATTR events 6 {}', 'RDATA events 7 1']],
    ['before POSITION', options, ['ATTR events 6 {}', `POSITION events 6 ${ERA}`]],
    ['before HISTORY', options, ['ATTR events 6 {}', `HISTORY events 5 ${era(8)}`]],
  ])('%s is a fault', (_what, given, lines) => {
    expect(fault(asking('fail', given), ...lines)).toMatch(/^UNEXPECTED_COMMAND /);
  });

  test('what is no object does not parse', () => {
    expect(fault(asking('fail', options), 'ATTR events 6 [1]')).toMatch(/^INVALID_ARGUMENTS /);
  });

  test('they are forgotten with the batch that did not come: after a cut, a refusal, a release', () => {
    const end = asking('earliest', options);
    end.hear('ATTR events 6 {"old":1}', 'REFUSED events RESET {}');
    end.hear(`HISTORY events 5 ${era(8)}`, 'RDATA events 6 1');
    end.hear('ATTR events 7 {"old":1}');
    end.regreetedBy(ROWCAST);
    end.hear('RDATA events 7 1', 'ATTR events 8 {"old":1}');
    end.unsubscribe('events');
    end.subscribe('events', at('events', 7, era(8)));
    end.hear('RELEASED events', 'RDATA events 8 1');
    expect(end.batches.map(({ token, attributes }) => [token, attributes])).toEqual([
      [6, undefined],
      [7, undefined],
      [8, undefined],
    ]);
  });

  test('they count as what waits in memory: many of them end the connection, not the process', () => {
    const end = new FollowerEnd({ ...options, limits: { maxBatchBytes: 10_000 } });
    const names = Array.from({ length: 20 }, (_, i) => `s${i}`);
    for (const name of names) end.subscribe(name, at(name, 5));
    end.greetedBy(ROWCAST);
    const lines = names.map((name) => `ATTR ${name} 6 {"a":"${'x'.repeat(1_000)}"}`);
    expect(fault(end, ...lines)).toMatch(/^BATCH_TOO_LARGE /);
  });
});

describe('what a primary may not say', () => {
  test.each([
    ['a token that falls', ['RDATA events 7 1', 'RDATA events 6 1'], 'TOKEN_FELL', 'went from token 7 to 6'],
    ['a token that stays', ['RDATA events 5 1'], 'TOKEN_FELL', 'went from token 5 to 5'],
    ['a negative token', ['RDATA events -1 1'], 'INVALID_ARGUMENTS', 'expected a token'],
    ['a POSITION below', [`POSITION events 4 ${ERA}`], 'TOKEN_FELL', 'went from token 5 to POSITION 4'],
    ['POSITION within a batch', ['RDATA events batch 1', `POSITION events 6 ${ERA}`], 'UNEXPECTED_COMMAND', 'within a'],
    [
      'HISTORY within a batch',
      ['RDATA events batch 1', `HISTORY events 5 ${era(8)}`],
      'UNEXPECTED_COMMAND',
      'within a',
    ],
    ['HISTORY of the past', ['RDATA events 6 1', `HISTORY events 5 ${era(8)}`], 'UNEXPECTED_COMMAND', 'HISTORY came'],
    ['POSITION without a history', ['POSITION events 6'], 'INVALID_ARGUMENTS', 'POSITION'],
    ['a history that is none', ['POSITION events 6 8f3c.1.x'], 'INVALID_ARGUMENTS', 'expected a history'],
    ['HISTORY without a token', [`HISTORY events ${ERA}`], 'INVALID_ARGUMENTS', 'HISTORY'],
    ['HISTORY with a number too large', [`HISTORY events 9007199254740992 ${ERA}`], 'INVALID_ARGUMENTS', 'a token'],
    [
      'a history of a third log',
      ['POSITION events 6 aaaaaaaaaaaaaaaa.7.00000000'],
      'UNEXPECTED_COMMAND',
      'is of no log that the primary has named',
    ],
    [
      'rows of a third log',
      ['HISTORY events 5 aaaaaaaaaaaaaaaa.7.00000000'],
      'UNEXPECTED_COMMAND',
      'is of no log that the primary has named',
    ],
    ['REFUSED twice', ['REFUSED events AHEAD {}', 'REFUSED events GAP {}'], 'UNEXPECTED_COMMAND', 'not replicated'],
    ['a row after REFUSED', ['REFUSED events AHEAD {}', 'RDATA events 6 1'], 'UNEXPECTED_COMMAND', 'not replicated'],
    ['a refusal of no code', ['REFUSED events WRONG {}'], 'INVALID_ARGUMENTS', 'expected GAP, RESET'],
    ['facts of the wrong kind', ['REFUSED events GAP {"earliest":"1"}'], 'INVALID_ARGUMENTS', 'facts'],
    ['an era that is none', ['ERA 8f3c1d2e4b5a6978 9'], 'INVALID_ARGUMENTS', 'expected a history'],
    ['what a worker says', ['RELEASE events'], 'UNKNOWN_COMMAND', 'invalid command: RELEASE'],
    ['an acknowledgement', ['APPLIED events 5 5'], 'UNKNOWN_COMMAND', 'invalid command: APPLIED'],
  ])('%s', (_what, lines, code, text) => {
    const end = asking('earliest');
    const told = fault(end, ...lines);
    expect(told).toMatch(new RegExp(`^${code} `));
    expect(told).toContain(text);
  });

  // SPEC B4
  test('a line of a stream that is not asked for, and a RELEASED too many, are faults', () => {
    for (const line of [
      'RDATA nosuch 1 1',
      `POSITION nosuch 1 ${ERA}`,
      `HISTORY nosuch 1 ${ERA}`,
      'REFUSED nosuch GAP {}',
      'RELEASED nosuch',
    ]) {
      const told = fault(asking('earliest'), line);
      expect(told).toMatch(/^UNEXPECTED_COMMAND /);
      expect(told).toContain(`${line.split(' ')[0]!} came for stream nosuch`);
    }
    expect(fault(asking('earliest'), 'RELEASED events')).toContain('nothing was released');
  });

  // SPEC B5
  test('an era that is not above the one before, or of a log that the primary did not name, is a fault', () => {
    for (const [line, text] of [
      ['ERA 8f3c1d2e4b5a6978 6.a1b2c3d4', 'no later than'],
      ['ERA 8f3c1d2e4b5a6978 7.ffffffff', 'no later than'],
      ['ERA aaaaaaaaaaaaaaaa 9.a1b2c3d4', 'of no log'],
    ] as const) {
      const told = fault(asking('earliest'), line);
      expect(told).toMatch(/^UNEXPECTED_COMMAND /);
      expect(told).toContain(text);
    }
  });

  test('a fault loses nothing: the next connection asks after the last whole batch', () => {
    const end = asking();
    fault(end, 'RDATA events 6 1', 'RDATA events batch 2', 'RDATA nosuch 1 1', 'RDATA events 7 3');
    end.wait();
    end.open();
    expect(end.hear('SERVER example.com', `PING ${ROWCAST}`)).toEqual([`REPLICATE events 6 ${ERA}`]);
    expect(end.takeRows()).toEqual(['events 6 [1] @6']);
  });

  test('a stream may be in either of the two logs, and is not held to one over connections', () => {
    const end = following('earliest');
    const restarted = memoryEra(1, 'bbbbbbbbbbbbbbbb');
    expect(end.regreetedBy(rowcast(era(8), restarted))).toEqual([
      `REPLICATE events 5 ${ERA}`,
      `REPLICATE typing 3 ${MEMORY}`,
    ]);
    expect(end.hear(`REFUSED typing RESET {"history":"${restarted}"}`)).toEqual(['REPLICATE typing START']);
    end.hear(`POSITION typing 0 bbbbbbbbbbbbbbbb.0.00000000`);
    expect(end.takeRows().filter((row) => row.startsWith('typing'))).toEqual(['typing reset', 'typing @0 live']);
  });
});

describe('an observer', () => {
  const options = { isObserver: true };

  test('leaves a stream without a word: what comes of it is dropped, and asked for anew it takes another connection', () => {
    const end = following('earliest', options);
    expect(end.unsubscribe('events')).toEqual([]);
    end.hear('RDATA events 6 1', `HISTORY events 6 ${era(8)}`, 'RDATA events 7 1', `POSITION events 7 ${era(8)}`);
    expect(end.takeRows()).toEqual([]);
    expect(end.outputs.of('close')).toEqual([]);
    end.subscribe('events', 'now');
    end.close();
    expect(end.disconnected.text).toBe('connecting again to ask for stream events anew');
  });

  test('asks anew on the same connection once the primary has refused what it left', () => {
    const end = following('earliest', options);
    end.unsubscribe('events');
    expect(end.hear('REFUSED events GAP {}')).toEqual([]);
    expect(end.subscribe('events', 'now')).toEqual(['REPLICATE events NOW']);
  });

  test('sends nothing but NAME, PING and REPLICATE, whatever happens to its streams', () => {
    const end = following('earliest', options);
    end.hear('RDATA events 6 1', 'REFUSED events GAP {}', `HISTORY events 39 ${ERA}`, 'RDATA events 40 1');
    end.passTime(3_000);
    end.hear('REFUSED typing AHEAD {}');
    end.passTime(3_000);
    end.saved('events');
    end.passTime(3_000);
    end.unsubscribe('events');
    end.hear('FOO');
    end.stop();
    const said = end.outputs.story.filter((line) => /^[A-Z]+ /.test(line));
    expect(said.filter((line) => !/^(NAME|PING|REPLICATE) /.test(line))).toEqual([]);
    expect(said.filter((line) => line.startsWith('REPLICATE'))).toContain('REPLICATE events START');
  });

  test('toward any other primary likewise', () => {
    const end = new FollowerEnd(options);
    end.subscribe('events', at('events', 5), 'earliest');
    end.greetedBy(SYNAPSE);
    end.hear('POSITION events 3', 'RDATA events 4 1', 'PING 2');
    end.passTime(3_000);
    end.unsubscribe('events');
    end.hear('FOO');
    expect(end.outputs.story.filter((line) => /^[A-Z]+ /.test(line) && !/^(NAME|PING|REPLICATE) /.test(line))).toEqual(
      [],
    );
  });
});
