import { describe, expect, test } from 'vitest';
import { bytesOf, T0, WorkerEnd } from '../../../test/support/session-ends.ts';

const GREETING = ['SERVER example.com', 'PING 1 rowcast/1 log=abc'] as const;

describe('greeting', () => {
  test('NAME and PING go out at once, REPLICATE waits for SERVER and the first PING', () => {
    const end = new WorkerEnd();
    expect(end.open()).toEqual(['NAME reader-1', `PING ${T0} rowcast/1`]);
    end.session.handleSubscribe(end.now, 'events', 5);
    expect(end.drain()).toEqual([]);
    end.hear('SERVER example.com');
    expect(end.outputs.of('greeted')).toEqual([]);
    end.hear('PING 1 rowcast/1 log=abc');
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', greeting: { logId: 'abc' } }]);
    end.session.handleSubscribe(end.now, 'events', 5);
    expect(end.drain()).toEqual(['REPLICATE events 5']);
  });

  test('SERVER and PING may come in any order', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear(...GREETING.toReversed());
    expect(end.outputs.of('greeted')).toHaveLength(1);
  });

  test('a primary that is not Rowcast is known by its PING', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear('SERVER example.com', 'PING 1490197665618');
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', greeting: undefined }]);
  });

  test('after 1 s without them it goes on under the lenient rules', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear('SERVER example.com');
    end.passTime(999);
    expect(end.outputs.of('greeted')).toEqual([]);
    end.passTime(1);
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', greeting: undefined }]);
    end.hear('PING 5', 'SERVER example.com');
    expect(end.outputs.of('greeted')).toHaveLength(1);
  });

  test('a Rowcast primary that was late is still known as one: what was asked for comes under its rules', () => {
    const end = new WorkerEnd();
    end.open();
    end.passTime(1_000);
    end.session.handleSubscribe(end.now, 'events', 5);
    end.hear(...GREETING);
    expect(end.outputs.of('greeted').at(-1)).toEqual({ kind: 'greeted', greeting: { logId: 'abc' } });
    end.hear('RDATA events 6 []', 'PING 2 rowcast/1 log=other');
    expect(end.takeRows()).toEqual(['events 6 [[]] @6']);
    expect(end.outputs.of('greeted')).toHaveLength(2);
  });

  test('a wrong SERVER is answered by Wrong remote and a close, whenever it comes', () => {
    const end = new WorkerEnd({ serverName: 'example.com' });
    end.open();
    expect(end.hear('SERVER example.org', 'PING 1 rowcast/1 log=abc')).toEqual(['ERROR Wrong remote']);
    expect(end.outputs.of('greeted')).toEqual([]);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({
      code: 'WRONG_SERVER',
      message: 'the primary is called example.org, expected example.com: check the address or the expected name',
    });
    const later = WorkerEnd.following({}, { serverName: 'example.com' });
    expect(later.hear('SERVER example.com', 'SERVER nobody')).toEqual(['ERROR Wrong remote']);
  });

  test('any SERVER will do where no name is expected', () => {
    const end = WorkerEnd.following({ events: 0 });
    expect(end.hear('SERVER whoever', 'RDATA events 1 1')).toEqual([]);
    expect(end.takeRows()).toEqual(['events 1 [1] @1']);
  });

  test('rows that come before anything was asked for are ignored', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear('RDATA events 1 []', 'POSITION events 1', ...GREETING, 'RDATA events 2 []');
    expect(end.takeRows()).toEqual([]);
  });

  test('a session opens once', () => {
    const end = new WorkerEnd();
    end.open();
    expect(() => end.open()).toThrow(/Bug in Rowcast/);
  });
});

describe('what a primary says', () => {
  test('rows, positions, ERROR and SYNC are told in order', () => {
    const end = WorkerEnd.following({ events: 53 });
    end.hear(
      'RDATA events batch 1',
      'RDATA events 54 2',
      'SYNC x',
      'POSITION events 54',
      'ERROR careful',
      'RDATA events 55 3',
    );
    expect(end.outputs.story.slice(-5)).toEqual(['batch', 'sync', 'position', 'peer-error', 'batch']);
    expect(end.takeRows()).toEqual(['events 54 [1,2] @54', 'events @54 live', 'events 55 [3] @55']);
    expect(end.outputs.of('peer-error')).toEqual([{ kind: 'peer-error', text: 'careful' }]);
    expect(end.outputs.of('sync')).toEqual([{ kind: 'sync', text: 'x' }]);
  });

  test('the size of a batch is about that of its lines', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.hear(`RDATA events batch "${'x'.repeat(1_000)}"`, `RDATA events 1 "${'x'.repeat(1_000)}"`);
    expect(end.outputs.of('batch')[0]!.bytes).toBeGreaterThan(2_000);
    expect(end.outputs.of('batch')[0]!.bytes).toBeLessThan(2_100);
  });

  test.each([
    ['REPLICATE events 5', 'invalid command: REPLICATE'],
    ['NAME x', 'invalid command: NAME'],
    ['RDATA', 'failed to parse line for RDATA: expected <stream> <token|batch> <row_json>'],
    ['RDATA  5 []', 'failed to parse line for RDATA: a stream name is empty'],
    ['POSITION events x', 'failed to parse line for POSITION: expected a token (0 to 2^53-1), not x'],
    ['RDATA events 1 []', 'stream events went from token 2 to 1, expected a higher one'],
  ])('%s is answered by ERROR and a close; what follows is not read', (line, text) => {
    const end = WorkerEnd.following({ events: 0 });
    expect(end.hear('RDATA events 2 []', line, 'RDATA events 3 []', 'FOO')).toEqual([`ERROR ${text}`]);
    expect(end.hear('RDATA events 4 []')).toEqual([]);
    expect(end.takeRows()).toEqual(['events 2 [[]] @2']);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('a fault is answered in its place: the rows before it count', () => {
    const end = WorkerEnd.following({ events: 0 });
    expect(
      end.hearBytes(
        Buffer.concat([bytesOf('RDATA events 1 1'), Buffer.from([0xff, 0x0a]), bytesOf('RDATA events 2 2')]),
      ),
    ).toEqual(['ERROR invalid UTF-8']);
    expect(end.takeRows()).toEqual(['events 1 [1] @1']);
  });

  test('a batch over maxBatchBytes is answered', () => {
    const end = WorkerEnd.following({ events: 0 }, { limits: { maxBatchBytes: 50 } });
    expect(end.hear(`RDATA events batch "${'x'.repeat(50)}"`)).toEqual([
      'ERROR a batch of stream events is over 50 bytes',
    ]);
  });

  test('no text of a peer makes an answer that cannot be sent', () => {
    for (let length = 80; length < 105; length++) {
      const lines = [
        `${'x'.repeat(length)}😀😀`,
        `RDATA events 1 "${'x'.repeat(length)}😀😀`,
        `RDATA events ${'1'.repeat(length)}😀😀 []`,
      ];
      for (const line of lines)
        expect(WorkerEnd.following({ events: 0 }).hear(line)).toEqual([expect.stringMatching(/^ERROR /)]);
    }
  });
});

describe('lenient rules', () => {
  test('hold toward a primary that does not say rowcast/1', () => {
    const end = WorkerEnd.following({ backfill: 'NOW' }, {}, '1490197665618');
    end.hear('POSITION backfill 45');
    end.hear('RDATA backfill 67 1', 'RDATA backfill 46 2');
    end.hear('RDATA backfill 47 3');
    expect(end.takeRows()).toEqual(['backfill @45 live', 'backfill 67 [1]', 'backfill 46 [2]', 'backfill 47 [3]']);
    end.hear('PING 1');
    expect(end.takeRows()).toEqual(['backfill @67']);
  });

  test('a position moves when a whole line comes that is no row of the stream, however the bytes were cut', () => {
    const end = WorkerEnd.following({ events: 'NOW', typing: 'NOW' }, {}, '1');
    end.hear('POSITION events 1', 'POSITION typing 1');
    end.takeRows();
    end.hearBytes(Buffer.from('RDATA events 2 1\nRDATA ev'));
    end.hearBytes(Buffer.from('ents 3 1\nRDATA typing 2'));
    expect(end.takeRows()).toEqual(['events 2 [1]', 'events 3 [1]']);
    end.hearBytes(Buffer.from(' 1\n'));
    expect(end.takeRows()).toEqual(['events @3', 'typing 2 [1]']);
  });

  test('ALL is followed under them, also of a Rowcast primary that does not name its streams', () => {
    const end = WorkerEnd.following({});
    end.session.handleSubscribeAll(end.now, 'NOW');
    expect(end.drain()).toEqual(['REPLICATE ALL NOW']);
    end.hear('POSITION events 5', 'POSITION typing 2', 'RDATA events 6 1', 'PING 1');
    expect(end.takeRows()).toEqual(['events @5 live', 'typing @2 live', 'events 6 [1]', 'events @6']);
  });
});

describe('keep-alive', () => {
  test('PING goes out whenever nothing was sent for 5 s', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear('SERVER example.com', 'PING 1');
    expect(end.passTime(4_999)).toEqual([]);
    expect(end.passTime(1)).toEqual([`PING ${T0 + 5_000}`]);
  });

  test('a primary that says nothing for 15 s is given up, also one that never said anything', () => {
    const end = new WorkerEnd();
    end.open();
    expect(end.passTime(14_999).filter((line) => line.startsWith('ERROR'))).toEqual([]);
    expect(end.passTime(1)).toEqual(['ERROR ping timeout']);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'IDLE_TIMEOUT' });
    const greeted = WorkerEnd.following({ events: 0 });
    greeted.passTime(10_000);
    greeted.hear('RDATA events 1 1');
    greeted.passTime(14_999);
    expect(greeted.outputs.of('close')).toEqual([]);
    greeted.passTime(1);
    expect(greeted.outputs.of('close')).toHaveLength(1);
  });
});

describe('back-pressure', () => {
  test('while it is paused no line is taken, PING goes on, and the silence is not held against the primary', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.session.handlePaused();
    end.hear('RDATA events 1 1');
    expect(end.takeRows()).toEqual([]);
    const lines = end.passTime(60_000);
    expect(lines).toHaveLength(12);
    expect(lines.every((line) => line.startsWith('PING '))).toBe(true);
    end.session.handleResumed(end.now);
    end.drain();
    expect(end.takeRows()).toEqual(['events 1 [1] @1']);
    end.passTime(14_999);
    expect(end.outputs.of('close')).toEqual([]);
    end.passTime(1);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('whoever stops polling in the middle of a chunk is given nothing of the rest', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.session.handleBytes(end.now, bytesOf('RDATA events 1 1', 'RDATA events 2 2'));
    expect(end.session.pollOutput()?.kind).toBe('batch');
    end.session.handlePaused();
    expect(end.session.pollOutput()).toBeUndefined();
    end.session.handleResumed(end.now);
    expect(end.session.pollOutput()).toMatchObject({ kind: 'batch', token: 2 });
  });

  test('a greeting that waits because of a pause is not late', () => {
    const end = new WorkerEnd();
    end.open();
    end.session.handlePaused();
    end.hear(...GREETING);
    end.passTime(20_000);
    expect(end.outputs.of('greeted')).toEqual([]);
    end.session.handleResumed(end.now);
    end.drain();
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', greeting: { logId: 'abc' } }]);
  });

  test('a fault found after a long pause still has its time to be told', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.session.handlePaused();
    end.hear('FOO');
    end.now += 4_000;
    end.session.handleResumed(end.now);
    expect(end.drain()).toEqual(['ERROR invalid command: FOO']);
    expect(end.session.nextTimeout()).toBe(end.now + 1_000);
  });

  test('pausing before it opened harms nobody', () => {
    const end = new WorkerEnd();
    end.session.handlePaused();
    end.session.handleResumed(end.now);
    expect(end.open()).toHaveLength(2);
  });
});

describe('the end', () => {
  test('a session that is stopped closes in good order and aborts after 1 s', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.session.handleStop(end.now);
    expect(end.drain()).toEqual([]);
    expect(end.session.isEstablished).toBe(false);
    expect(end.outputs.of('close')).toEqual([{ kind: 'close', reason: undefined }]);
    end.hear('RDATA events 1 1');
    end.session.handleSubscribe(end.now, 'typing', 0);
    end.session.handleSubscribeAll(end.now, 0);
    end.session.handleSendLine(end.now, 'FEDERATION_ACK 1');
    end.session.handleStop(end.now);
    expect(end.passTime(999)).toEqual([]);
    expect(end.outputs.of('abort')).toEqual([]);
    end.passTime(60_000);
    end.session.handleTimeout(end.now);
    end.drain();
    expect(end.takeRows()).toEqual([]);
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.outputs.of('close')).toHaveLength(1);
    expect(end.session.nextTimeout()).toBeUndefined();
  });

  test('what came and was not polled is dropped when the connection closes', () => {
    const end = WorkerEnd.following({ events: 0 });
    end.session.handleBytes(end.now, bytesOf('RDATA events 1 1', 'RDATA events batch 2'));
    end.session.handleClosed();
    end.session.handleBytes(end.now, bytesOf('RDATA events 2 2'));
    end.session.handleTimeout(end.now + 1e9);
    end.drain();
    expect(end.takeRows()).toEqual([]);
    expect(end.session.nextTimeout()).toBeUndefined();
  });

  test('before it opened nothing is due and nothing is read', () => {
    const end = new WorkerEnd();
    expect(end.session.nextTimeout()).toBeUndefined();
    end.session.handleTimeout(end.now);
    end.session.handleStop(end.now);
    expect(end.hear('SERVER x')).toEqual([]);
  });
});
