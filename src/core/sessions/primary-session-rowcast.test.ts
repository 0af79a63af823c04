import { describe, expect, test } from 'vitest';
import { era, MemoryStreams, ORIGIN } from '../../../test/support/memory-streams.ts';
import { PrimaryEnd, type PrimaryEndOptions } from '../../../test/support/primary-end.ts';
import { LogError } from '../model/errors.ts';
import type { PrimaryOutput } from './primary-session.ts';

// The peer of this file has said rowcast/2 in its first PING (docs/protocol.md, "Between Rowcast
// peers").
const greeted = (options?: PrimaryEndOptions): PrimaryEnd => PrimaryEnd.rowcast(options);

/** Rows 1 to `count` of stream events, each of the era that has its number. */
function inErasOfTheirOwn(count: number, options?: PrimaryEndOptions): PrimaryEnd {
  const end = greeted(options);
  for (let i = 1; i <= count; i++) {
    end.streams.era = era(i);
    end.streams.append('events', i);
  }
  return end;
}

function refused(stream: string, code: string, facts: object = {}): string {
  return `REFUSED ${stream} ${code} ${JSON.stringify(facts)}`;
}

const factsOf = (end: PrimaryEnd, stream: string): object => {
  const { earliest, latest, history } = end.streams.get(stream)!.bounds;
  return { earliest, latest, history };
};

describe('histories', () => {
  // SPEC H8
  test('HISTORY stands before the first row of every era other than the one named last', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.streams.append('events', 2);
    end.streams.era = era(2);
    end.streams.append('events', 3);
    expect(end.hear(`REPLICATE events 1 ${era(1)}`)).toEqual([
      'RDATA events 2 2',
      `HISTORY events 2 ${era(2)}`,
      'RDATA events 3 3',
      `POSITION events 3 ${era(2)}`,
    ]);
    expect(end.append('events', 4)).toEqual(['RDATA events 4 4']);
    end.beginEra(era(3));
    expect(end.append('events', 5)).toEqual([`HISTORY events 4 ${era(3)}`, 'RDATA events 5 5']);
    expect(end.append('events', 6)).toEqual(['RDATA events 6 6']);
  });

  test('eras that stand in one page of the log each are named one by one', () => {
    const end = inErasOfTheirOwn(3);
    expect(end.hear(`REPLICATE events 0 ${ORIGIN}`)).toEqual([
      `HISTORY events 0 ${era(1)}`,
      'RDATA events 1 1',
      `HISTORY events 1 ${era(2)}`,
      'RDATA events 2 2',
      `HISTORY events 2 ${era(3)}`,
      'RDATA events 3 3',
      `POSITION events 3 ${era(3)}`,
    ]);
  });

  test('after START it comes first, and says where the rows begin', () => {
    const end = inErasOfTheirOwn(3);
    end.streams.trim('events', 1);
    expect(end.hear('REPLICATE events START')).toEqual([
      `HISTORY events 1 ${era(2)}`,
      'RDATA events 2 2',
      `HISTORY events 2 ${era(3)}`,
      'RDATA events 3 3',
      `POSITION events 3 ${era(3)}`,
    ]);
  });

  test('a token whose history the worker does not know is followed by one that names it', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.streams.append('events', 2);
    expect(end.hear('REPLICATE events 1')).toEqual([
      `HISTORY events 1 ${era(1)}`,
      'RDATA events 2 2',
      `POSITION events 2 ${era(1)}`,
    ]);
  });

  test('POSITION carries the history of the row at its token, whatever the present era', () => {
    const end = greeted();
    expect(end.hear('REPLICATE events START')).toEqual([`POSITION events 0 ${ORIGIN}`]);
    end.streams.append('typing', 'x');
    end.beginEra(era(7));
    expect(end.hear(`REPLICATE typing 1 ${era(1)}`)).toEqual([`POSITION typing 1 ${era(1)}`]);
    expect(end.hear('RELEASE typing', 'REPLICATE typing NOW')).toEqual([
      'RELEASED typing',
      `POSITION typing 1 ${era(1)}`,
    ]);
  });

  test('POSITION names a history: no HISTORY follows for rows of the same', () => {
    const end = greeted();
    end.streams.append('events', 1);
    expect(end.hear('REPLICATE events NOW')).toEqual([`POSITION events 1 ${era(1)}`]);
    expect(end.append('events', 2)).toEqual(['RDATA events 2 2']);
  });

  test('a stream that was asked for before the peer said who it is has had no history named', () => {
    const end = PrimaryEnd.opened();
    end.streams.append('events', 1);
    expect(end.hear('REPLICATE events NOW', 'PING 1 rowcast/2')).toEqual(['POSITION events 1']);
    expect(end.append('events', 2)).toEqual([`HISTORY events 1 ${era(1)}`, 'RDATA events 2 2']);
  });
});

describe('START', () => {
  test('is from the earliest row kept, by the time that its first page is read', () => {
    const end = greeted();
    for (let i = 1; i <= 4; i++) end.streams.append('events', i);
    end.isWriting = false;
    end.hear('REPLICATE events START');
    // The socket is full of this stream: the other one's first page waits.
    for (let i = 1; i <= 4; i++) end.streams.append('typing', i);
    end.hear('REPLICATE typing START');
    end.streams.trim('typing', 2);
    end.isWriting = true;
    expect(end.drained()).toEqual([
      `HISTORY typing 2 ${era(1)}`,
      'RDATA typing 3 3',
      'RDATA typing 4 4',
      `POSITION typing 4 ${era(1)}`,
    ]);
    expect(end.codes).toEqual([]);
  });

  test('is looked up again where retention overtook the read of its first page: no GAP', () => {
    const end = greeted();
    for (let i = 1; i <= 4; i++) end.streams.append('events', i);
    end.isReading = false;
    end.hear('REPLICATE events START');
    end.streams.trim('events', 3);
    expect(end.failRead(new LogError('LOG_GAP', 'starts at 4'))).toEqual([]);
    expect(end.answer()).toEqual([`HISTORY events 3 ${era(1)}`, 'RDATA events 4 4', `POSITION events 4 ${era(1)}`]);
    expect(end.outputs.of('read').map(({ after }) => after)).toEqual([0, 3]);
  });

  // SPEC S21
  test('tells what is kept before a POSITION that no row comes before, where the tokens in between were never used', () => {
    const end = greeted();
    end.isReading = false;
    end.streams.append('events', 9);
    end.hear('REPLICATE events START');
    const page = { stream: 'events', chunks: [], rows: 0, upTo: 9, hasMore: false, history: era(1) };
    expect(end.answer(page)).toEqual([`HISTORY events 0 ${era(1)}`, `POSITION events 9 ${era(1)}`]);
  });

  test('of a stream of which nothing is kept is its latest', () => {
    const end = greeted();
    end.streams.standAt('events', 7);
    expect(end.hear('REPLICATE events START')).toEqual([`POSITION events 7 ${era(1)}`]);
  });
});

describe('a stream that cannot be served is REFUSED, and the connection goes on', () => {
  const two = (): PrimaryEnd => {
    const end = greeted();
    for (let i = 1; i <= 5; i++) end.streams.append('events', i);
    end.hear('NAME reader', 'REPLICATE typing NOW');
    return end;
  };

  function expectToGoOn(end: PrimaryEnd): void {
    expect(end.isClosing).toBe(false);
    expect(end.append('typing', 'x').at(-1)).toBe('RDATA typing 1 "x"');
    expect(end.stateOf('events')).toBeUndefined();
    expect(end.append('events', 'unheard')).toEqual([]);
    expect(end.hear('REPLICATE events NOW')).toEqual([`POSITION events 6 ${era(1)}`]);
  }

  test('GAP at once, where rows after the token are no longer kept', () => {
    const end = two();
    end.streams.trim('events', 3);
    expect(end.hear(`REPLICATE events 2 ${era(1)}`)).toEqual([refused('events', 'GAP', factsOf(end, 'events'))]);
    expect(end.outputs.of('event').at(-1)?.event).toMatchObject({
      kind: 'refused',
      error: { code: 'GAP', facts: { stream: 'events', earliest: 4, asked: 2 } },
    });
    expectToGoOn(end);
  });

  test('GAP in the midst of a catch-up that retention overtakes', () => {
    const end = two();
    end.isReading = false;
    end.hear(`REPLICATE events 1 ${era(1)}`);
    const [{ upTo, ...page }, later] = [end.streams.get('events')!.read(1, 1), factsOf(end, 'events')];
    expect(end.answer({ ...page, upTo })).toEqual(['RDATA events 2 2']);
    end.streams.trim('events', 4);
    expect(end.failRead(new LogError('LOG_GAP', 'starts at 5'))).toEqual([
      refused('events', 'GAP', { ...later, earliest: 5 }),
    ]);
    end.isReading = true;
    expectToGoOn(end);
  });

  test('GAP of a live stream whose rows were trimmed before they were sent', () => {
    const end = two();
    end.hear('REPLICATE events NOW');
    end.isReading = false;
    end.append('events', 6);
    end.streams.trim('events', 6);
    expect(end.failRead(new LogError('LOG_GAP', 'starts at 7'))).toEqual([
      refused('events', 'GAP', factsOf(end, 'events')),
    ]);
    expect(end.stateOf('events')).toBeUndefined();
    expect(end.session.isCatchingUp).toBe(false);
  });

  test.each([
    ['another era wrote the row at its token', `3 ${era(9)}`],
    ['it is above the latest', `77 ${era(1)}`],
    ['it is of another log', '3 00112233445566ff.1.a1b2c3d4'],
    ['it has no history, and is above the latest', '77'],
  ])('RESET: %s', (_why, place) => {
    const end = two();
    expect(end.hear(`REPLICATE events ${place}`)).toEqual([refused('events', 'RESET', factsOf(end, 'events'))]);
    expect(end.codes).toEqual(['RESET']);
    expectToGoOn(end);
  });

  test('AHEAD, where the source may still get there', () => {
    const end = two();
    end.isJudging = false;
    end.hear(`REPLICATE events 77 ${era(1)}`);
    expect(end.judged({ verdict: 'ahead' })).toEqual([refused('events', 'AHEAD', factsOf(end, 'events'))]);
    expect(end.codes).toEqual(['AHEAD']);
    end.isJudging = true;
    expectToGoOn(end);
  });

  test('UNAVAILABLE, where the log cannot be read, or not be asked: our files are not described', () => {
    const end = two();
    const error = new LogError('LOG_UNAVAILABLE', 'cannot read /srv/data/rowcast.db');
    end.isReading = false;
    end.hear('REPLICATE events START');
    expect(end.failRead(error)).toEqual([refused('events', 'UNAVAILABLE', factsOf(end, 'events'))]);
    end.isJudging = false;
    end.hear(`REPLICATE events 1 ${era(1)}`);
    end.session.handleJudgeFailed(end.now, end.outputs.of('judge')[0]!, error);
    expect(end.drain()).toEqual([refused('events', 'UNAVAILABLE', factsOf(end, 'events'))]);
    expect(end.codes).toEqual(['LOG_UNAVAILABLE', 'LOG_UNAVAILABLE']);
    [end.isJudging, end.isReading] = [true, true];
    expectToGoOn(end);
  });

  test('UNKNOWN_STREAM, from wherever it is asked for', () => {
    const end = two();
    for (const place of ['START', 'NOW', '0', `5 ${era(1)}`])
      expect(end.hear(`REPLICATE nosuch ${place}`)).toEqual([refused('nosuch', 'UNKNOWN_STREAM')]);
    expect(end.codes).toEqual(Array.from({ length: 4 }, () => 'UNKNOWN_STREAM'));
    expectToGoOn(end);
  });
});

describe('RELEASE', () => {
  test('each gets one RELEASED, in order, also where nothing was replicated', () => {
    const end = greeted();
    expect(
      end.hear('RELEASE nosuch', 'RELEASE events', 'REPLICATE events NOW', 'RELEASE events', 'RELEASE events'),
    ).toEqual([
      'RELEASED nosuch',
      'RELEASED events',
      `POSITION events 0 ${ORIGIN}`,
      'RELEASED events',
      'RELEASED events',
    ]);
    expect(end.append('events', 1)).toEqual([]);
    expect(end.session.subscriptions).toEqual([]);
  });

  test('ends a catch-up: nothing of it comes after RELEASED, and the next REPLICATE need not wait', () => {
    const end = greeted({ limits: { pageBytes: 1 } });
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.isReading = false;
    end.hear('REPLICATE events START');
    expect(end.hear('RELEASE events', `REPLICATE events 2 ${era(1)}`)).toEqual(['RELEASED events']);
    expect(end.session.isCatchingUp).toBe(true);
    // The page that was asked for first answers nobody.
    expect(end.answer(end.streams.get('events')!.read(0, 1))).toEqual([]);
    end.isReading = true;
    expect(end.answer()).toEqual(['RDATA events 3 3', `POSITION events 3 ${era(1)}`]);
    expect(end.session.isCatchingUp).toBe(false);
  });

  test('a verdict that comes after it, or for the REPLICATE before, is nobody’s', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.isJudging = false;
    end.hear(`REPLICATE events 0 ${ORIGIN}`, 'RELEASE events');
    const [first] = end.outputs.of('judge');
    for (const verdict of ['on', 'gap', 'reset', 'ahead'] as const)
      expect(end.judged({ request: first!, verdict })).toEqual([]);
    end.hear(`REPLICATE events 1 ${era(1)}`);
    expect(end.judged({ request: first!, verdict: 'gap' })).toEqual([]);
    end.session.handleJudgeFailed(end.now, first!, new LogError('LOG_UNAVAILABLE', 'gone'));
    expect(end.drain()).toEqual([]);
    expect(end.judged()).toEqual([`POSITION events 1 ${era(1)}`]);
    expect(end.codes).toEqual([]);
  });

  test('a read that fails after it refuses nothing', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events START');
    end.hear('RELEASE events', 'REPLICATE events NOW');
    expect(end.failRead(new LogError('LOG_UNAVAILABLE', 'gone'))).toEqual([]);
    expect(end.stateOf('events')).toBe('live');
  });

  test('forgets what was applied: the next replication begins anew', () => {
    const end = greeted();
    end.append('events', 1);
    end.hear('REPLICATE events START', 'APPLIED events 1 1', 'RELEASE events', 'REPLICATE events START');
    expect(end.session.subscriptions).toEqual([expect.objectContaining({ applied: undefined, saved: undefined })]);
  });
});

describe('a log begins another era while peers are connected', () => {
  const eraLine = (number: number): string => `ERA ${era(number).replace('.', ' ')}`;

  test('ERA says so, and POSITION of each live stream says that everything before it was sent', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.hear('REPLICATE events NOW', 'REPLICATE typing NOW');
    expect(end.beginEra(era(2))).toEqual([eraLine(2), `POSITION events 1 ${era(1)}`, `POSITION typing 0 ${ORIGIN}`]);
    expect(
      end.events.filter((kind) => kind === 'live'),
      'they were live before',
    ).toHaveLength(2);
  });

  test('where rows of before wait, POSITION follows them', () => {
    const end = greeted();
    end.hear('REPLICATE events NOW');
    end.isReading = false;
    end.append('events', 1);
    expect(end.beginEra(era(2))).toEqual([eraLine(2)]);
    expect(end.answer()).toEqual([`HISTORY events 0 ${era(1)}`, 'RDATA events 1 1', `POSITION events 1 ${era(1)}`]);
  });

  test('also where the hint of those rows was lost', () => {
    const end = greeted();
    end.hear('REPLICATE events NOW');
    end.streams.append('events', 1);
    expect(end.beginEra(era(2))).toEqual([
      eraLine(2),
      `HISTORY events 0 ${era(1)}`,
      'RDATA events 1 1',
      `POSITION events 1 ${era(1)}`,
    ]);
  });

  test('a stream that is catching up, or of the other log, has no POSITION for it', () => {
    const end = greeted();
    end.hear('REPLICATE typing NOW');
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events START');
    expect(end.beginEra('0123456789abcdef.2.00c0ffee')).toEqual(['ERA 0123456789abcdef 2.00c0ffee']);
  });

  test('one that began after the greeting and before the peer said who it is, is told then', () => {
    const end = PrimaryEnd.opened();
    expect(end.beginEra(era(2))).toEqual([]);
    expect(end.hear('PING 1 rowcast/2')).toEqual([eraLine(2)]);
    expect(end.hear('PING 2 rowcast/2')).toEqual([]);
  });

  test('one that the peer knows from the greeting, or by ERA, is not told again', () => {
    const streams = new MemoryStreams('events', 'typing');
    streams.era = era(2);
    const end = PrimaryEnd.rowcast({ streams });
    expect(end.beginEra(era(2)), 'the hint comes after the greeting').toEqual([]);
    expect(end.beginEra(era(3))).toEqual([eraLine(3)]);
    expect(end.beginEra(era(3))).toEqual([]);
    const late = PrimaryEnd.opened();
    late.streams.era = era(2);
    expect(late.hear('PING 1 rowcast/2')).toEqual([eraLine(2)]);
    expect(late.beginEra(era(2))).toEqual([]);
  });
});

describe('APPLIED', () => {
  /** Sent: 2 to 4. */
  const following = (): PrimaryEnd => {
    const end = greeted();
    for (let i = 1; i <= 4; i++) end.streams.append('events', i, `${i}b`);
    end.hear(`REPLICATE events 1 ${era(1)}`);
    return end;
  };

  test('says how far the worker is, and from where it would ask after a crash; status tells, in rows', () => {
    const end = following();
    const status = (): object => end.session.subscriptions[0]!;
    expect(status()).toEqual({
      stream: 'events',
      state: 'live',
      sent: 4,
      sentLagRows: 0,
      applied: undefined,
      appliedLagRows: undefined,
      saved: undefined,
    });
    expect(end.hear('APPLIED events 2 NONE')).toEqual([]);
    expect(status()).toMatchObject({ applied: 2, appliedLagRows: 4, saved: undefined });
    end.hear('APPLIED events 4 2');
    expect(status()).toMatchObject({ applied: 4, appliedLagRows: 0, saved: 2 });
    end.hear('APPLIED events 4 NONE');
    expect(status(), 'NONE takes nothing back').toMatchObject({ applied: 4, saved: 2 });
    end.isWriting = false;
    end.append('events', 5, 6, 7);
    end.append('events', 8);
    expect(status()).toMatchObject({ sent: 5, sentLagRows: 1, applied: 4, appliedLagRows: 4 });
  });

  test('status tells of what is not live, too', () => {
    const end = following();
    end.isJudging = false;
    end.isReading = false;
    end.streams.append('typing', 1, 2);
    end.hear('RELEASE events', 'REPLICATE events 2', 'REPLICATE typing START');
    const none = { applied: undefined, appliedLagRows: undefined, saved: undefined };
    expect(end.session.subscriptions).toEqual([
      { stream: 'events', state: 'judging', sent: 2, sentLagRows: 4, ...none },
      { stream: 'typing', state: 'catching-up', sent: 0, sentLagRows: 2, ...none },
    ]);
  });

  test('acknowledges what was saved of this replication, once, and nothing from before it began', () => {
    const end = greeted();
    for (let i = 1; i <= 6; i++) end.streams.append('events', i);
    end.hear(`REPLICATE events 3 ${era(1)}`);
    const acknowledged = (line: string): unknown[] => {
      end.hear(line);
      return end.outputs
        .of('event')
        .map(({ event }) => event)
        .filter(({ kind }) => kind === 'acknowledged');
    };
    expect(acknowledged('APPLIED events 4 NONE')).toEqual([]);
    expect(acknowledged('APPLIED events 4 2')).toEqual([]);
    expect(end.session.acknowledged('events')).toBeUndefined();
    const [first] = acknowledged('APPLIED events 5 3');
    expect(first).toEqual({ kind: 'acknowledged', stream: 'events', saved: 3 });
    expect(acknowledged('APPLIED events 6 3')).toHaveLength(1);
    expect(acknowledged('APPLIED events 6 6')).toHaveLength(2);
    expect(end.session.acknowledged('events')).toBe(6);
    end.hear('RELEASE events', `REPLICATE events 6 ${era(1)}`);
    expect(end.session.acknowledged('events')).toBeUndefined();
  });

  // SPEC B6
  test('of what was not sent, of what was not applied, or of less than before, is a fault', () => {
    for (const [lines, text] of [
      [['APPLIED events 5 NONE'], 'says applied 5, expected 1 to 4'],
      [['APPLIED events 0 NONE'], 'says applied 0, expected 1 to 4'],
      [['APPLIED events 3 NONE', 'APPLIED events 2 NONE'], 'says applied 2, expected 3 to 4'],
      [['APPLIED events 3 4'], 'says saved 4, expected 0 to 3'],
      [['APPLIED events 3 3', 'APPLIED events 4 2'], 'says saved 2, expected 3 to 4'],
    ] as const) {
      const end = following();
      expect(end.hear(...lines)).toEqual([`ERROR APPLIED of stream events ${text}`]);
      expect(end.outputs.of('close')[0]?.reason).toMatchObject({
        code: 'UNEXPECTED_COMMAND',
        facts: { stream: 'events' },
      });
    }
  });

  test('of a stream that is not replicated, because it was refused or released meanwhile, says nothing', () => {
    const end = following();
    end.hear('RELEASE events');
    expect(end.hear('APPLIED events 4 4', 'APPLIED nosuch 1 1')).toEqual([]);
    end.isJudging = false;
    end.hear(`REPLICATE events 2 ${era(1)}`, 'APPLIED events 4 4');
    expect(end.judged()).toHaveLength(5);
    expect(end.session.subscriptions[0]).toMatchObject({ applied: undefined, saved: undefined });
  });
});

describe('ATTR', () => {
  const append = (end: PrimaryEnd): void => {
    end.streams.append('events', 'a');
    end.streams.appendWith({ trace: 1 }, 'events', 'b', 'c');
    end.streams.append('events', 'd');
    end.streams.appendWith({ trace: 2 }, 'events', 'e');
  };

  test('stands before the first row of its batch, for a worker that asks for it', () => {
    const end = PrimaryEnd.rowcast({}, ' attr');
    append(end);
    expect(end.hear('REPLICATE events START')).toEqual([
      `HISTORY events 0 ${era(1)}`,
      'RDATA events 1 "a"',
      'ATTR events 2 {"trace":1}',
      'RDATA events batch "b"',
      'RDATA events 2 "c"',
      'RDATA events 3 "d"',
      'ATTR events 4 {"trace":2}',
      'RDATA events 4 "e"',
      `POSITION events 4 ${era(1)}`,
    ]);
    end.streams.appendWith({ trace: 3 }, 'events', 'f');
    expect(end.hint('events')).toEqual(['ATTR events 5 {"trace":3}', 'RDATA events 5 "f"']);
  });

  test('no other worker gets it', () => {
    const end = greeted();
    append(end);
    expect(end.hear('REPLICATE events START').filter((line) => line.startsWith('ATTR'))).toEqual([]);
  });

  test('counts as what the socket has to take: every byte taken is progress', () => {
    const end = PrimaryEnd.rowcast({ limits: { idleTimeoutMs: 1_000_000 } }, ' attr');
    end.hear('REPLICATE events NOW');
    end.isWriting = false;
    end.streams.appendWith({ trace: 'x'.repeat(10_000) }, 'events', 1);
    end.hint('events');
    const written = end.outputs.of('transmit').reduce((bytes, output) => bytes + output.bytes.length, 0);
    end.passTime(4_000);
    end.session.handleProgress(end.now, 10_000);
    end.passTime(59_999);
    expect(written).toBeGreaterThan(10_000);
    expect(end.isClosing).toBe(false);
    end.passTime(1);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'SLOW_CONSUMER' });
  });
});

describe('$streams', () => {
  test('can be asked for by name, and is not in ALL', () => {
    const end = greeted();
    end.streams.append('$streams', { stream: 'events', made: 1 });
    expect(end.hear('REPLICATE ALL NOW')).toEqual([`POSITION events 0 ${ORIGIN}`, `POSITION typing 0 ${ORIGIN}`]);
    expect(end.hear('REPLICATE $streams START')).toEqual([
      `HISTORY $streams 0 ${era(1)}`,
      'RDATA $streams 1 {"stream":"events","made":1}',
      `POSITION $streams 1 ${era(1)}`,
    ]);
    expect(end.append('$streams', { stream: 'typing', made: 2 })).toEqual([
      'RDATA $streams 2 {"stream":"typing","made":2}',
    ]);
  });
});

describe('whatever order the log answers in', () => {
  test('an answer from before the rows came is no fault of the log', () => {
    const end = greeted();
    end.isReading = false;
    end.hear('REPLICATE events START');
    const empty = end.streams.get('events')!.read(0, 1_000);
    end.append('events', 1);
    expect(end.answer(empty)).toEqual([]);
    expect(end.answer()).toEqual([`HISTORY events 0 ${era(1)}`, 'RDATA events 1 1', `POSITION events 1 ${era(1)}`]);
  });

  const kinds = (outputs: readonly PrimaryOutput[]): string[] => outputs.map(({ kind }) => kind);

  test('a page is asked for only once the position is judged', () => {
    const end = greeted();
    end.streams.append('events', 1);
    end.isJudging = false;
    end.hear('REPLICATE events 0');
    end.append('events', 2);
    expect(kinds(end.outputs.all)).not.toContain('read');
    expect(end.judged()).toEqual([
      `HISTORY events 0 ${era(1)}`,
      'RDATA events 1 1',
      'RDATA events 2 2',
      `POSITION events 2 ${era(1)}`,
    ]);
  });

  test('a verdict that comes when the session is ending is not acted on', () => {
    const end = greeted();
    end.isJudging = false;
    end.hear('REPLICATE events 0');
    end.stop();
    expect(end.judged({ verdict: 'gap' })).toEqual([]);
    end.session.handleClosed();
    expect(end.judged({ verdict: 'on' })).toEqual([]);
    expect(end.codes).toEqual([]);
  });
});
