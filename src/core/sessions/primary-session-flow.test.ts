import { describe, expect, test, vi } from 'vitest';
import { era, MemoryStreams } from '../../../test/support/memory-streams.ts';
import { bytesOf, PrimaryEnd, type PrimaryEndOptions } from '../../../test/support/primary-end.ts';
import { defaultPrimaryLimits } from '../wire/limits.ts';
import { MAX_UNREAD_ANSWER_BYTES } from './outflow.ts';

const opened = (options?: PrimaryEndOptions): PrimaryEnd => PrimaryEnd.opened(options);

const empty = { stream: 'events', chunks: [], rows: 0, hasMore: false, history: era(1) };

describe('paging', () => {
  test('one page is asked for at a time, and the next one after the socket drained', () => {
    const end = opened({ limits: { pageBytes: 1 } });
    for (let i = 1; i <= 3; i++) end.streams.append('events', i, i);
    end.isWriting = false;
    expect(end.hear('REPLICATE events 0')).toEqual(['RDATA events batch 1', 'RDATA events 1 1']);
    expect(end.hint('events')).toEqual([]);
    expect(end.drained()).toEqual(['RDATA events batch 2', 'RDATA events 2 2']);
    expect(end.drained()).toEqual(['RDATA events batch 3', 'RDATA events 3 3', 'POSITION events 3']);
    expect(end.drained()).toEqual([]);
    expect(end.outputs.of('read').map(({ after }) => after)).toEqual([0, 1, 2]);
  });

  test('reads say where to begin and how much to bring', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.hear('REPLICATE events 0');
    expect(end.outputs.of('read')).toEqual([
      { kind: 'read', stream: 'events', after: 0, maxBytes: 65_536, latest: 1, number: 1 },
    ]);
  });

  test('streams take turns, so that a long history does not hold up a short one', () => {
    const end = opened({ limits: { pageBytes: 1 } });
    for (let i = 1; i <= 3; i++) end.streams.append('events', i);
    end.streams.append('typing', 'x');
    expect(end.hear('REPLICATE events 0', 'REPLICATE typing 0')).toEqual([
      'RDATA events 1 1',
      'RDATA typing 1 "x"',
      'POSITION typing 1',
      'RDATA events 2 2',
      'RDATA events 3 3',
      'POSITION events 3',
    ]);
  });

  test('rows appended while a page is read are part of the catch-up', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    const readBefore = end.streams.get('events')!.read(0, 1_000);
    end.streams.append('events', 2);
    end.hint('events');
    expect(end.answer(readBefore)).toEqual(['RDATA events 1 1']);
    expect(end.answer()).toEqual(['RDATA events 2 2', 'POSITION events 2']);
  });

  test('a position that moves without rows is told by POSITION: first as the end of catch-up, later by itself', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.streams.trim('events', 0);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.streams.get('events')!.latest = 5;
    expect(end.answer({ ...empty, upTo: 5 })).toEqual(['POSITION events 5']);
    end.streams.get('events')!.latest = 9;
    end.hint('events');
    expect(end.answer({ ...empty, upTo: 9 })).toEqual(['POSITION events 9']);
    expect(end.events.filter((kind) => kind === 'live')).toHaveLength(1);
  });

  test('a hint for a stream that nobody asked for, or that brings nothing new, does nothing', () => {
    const end = opened();
    end.hear('REPLICATE events NOW');
    expect(end.append('typing', 1)).toEqual([]);
    expect(end.hint('events')).toEqual([]);
    expect(end.outputs.of('read')).toEqual([]);
  });

  // SPEC D5
  test('hints that are lost cost nothing: the next one brings all', () => {
    const end = opened();
    end.hear('REPLICATE events NOW');
    end.streams.append('events', 1);
    end.streams.append('events', 2);
    expect(end.append('events', 3)).toEqual(['RDATA events 1 1', 'RDATA events 2 2', 'RDATA events 3 3']);
  });

  test('a page that moves nothing is a fault of the log, and is not asked for again and again', () => {
    const end = PrimaryEnd.rowcast();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    expect(end.answer({ ...empty, upTo: 0, hasMore: true })).toEqual([
      expect.stringMatching(/^REFUSED events UNAVAILABLE /),
    ]);
    expect(end.outputs.of('read')).toHaveLength(1);
  });

  test('an answer that nobody asked for, or a second one, is not sent', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.hear('REPLICATE events 0');
    const [read] = end.outputs.of('read');
    end.session.handlePage(end.now, read!, end.streams.get('events')!.read(0, 1));
    end.session.handlePage(end.now, { ...read!, number: 77 }, end.streams.get('events')!.read(0, 1));
    expect(end.drain()).toEqual([]);
  });
});

describe('keep-alive', () => {
  test('PING goes out whenever nothing was sent for 5 s', () => {
    const end = opened();
    expect(end.passTime(4_999)).toEqual([]);
    expect(end.passTime(1)).toEqual([`PING ${end.now}`]);
    end.hear('REPLICATE events NOW');
    end.passTime(3_000);
    end.append('events', 1);
    expect(end.passTime(4_999)).toEqual([]);
    expect(end.passTime(1)).toEqual([`PING ${end.now}`]);
  });

  test.each([15_000, 2_000])('a worker that pinged is given up after idleTimeoutMs without a byte: %i', (ms) => {
    const end = opened({ limits: { idleTimeoutMs: ms } });
    end.hear('PING 1');
    end.passTime(ms - 1);
    end.hear('NAME a');
    expect(end.passTime(ms - 1).filter((line) => line.startsWith('ERROR'))).toEqual([]);
    expect(end.passTime(1)).toEqual(['ERROR ping timeout']);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'IDLE_TIMEOUT' });
  });

  test('half a line is a sign of life', () => {
    const end = opened();
    end.hear('PING 1');
    end.passTime(14_000);
    end.hearBytes(Buffer.from('NAM'));
    end.passTime(14_999);
    expect(end.isClosing).toBe(false);
  });

  test('a person with netcat, who never sends PING, is never timed out', () => {
    const end = opened();
    end.hear('REPLICATE events NOW');
    const lines = end.passTime(10 * 3_600_000);
    expect(lines.every((line) => line.startsWith('PING '))).toBe(true);
    expect(lines).toHaveLength(10 * 720);
    expect(end.append('events', 'still here')).toEqual(['RDATA events 1 "still here"']);
  });

  test('waking early is harmless', () => {
    const end = opened();
    for (let i = 0; i < 10; i++) end.session.handleTimeout(end.now + i);
    expect(end.drain()).toEqual([]);
  });
});

describe('slow consumers', () => {
  test('a live subscription over maxLagRows gets ERROR Failed to keep up, and a close', () => {
    const end = opened({ limits: { maxLagRows: 3 } });
    end.hear('NAME slow one', 'REPLICATE events NOW');
    end.isWriting = false;
    expect(end.append('events', 1, 2)).toEqual(['RDATA events batch 1', 'RDATA events 1 2']);
    expect(end.append('events', 3, 4, 5)).toEqual([]);
    expect(end.append('events', 6)).toEqual(['ERROR Failed to keep up']);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({
      code: 'SLOW_CONSUMER',
      message: 'worker slow one did not keep up: 4 rows behind on events, over maxLagRows 3',
    });
  });

  test('one whose lag is tokens that were skipped is not cut: the log is asked before', () => {
    const end = opened({ limits: { maxLagRows: 3 } });
    end.hear('REPLICATE events NOW');
    end.isWriting = false;
    end.append('events', 1);
    const events = end.streams.get('events')!;
    // Hints without rows count tokens.
    for (let i = 2; i <= 4; i++) {
      events.appendedRows += 100;
      end.append('events', i);
    }
    expect(end.isClosing).toBe(false);
    expect(end.append('events', 5)).toEqual(['ERROR Failed to keep up']);
    expect(end.outputs.of('close')[0]?.reason?.message).toContain(': 4 rows behind on events, over maxLagRows 3');
  });

  test('rows that were sent before their hint are no lag once it comes: the log is not asked for one', () => {
    const end = opened({ limits: { maxLagRows: 3 } });
    end.hear('REPLICATE events NOW');
    const events = end.streams.get('events')!;
    const asked = vi.spyOn(events, 'rowsAfter');
    end.isReading = false;
    end.append('events', 1);
    for (let i = 2; i <= 6; i++) end.streams.append('events', i);
    // Their hint is on its way while the page that brings them is read.
    events.appendedRows = 1;
    expect(end.answer()).toHaveLength(6);
    events.appendedRows = 6;
    end.hint('events');
    expect(end.append('events', 7)).toEqual([]);
    expect(asked).not.toHaveBeenCalled();
  });

  test('one that keeps up is never cut, however much it was sent', () => {
    const end = opened({ limits: { maxLagRows: 3 } });
    end.hear('REPLICATE events NOW');
    for (let i = 0; i < 100; i++) end.append('events', i, i);
    expect(end.isClosing).toBe(false);
  });

  test('one that is catching up is never cut for being behind', () => {
    const end = opened({ limits: { maxLagRows: 3, pageBytes: 1 } });
    for (let i = 0; i < 50; i++) end.streams.append('events', i);
    end.isWriting = false;
    end.hear('REPLICATE events 0');
    for (let i = 0; i < 50; i++) end.append('events', i);
    expect(end.isClosing).toBe(false);
    end.isWriting = true;
    expect(end.drained().at(-1)).toBe('POSITION events 100');
  });

  test("with the policy 'catch-up' one over maxLagRows is left to catch up", () => {
    const end = opened({ slowConsumer: 'catch-up', limits: { maxLagRows: 3 } });
    end.hear('REPLICATE events NOW');
    end.isWriting = false;
    for (let i = 1; i <= 50; i++) end.append('events', i);
    expect(end.isClosing).toBe(false);
    end.isWriting = true;
    expect(end.drained()).toHaveLength(49);
  });

  test.each(['disconnect', 'catch-up'] as const)(
    "a socket that takes no byte for 60 s while rows wait is cut, also with the policy '%s'",
    (slowConsumer) => {
      const end = opened({ slowConsumer });
      end.hear('REPLICATE events NOW');
      end.passTime(100_000);
      end.isWriting = false;
      end.append('events', 'x'.repeat(1_000));
      expect(end.passTime(59_999).filter((line) => !line.startsWith('PING'))).toEqual([]);
      expect(end.passTime(1)).toEqual(['ERROR Failed to keep up']);
      expect(end.outputs.of('close')[0]?.reason).toMatchObject({
        message: 'worker (no name) did not keep up: its socket took no byte for 60000 ms',
      });
    },
  );

  test('one byte taken is progress', () => {
    const end = opened();
    end.hear('REPLICATE events NOW');
    end.isWriting = false;
    end.append('events', 'x'.repeat(1_000));
    end.passTime(50_000);
    // That is RDATA but for the PINGs since.
    end.session.handleProgress(end.now, 1_000);
    end.passTime(59_999);
    expect(end.isClosing).toBe(false);
    end.passTime(1);
    expect(end.isClosing).toBe(true);
  });

  test('a socket with nothing to take is not stalled', () => {
    const end = opened();
    end.hear('REPLICATE events NOW');
    end.passTime(600_000);
    expect(end.isClosing).toBe(false);
  });

  test('a peer that never PINGs and never reads is cut as well: our own PINGs wait for it', () => {
    const end = opened();
    end.passTime(600_000);
    end.isWriting = false;
    // The next PING goes out after 5 s; from then on a byte waits.
    expect(end.passTime(64_999).filter((line) => line.startsWith('ERROR'))).toEqual([]);
    expect(end.passTime(1)).toEqual(['ERROR Failed to keep up']);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'SLOW_CONSUMER' });
  });
});

describe('requests by the ten thousand in one chunk', () => {
  const COUNT = 10_000;
  const LONG = 'x'.repeat(40);
  const withLongName = (): PrimaryEndOptions => ({ streams: new MemoryStreams('events', LONG) });
  const times = (...lines: string[]): Buffer => bytesOf(...Array.from({ length: COUNT }, () => lines).flat());
  const answersOf = (end: PrimaryEnd): number =>
    end.outputs.of('transmit').reduce((bytes, output) => bytes + output.bytes.length, 0);

  test.each([
    ['seed', ['REPLICATE ALL NOW']],
    ['seed', [`REPLICATE ${LONG} NOW`]],
    ['rowcast/2', [`RELEASE ${LONG}`]],
    ['rowcast/2', ['REPLICATE nosuch-and-never-made START']],
    ['rowcast/2', [`REPLICATE ${LONG} NOW`, `RELEASE ${LONG}`]],
    ['rowcast/2', [`REPLICATE ${LONG} 0`, `RELEASE ${LONG}`]],
    ['rowcast/2', [`REPLICATE ${LONG} START`, `RELEASE ${LONG}`]],
    ['rowcast/2', [`REPLICATE ${LONG} 77`, `RELEASE ${LONG}`]],
  ] as const)(
    '%s: %s, answers unread: it stops reading, goes on when they are taken, and answers each',
    (dialect, lines) => {
      const end = dialect === 'seed' ? opened(withLongName()) : PrimaryEnd.rowcast(withLongName());
      end.isWriting = false;
      const before = answersOf(end);
      end.hearBytes(times(...lines));
      expect(end.isPaused).toBe(true);
      const held = answersOf(end) - before;
      expect(held).toBeGreaterThan(0);
      expect(held).toBeLessThan(MAX_UNREAD_ANSWER_BYTES + 1_000);
      expect(end.hear('NAME later'), 'what was on its way waits, too').toEqual([]);
      end.isWriting = true;
      end.drained();
      expect(end.isPaused).toBe(false);
      expect(end.session.workerName).toBe('later');
      const answered = end.outputs.story.filter((line) => /^(POSITION|RELEASED|REFUSED) /.test(line)).length;
      const isSuperseded = lines.length === 2 && !lines[0].endsWith('NOW');
      if (isSuperseded) expect(answered).toBeGreaterThanOrEqual(COUNT);
      else expect(answered).toBe(COUNT * (lines[0].includes('ALL') ? 2 : lines.length));
      expect(end.isClosing).toBe(false);
    },
  );

  test.each([
    ['seed', 'REPLICATE ALL 0'],
    ['seed', 'REPLICATE events 0'],
  ])(
    '%s: %s, over and over: what waits to be judged is bounded, and the last request is answered',
    (_dialect, line) => {
      const end = opened();
      end.isJudging = false;
      end.hearBytes(times(line));
      expect(end.isPaused).toBe(true);
      expect(end.outputs.of('judge').length).toBeLessThan(2_000);
      // A log that answers later: each verdict on its own.
      for (let judged = 0; end.isPaused || judged === 0; ) {
        const requests = end.outputs.of('judge').slice(judged);
        expect(requests.length).toBeGreaterThan(0);
        for (const request of requests) end.judged({ request });
        judged += requests.length;
      }
      for (const request of end.outputs.of('judge').slice(-2_000)) end.judged({ request });
      expect(end.stateOf('events')).toBe('live');
    },
  );

  test('with a page unread: a request that only replaces another one waits as well', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isWriting = false;
    end.hear('REPLICATE events 0');
    for (let i = 0; i < COUNT && !end.isPaused; i++) end.hear('REPLICATE events 0');
    expect(end.isPaused).toBe(true);
    end.isWriting = true;
    expect(end.drained()).toEqual(['RDATA events 1 1', 'POSITION events 1']);
    expect(end.isPaused).toBe(false);
  });

  test('one that never reads the answers is cut after stalledTimeoutMs, and what it still sends is discarded', () => {
    const end = opened();
    end.isWriting = false;
    end.hear('PING 1');
    end.hearBytes(times('REPLICATE ALL NOW'));
    end.passTime(59_999);
    expect(end.isClosing, 'that it is not read is no silence of its own').toBe(false);
    expect(end.passTime(1).at(-1)).toBe('ERROR Failed to keep up');
    expect(end.isPaused).toBe(false);
    expect(end.hearBytes(times('REPLICATE ALL NOW'))).toEqual([]);
  });

  test('one that reads the answers may ask on and on', () => {
    const end = opened();
    for (let i = 0; i < 2; i++) end.hearBytes(times('REPLICATE ALL NOW'));
    expect(end.isClosing).toBe(false);
    expect(end.isPaused).toBe(false);
  });
});

describe('the end', () => {
  test('a primary that stops says ERROR server stopping, then closes', () => {
    const end = opened();
    expect(end.stop()).toEqual(['ERROR server stopping']);
    expect(end.outputs.of('close')).toEqual([{ kind: 'close', reason: undefined }]);
    expect(end.stop()).toEqual([]);
  });

  test('a session whose primary stops before it opened is closed without a word', () => {
    const end = new PrimaryEnd({ streams: new MemoryStreams('events') });
    expect(end.stop()).toEqual([]);
    expect(end.outputs.of('close')).toHaveLength(1);
    expect(end.open()).toEqual([]);
    expect(end.hear('REPLICATE events NOW')).toEqual([]);
    end.passTime(1_000);
    expect(end.outputs.of('abort')).toHaveLength(1);
  });

  test('after ERROR it reads nothing, sends nothing, flushes for 1 s, then aborts, once', () => {
    const end = opened();
    for (let i = 0; i < 3; i++) end.streams.append('events', i);
    end.isWriting = false;
    end.hear('REPLICATE events NOW', 'PING 1');
    end.stop();
    expect(end.hear('REPLICATE events 0')).toEqual([]);
    expect(end.append('events', 1)).toEqual([]);
    expect(end.drained()).toEqual([]);
    expect(end.session.nextTimeout()).toBe(end.now + defaultPrimaryLimits.flushTimeoutMs);
    expect(end.passTime(999)).toEqual([]);
    expect(end.outputs.of('abort')).toEqual([]);
    end.passTime(1);
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.session.nextTimeout()).toBeUndefined();
    end.passTime(60_000);
    end.session.handleTimeout(end.now);
    end.drain();
    expect(end.outputs.of('abort')).toHaveLength(1);
  });

  test('a page that comes while it drains is not sent', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.stop();
    expect(end.answer()).toEqual([]);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('after the connection closed nothing happens, whatever still comes in', () => {
    const end = opened();
    end.streams.append('events', 1);
    end.isReading = false;
    end.hear('REPLICATE events 0');
    end.session.handleBytes(end.now, bytesOf('REPLICATE typing NOW'));
    end.session.handleClosed();
    const told = end.outputs.all.length;
    end.answer();
    end.hear('REPLICATE events 0', 'FOO');
    end.append('events', 2);
    end.drained();
    end.stop();
    end.session.handleProgress(end.now, 0);
    end.session.handleTimeout(end.now + 1e9);
    end.drain();
    expect(end.outputs.all).toHaveLength(told);
    expect(end.session.nextTimeout()).toBeUndefined();
  });

  test('before it opened nothing is due and nothing is read', () => {
    const end = new PrimaryEnd({ streams: new MemoryStreams('events') });
    expect(end.session.nextTimeout()).toBeUndefined();
    end.session.handleTimeout(end.now);
    expect(end.hear('REPLICATE events NOW')).toEqual([]);
    expect(end.hint('events')).toEqual([]);
  });
});
