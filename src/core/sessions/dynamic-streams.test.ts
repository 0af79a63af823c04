/**
 * Streams that are made, deleted and taken back while sessions replicate them (docs/protocol.md,
 * "Streams that are made and deleted").
 */

import { describe, expect, test } from 'vitest';
import { era, MemoryStreams, ORIGIN } from '../../../test/support/memory-streams.ts';
import { PrimaryEnd, type PrimaryEndOptions } from '../../../test/support/primary-end.ts';
import { LogError } from '../model/errors.ts';

const rooms = (): MemoryStreams => new MemoryStreams('events', 'room:*');
const seed = (options?: PrimaryEndOptions): PrimaryEnd => PrimaryEnd.opened({ streams: rooms(), ...options });
const rowcast = (options?: PrimaryEndOptions): PrimaryEnd => PrimaryEnd.rowcast({ streams: rooms(), ...options });

const EMPTY = { earliest: 1, latest: 0, history: ORIGIN };
const DELETED = `REFUSED room:1 RESET ${JSON.stringify({ ...EMPTY, deleted: true })}`;

/** A session of a Rowcast worker, and rows 1 to 3 of stream room:1. */
function withRows(options?: PrimaryEndOptions): PrimaryEnd {
  const end = rowcast(options);
  for (let i = 1; i <= 3; i++) end.streams.append('room:1', i);
  return end;
}

describe('a stream that is declared and not made', () => {
  // SPEC S10
  test('is empty at token 0, wherever it is asked for from, and gives its first row', () => {
    for (const place of [`0 ${ORIGIN}`, '0', 'START', 'NOW']) {
      const end = rowcast();
      expect(end.hear(`REPLICATE room:1 ${place}`)).toEqual([`POSITION room:1 0 ${ORIGIN}`]);
      expect(end.make('room:1', 'first')).toEqual([`HISTORY room:1 0 ${era(1)}`, 'RDATA room:1 1 "first"']);
    }
  });

  test('gives a seed peer its first row, too', () => {
    for (const place of ['0', 'NOW', '57']) {
      const end = seed();
      expect(end.hear(`REPLICATE room:42 ${place}`)).toEqual(['POSITION room:42 0']);
      expect(end.make('room:42', 'first')).toEqual(['RDATA room:42 1 "first"']);
    }
  });

  test('was deleted, where a position of it has rows', () => {
    const end = rowcast();
    expect(end.hear(`REPLICATE room:1 3 ${era(1)}`)).toEqual([DELETED]);
    expect(end.outputs.of('event').at(-1)?.event).toMatchObject({
      error: { code: 'RESET', facts: { stream: 'room:1', asked: 3, deleted: true } },
    });
    expect(end.hear('REPLICATE room:1 START')).toEqual([`POSITION room:1 0 ${ORIGIN}`]);
  });

  test('is another thing than a name that no pattern matches', () => {
    expect(rowcast().hear('REPLICATE room:1:x NOW', 'REPLICATE hall:1 0')).toEqual([
      'REFUSED room:1:x UNKNOWN_STREAM {}',
      'REFUSED hall:1 UNKNOWN_STREAM {}',
    ]);
    expect(seed().hear('REPLICATE room:1:x NOW')).toEqual(['ERROR unknown stream room:1:x']);
  });
});

describe('a stream that is deleted', () => {
  // SPEC S11
  test('is refused with RESET, deleted, in whatever state its replication is, and the others go on', () => {
    for (const line of ['REPLICATE room:1 NOW', `REPLICATE room:1 2 ${era(1)}`, 'REPLICATE room:1 START']) {
      const end = withRows();
      end.isJudging = false;
      end.isReading = false;
      end.hear('REPLICATE events NOW', line);
      expect(end.delete('room:1'), line).toEqual([DELETED]);
      expect(end.stateOf('room:1')).toBeUndefined();
      expect(end.codes).toEqual(['RESET']);
      expect(end.isClosing).toBe(false);
      expect(end.stateOf('events')).toBe('live');
      expect(end.hear('REPLICATE room:1 NOW')).toEqual([`POSITION room:1 0 ${ORIGIN}`]);
    }
  });

  test('in the midst of its catch-up: rows that are being read are not sent', () => {
    const end = withRows({ limits: { pageBytes: 1 } });
    end.isReading = false;
    end.hear(`REPLICATE room:1 0 ${ORIGIN}`);
    const page = end.streams.get('room:1')!.read(0, 1);
    expect(end.delete('room:1')).toEqual([DELETED]);
    // Asked for again at once: the name is empty now.
    expect(end.hear('REPLICATE room:1 START')).toEqual([]);
    expect(end.answer(page)).toEqual([]);
    expect(end.answer()).toEqual([`POSITION room:1 0 ${ORIGIN}`]);
  });

  test('so is a verdict on a position of before', () => {
    const end = withRows();
    end.isJudging = false;
    end.hear(`REPLICATE room:1 3 ${era(1)}`);
    expect(end.delete('room:1')).toEqual([DELETED]);
    expect(end.judged({ verdict: 'on' })).toEqual([]);
    end.session.handleJudgeFailed(end.now, end.outputs.of('judge')[0]!, new LogError('LOG_UNAVAILABLE', 'gone'));
    expect(end.drain()).toEqual([]);
  });

  test('is nothing to a session that does not replicate it', () => {
    const end = withRows();
    end.hear('REPLICATE room:1 NOW', 'RELEASE room:1');
    expect(end.delete('room:1')).toEqual([]);
    expect(end.delete('room:2')).toEqual([]);
  });

  // SPEC P8
  test('gives a seed peer POSITION 0, in whatever state its replication is, and then the first row of the next', () => {
    const states = [
      { isJudging: true, isReading: true },
      { isJudging: true, isReading: false },
      { isJudging: false, isReading: true },
    ];
    for (const state of states) {
      const end = seed();
      for (let i = 1; i <= 3; i++) end.streams.append('room:1', i);
      Object.assign(end, state);
      end.hear('REPLICATE room:1 1');
      const before = end.streams.get('room:1')!.read(1, Infinity);
      expect(end.delete('room:1')).toEqual(['POSITION room:1 0']);
      expect(end.stateOf('room:1')).toBe('live');
      if (!state.isReading) expect(end.answer(before), 'rows that were being read').toEqual([]);
      Object.assign(end, states[0]);
      end.beginEra(era(2));
      expect(end.make('room:1', 'again')).toEqual(['RDATA room:1 1 "again"']);
      expect(end.codes).toEqual([]);
    }
  });
});

describe('rows that were taken back', () => {
  // SPEC S12
  test('a replication below them goes on, one above them is refused', () => {
    const end = withRows();
    const other = withRows({ streams: end.streams });
    end.hear('REPLICATE room:1 NOW');
    other.isWriting = false;
    other.hear(`REPLICATE room:1 0 ${ORIGIN}`);
    const latest = end.streams.get('room:1')!.latest;
    expect(other.stateOf('room:1')).toBe('live');
    expect(end.rebase('room:1', latest)).toEqual([`POSITION room:1 ${latest} ${era(1)}`]);
    expect(end.rebase('room:1', 1)).toEqual([
      `REFUSED room:1 RESET ${JSON.stringify({ earliest: 1, latest: 1, history: era(1) })}`,
    ]);
    expect(end.stateOf('room:1')).toBeUndefined();
  });

  test('a live replication whose rows are others by the time of the verdict is refused', () => {
    const end = withRows();
    end.hear('REPLICATE room:1 NOW');
    end.isJudging = false;
    expect(end.rebase('room:1', 1)).toEqual([]);
    expect(end.stateOf('room:1')).toBe('judging');
    end.streams.era = era(2);
    for (let i = 2; i <= 4; i++) end.append('room:1', `other ${i}`);
    expect(end.outputs.of('judge').at(-1)?.position).toEqual({ stream: 'room:1', token: 3, history: era(1) });
    expect(end.judged()).toEqual([
      `REFUSED room:1 RESET ${JSON.stringify({ earliest: 1, latest: 4, history: era(2) })}`,
    ]);
  });

  test('rows that were read before and come after are not sent', () => {
    for (const line of [`REPLICATE room:1 0 ${ORIGIN}`, 'REPLICATE room:1 START']) {
      const end = withRows();
      end.isReading = false;
      end.hear(line);
      const before = end.streams.get('room:1')!.read(0, Infinity);
      end.rebase('room:1', 1);
      end.streams.era = era(2);
      end.streams.append('room:1', 'other');
      expect(end.answer(before)).toEqual([]);
      expect(end.answer()).toEqual([`HISTORY room:1 0 ${era(1)}`, 'RDATA room:1 1 1']);
      expect(end.answer()).toEqual([
        `HISTORY room:1 1 ${era(2)}`,
        'RDATA room:1 2 "other"',
        `POSITION room:1 2 ${era(2)}`,
      ]);
    }
  });

  test('a verdict from before them counts for nothing', () => {
    const end = withRows();
    end.isJudging = false;
    end.hear(`REPLICATE room:1 3 ${era(1)}`);
    const [before] = end.outputs.of('judge');
    end.rebase('room:1', 1);
    expect(end.judged({ request: before!, verdict: 'on' })).toEqual([]);
    expect(end.judged()).toEqual([expect.stringMatching(/^REFUSED room:1 RESET /)]);
  });

  test('what was applied before them is no fault after them', () => {
    const end = withRows();
    end.hear(`REPLICATE room:1 1 ${era(1)}`);
    end.isJudging = false;
    end.rebase('room:1', 3);
    expect(end.hear('APPLIED room:1 2 1')).toEqual([]);
    expect(end.judged()).toEqual([`POSITION room:1 3 ${era(1)}`]);
    expect(end.hear('APPLIED room:1 2 1', 'APPLIED room:1 3 3')).toEqual([]);
  });

  test('a seed peer above them gets POSITION at what is left, and goes on from there', () => {
    const end = seed();
    for (let i = 1; i <= 3; i++) end.streams.append('room:1', i);
    end.hear('REPLICATE room:1 0');
    expect(end.rebase('room:1', 3)).toEqual([]);
    expect(end.rebase('room:1', 1)).toEqual(['POSITION room:1 1']);
    expect(end.append('room:1', 'other')).toEqual(['RDATA room:1 2 "other"']);
  });

  test('a seed peer below them gets them no more', () => {
    const end = seed();
    for (let i = 1; i <= 3; i++) end.streams.append('room:1', i);
    end.isReading = false;
    end.hear('REPLICATE room:1 0');
    const before = end.streams.get('room:1')!.read(0, Infinity);
    expect(end.rebase('room:1', 1)).toEqual([]);
    expect(end.answer(before)).toEqual([]);
    expect(end.answer()).toEqual(['RDATA room:1 1 1', 'POSITION room:1 1']);
  });
});

describe('ALL', () => {
  // SPEC P9
  test('includes streams that are made later, from their first row', () => {
    const end = seed();
    end.streams.append('room:1', 'old');
    expect(end.hear('REPLICATE ALL NOW')).toEqual(['POSITION events 0', 'POSITION room:1 1']);
    expect(end.make('room:2', 'first')).toEqual(['POSITION room:2 0', 'RDATA room:2 1 "first"']);
    expect(end.append('room:2', 'second')).toEqual(['RDATA room:2 2 "second"']);
    expect(end.make('events', 'of a stream that was there')).toEqual(['RDATA events 1 "of a stream that was there"']);
  });

  test('is about streams that are made later only where it was asked for', () => {
    const end = seed();
    end.hear('REPLICATE events NOW');
    expect(end.make('room:1', 'unasked')).toEqual([]);
  });

  test('of very many streams is answered as the socket takes the answers, and made ones are not passed over', () => {
    const end = seed();
    for (let i = 1; i <= 20_000; i++) end.streams.append(`room:${i}`, 'old');
    end.isWriting = false;
    const lines = end.hear('REPLICATE ALL NOW', 'NAME read when all is answered');
    expect(lines.length).toBeLessThan(20_000);
    expect(end.isPaused).toBe(true);
    expect(end.session.workerName).toBeUndefined();
    // It is made now, before its turn: it begins with its first row and not from then on.
    lines.push(...end.make('room:new', 'first'));
    while (end.isPaused) lines.push(...end.drained());
    expect(lines).toHaveLength(20_003);
    expect(lines.filter((line) => line.includes('room:new'))).toEqual([
      'POSITION room:new 0',
      'RDATA room:new 1 "first"',
    ]);
    expect(end.session.workerName).toBe('read when all is answered');
  });
});

describe('limits', () => {
  test('a connection that asks for more than maxReplications streams is ended', () => {
    for (const end of [seed({ limits: { maxReplications: 2 } }), rowcast({ limits: { maxReplications: 2 } })]) {
      end.hear('REPLICATE events NOW', 'REPLICATE room:1 NOW');
      if (end.hear('PING 1').length === 0) end.hear('REPLICATE nosuch:1 NOW');
      expect(end.isClosing).toBe(true);
      expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'TOO_MANY_STREAMS' });
    }
  });

  test('names that were released count no more', () => {
    const end = rowcast({ limits: { maxReplications: 1 } });
    for (let i = 0; i < 5; i++) {
      expect(end.hear(`REPLICATE room:${i} NOW`, `RELEASE room:${i}`)).toEqual([
        `POSITION room:${i} 0 ${ORIGIN}`,
        `RELEASED room:${i}`,
      ]);
    }
  });

  test('the table is left by whatever way a replication ends', () => {
    const end = withRows();
    end.hear('REPLICATE events NOW', 'REPLICATE room:1 START', 'REPLICATE room:2 NOW', 'REPLICATE $streams NOW');
    expect(end.streams.followers).toBe(4);
    end.hear('RELEASE events', `REPLICATE room:3 7 ${era(1)}`);
    expect(end.streams.followers).toBe(3);
    end.delete('room:1');
    expect(end.streams.followers).toBe(2);
    end.session.handleClosed();
    expect(end.streams.followers).toBe(0);
  });

  test('a log that does not answer a read within sourceTimeoutMs makes its stream unavailable', () => {
    const end = withRows({ limits: { sourceTimeoutMs: 7_000, idleTimeoutMs: 1e6, keepAliveIntervalMs: 1e6 } });
    end.isReading = false;
    end.hear('REPLICATE events NOW', 'REPLICATE room:1 START');
    expect(end.passTime(6_999)).toEqual([]);
    expect(end.passTime(1)).toEqual([expect.stringMatching(/^REFUSED room:1 UNAVAILABLE /)]);
    expect(end.codes).toEqual(['LOG_UNAVAILABLE']);
    // The answer comes after all, when something else is read.
    end.hear('REPLICATE room:1 START');
    const [late] = end.outputs.of('read');
    end.session.handlePage(end.now, late!, end.streams.get('room:1')!.read(0, 1));
    expect(end.drain()).toEqual([]);
    expect(end.answer()).toHaveLength(5);
  });

  test('so does one that does not answer whether a position is on its history', () => {
    const end = withRows({ limits: { sourceTimeoutMs: 7_000, idleTimeoutMs: 1e6, keepAliveIntervalMs: 1e6 } });
    end.isJudging = false;
    end.hear(`REPLICATE room:1 1 ${era(1)}`);
    end.passTime(3_000);
    end.hear(`REPLICATE room:2 1 ${era(1)}`, `REPLICATE events 0 ${ORIGIN}`);
    end.session.handleVerdict(end.now, end.outputs.of('judge').at(-1)!, 'on');
    expect(end.passTime(4_000)).toEqual([
      `POSITION events 0 ${ORIGIN}`,
      expect.stringMatching(/^REFUSED room:1 UNAVAILABLE /),
    ]);
    expect(end.passTime(3_000)).toEqual([expect.stringMatching(/^REFUSED room:2 UNAVAILABLE /)]);
    expect(end.session.nextTimeout()).toBeGreaterThan(end.now + 7_000);
  });

  test('a seed peer of such a log is told that the stream cannot be read, and closed', () => {
    const end = seed({ limits: { sourceTimeoutMs: 7_000, keepAliveIntervalMs: 1e6 } });
    end.isJudging = false;
    end.hear('REPLICATE room:1 1', 'REPLICATE room:2 1');
    expect(end.passTime(7_000)).toEqual(['ERROR cannot read stream room:1']);
  });

  // SPEC B10
  test('a log that does not answer holds up its own streams and no others', () => {
    const end = withRows();
    end.streams.add('far');
    end.streams.append('far', 1);
    end.isReading = false;
    end.hear('REPLICATE far START', 'REPLICATE room:1 START', 'REPLICATE room:2 START');
    // One read of each source is under way.
    expect(end.outputs.of('read').map(({ stream }) => stream)).toEqual(['far', 'room:1']);
    expect(end.answer()).toHaveLength(5);
    expect(end.outputs.of('read').map(({ stream }) => stream)).toEqual(['far', 'room:1', 'room:2']);
  });

  test('a peer that asks and releases again and again leaves nothing behind while a log does not answer', () => {
    const end = withRows();
    end.isReading = false;
    end.hear('REPLICATE room:1 START');
    for (let i = 0; i < 10_000; i++) end.hear('REPLICATE room:2 START', 'RELEASE room:2');
    end.hear('REPLICATE room:2 START');
    end.streams.append('room:2', 'x');
    expect(end.answer()).toHaveLength(5);
    expect(end.answer()).toEqual([`HISTORY room:2 0 ${era(1)}`, 'RDATA room:2 1 "x"', `POSITION room:2 1 ${era(1)}`]);
    expect(end.outputs.of('read')).toHaveLength(2);
  });
});

describe('an era that begins', () => {
  test('is told to very many live streams as the socket takes the lines', () => {
    const end = rowcast();
    for (let i = 0; i < 10_000; i++) end.hear(`REPLICATE room:${i} NOW`);
    end.isWriting = false;
    const lines = end.beginEra(era(2));
    expect(lines.length).toBeLessThan(10_000);
    for (let more = end.drained(); more.length > 0; more = end.drained()) lines.push(...more);
    expect(lines).toHaveLength(10_001);
    expect(new Set(lines).size).toBe(10_001);
  });
});
