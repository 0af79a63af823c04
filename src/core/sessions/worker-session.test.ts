import { describe, expect, test } from 'vitest';
import { bytesOf, ERA, MEMORY, ROWCAST, SYNAPSE, T0, WorkerEnd } from '../../../test/support/worker-ends.ts';
import { PeerError } from '../model/errors.ts';

const GREETING = ['SERVER example.com', `PING ${ROWCAST}`] as const;
const ERAS = { durable: ERA, volatile: MEMORY, others: [] };

describe('greeting', () => {
  test('NAME and PING go out at once; the primary is known by SERVER and the first PING', () => {
    const end = new WorkerEnd();
    expect(end.open()).toEqual(['NAME reader-1', `PING ${T0} rowcast/2`]);
    end.hear('SERVER example.com');
    expect([end.outputs.of('greeted'), end.session.isEstablished]).toEqual([[], false]);
    end.hear(`PING ${ROWCAST}`);
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', eras: ERAS }]);
    expect(end.session.isEstablished).toBe(true);
  });

  test('a worker that wants the attributes of batches says so', () => {
    expect(new WorkerEnd({ wantsAttributes: true }).open()).toEqual(['NAME reader-1', `PING ${T0} rowcast/2 attr`]);
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
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', eras: undefined }]);
  });

  test('after 1 s without them it goes on under the lenient rules', () => {
    const end = new WorkerEnd();
    end.open();
    end.hear('SERVER example.com');
    end.passTime(999);
    expect(end.outputs.of('greeted')).toEqual([]);
    end.passTime(1);
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', eras: undefined }]);
    end.hear('PING 5', 'SERVER example.com');
    expect(end.outputs.of('greeted')).toHaveLength(1);
  });

  test('a Rowcast primary that was late is told, once: it must be asked on another connection', () => {
    const end = new WorkerEnd();
    end.open();
    end.passTime(1_000);
    end.hear(...GREETING);
    expect(end.outputs.of('greeted-late')).toHaveLength(1);
    end.hear('RDATA events 6 []', `PING ${ROWCAST}`);
    expect(end.takeLines()).toContain('events 6 []');
    expect(end.outputs.of('greeted-late')).toHaveLength(1);
    expect(end.outputs.of('greeted')).toHaveLength(1);
  });

  test('what a greeting must have to be one of Rowcast: eras of two logs', () => {
    for (const words of [
      'rowcast/2',
      `rowcast/2 log=${ERA}`,
      `rowcast/2 log=${ERA} mem=${ERA}`,
      `rowcast/1 log=${ERA}`,
    ]) {
      const end = new WorkerEnd();
      end.open();
      end.hear('SERVER example.com', `PING 1 ${words}`);
      expect(end.outputs.of('greeted'), words).toEqual([{ kind: 'greeted', eras: undefined }]);
    }
  });

  test('a wrong SERVER is answered by Wrong remote and a close, whenever it comes', () => {
    const end = new WorkerEnd({ serverName: 'example.com' });
    end.open();
    expect(end.hear('SERVER example.org', `PING ${ROWCAST}`)).toEqual(['ERROR Wrong remote']);
    expect(end.outputs.of('greeted')).toEqual([]);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({
      code: 'WRONG_SERVER',
      message: 'the primary is called example.org, expected example.com: check the address or the expected name',
    });
    const later = WorkerEnd.greeted({ serverName: 'example.com' });
    expect(later.hear('SERVER example.com', 'SERVER nobody')).toEqual(['ERROR Wrong remote']);
  });

  test('any SERVER will do where no name is expected', () => {
    const end = WorkerEnd.greeted();
    expect(end.hear('SERVER whoever', 'RDATA events 1 1')).toEqual([]);
    expect(end.takeLines()).toEqual(['end of run', 'events 1 1']);
  });

  test('a session opens once', () => {
    const end = new WorkerEnd();
    end.open();
    expect(() => end.open()).toThrow(/Bug in Rowcast/);
  });
});

describe('what a primary says', () => {
  test('lines about streams go to the follower, others are told, in order', () => {
    const end = WorkerEnd.greeted();
    end.hear('RDATA events batch 1', 'RDATA events 54 {"a":2}', 'SYNC x', `POSITION events 54 ${ERA}`, 'ERROR careful');
    end.hear('RDATA events 55 3', 'PING 2');
    expect(end.takeLines()).toEqual([
      'events batch 1',
      'events 54 {"a":2}',
      'end of run',
      'POSITION',
      'end of run',
      'events 55 3',
      'end of run',
    ]);
    expect(end.outputs.of('peer-error')).toEqual([{ kind: 'peer-error', text: 'careful' }]);
    expect(end.outputs.of('sync')).toEqual([{ kind: 'sync', text: 'x' }]);
  });

  test('the commands of rowcast/2 are read as such', () => {
    const end = WorkerEnd.greeted();
    end.hear(
      `HISTORY events 5 ${ERA}`,
      'ERA 8f3c1d2e4b5a6978 9.a1b2c3d4',
      'REFUSED events GAP {"earliest":7,"more":1}',
    );
    end.hear('RELEASED events', 'ATTR events 6 {"a":1}', `POSITION events 6 ${ERA}`);
    expect(end.commands).toEqual([
      { name: 'HISTORY', stream: 'events', after: 5, history: ERA },
      { name: 'ERA', era: '8f3c1d2e4b5a6978.9.a1b2c3d4' },
      { name: 'REFUSED', stream: 'events', code: 'GAP', facts: { earliest: 7 } },
      { name: 'RELEASED', stream: 'events' },
      { name: 'ATTR', stream: 'events', token: 6, attributes: { a: 1 } },
      { name: 'POSITION', stream: 'events', token: 6, history: ERA },
    ]);
    expect(end.outputs.of('close')).toEqual([]);
  });

  test.each([
    'HISTORY events 5',
    'ERA 8f3c1d2e4b5a6978',
    'REFUSED events GAP {}',
    'RELEASED events',
    'ATTR events 6 {}',
  ])('of any other primary they are unknown, and so they are before it greeted: %s', (line) => {
    const [name] = line.split(' ');
    expect(WorkerEnd.greeted({}, SYNAPSE).hear(line)).toEqual([`ERROR invalid command: ${name}`]);
    const early = new WorkerEnd();
    early.open();
    expect(early.hear('SERVER example.com', line)).toEqual([`ERROR invalid command: ${name}`]);
  });

  test('a negative token is 0 to the seed, and none in rowcast/2', () => {
    const lenient = WorkerEnd.greeted({}, SYNAPSE);
    expect(lenient.hear('RDATA events -1 1', 'POSITION events -1')).toEqual([]);
    expect(lenient.takeLines()).toEqual(['events 0 1', 'POSITION']);
    for (const line of ['RDATA events -1 1', `POSITION events -1 ${ERA}`]) {
      expect(WorkerEnd.greeted().hear(line)).toEqual([expect.stringMatching(/^ERROR failed to parse line for/)]);
    }
  });

  test.each([
    ['REPLICATE events 5', 'invalid command: REPLICATE'],
    ['NAME x', 'invalid command: NAME'],
    ['RELEASE events', 'invalid command: RELEASE'],
    ['APPLIED events 5 5', 'invalid command: APPLIED'],
    ['RDATA', 'failed to parse line for RDATA: expected <stream> <token|batch> <row_json>'],
    ['RDATA  5 []', 'failed to parse line for RDATA: a stream name is empty'],
    [`POSITION events x ${ERA}`, 'failed to parse line for POSITION: expected a token (0 to 2^53-1), not x'],
    ['POSITION events 5', 'failed to parse line for POSITION: expected <stream> <token> <history>, not events 5'],
  ])('%s is answered by ERROR and a close; what follows is not read', (line, text) => {
    const end = WorkerEnd.greeted();
    expect(end.hear('RDATA events 2 []', line, 'RDATA events 3 []', 'FOO')).toEqual([`ERROR ${text}`]);
    expect(end.hear('RDATA events 4 []')).toEqual([]);
    expect(end.takeLines()).toEqual(['events 2 []']);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('so is what the follower refuses', () => {
    const end = WorkerEnd.greeted();
    end.takeRow = () => {
      throw new PeerError('TOKEN_FELL', 'stream events went from token 2 to 1');
    };
    expect(end.hear('RDATA events 1 []')).toEqual(['ERROR stream events went from token 2 to 1']);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'TOKEN_FELL' });
  });

  test('a bug of our own is not blamed on the primary', () => {
    const end = WorkerEnd.greeted();
    end.takeRow = () => {
      throw new TypeError('undefined is not a function');
    };
    expect(() => end.hear('RDATA events 1 []')).toThrow(TypeError);
  });

  test('an observer tells the primary nothing of it', () => {
    const end = WorkerEnd.greeted({ isObserver: true });
    expect(end.hear('FOO')).toEqual([]);
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({ code: 'UNKNOWN_COMMAND' });
  });

  test('a fault is answered in its place: the rows before it count', () => {
    const end = WorkerEnd.greeted();
    expect(
      end.hearBytes(
        Buffer.concat([bytesOf('RDATA events 1 1'), Buffer.from([0xff, 0x0a]), bytesOf('RDATA events 2 2')]),
      ),
    ).toEqual(['ERROR invalid UTF-8']);
    expect(end.takeLines()).toEqual(['events 1 1']);
  });

  test('no text of a peer makes an answer that cannot be sent', () => {
    for (let length = 80; length < 105; length++) {
      const lines = [
        `${'x'.repeat(length)}😀😀`,
        `RDATA events ${'1'.repeat(length)}😀😀 []`,
        `REFUSED events ${'x'.repeat(length)}😀😀 {}`,
        `POSITION events 1 ${'x'.repeat(length)}😀😀`,
      ];
      for (const line of lines) expect(WorkerEnd.greeted().hear(line)).toEqual([expect.stringMatching(/^ERROR /)]);
    }
  });

  test('each line says where it stands in the text that came, which its length is taken from', () => {
    const end = WorkerEnd.greeted({ wantsAttributes: true });
    const lengths: number[] = [];
    end.takeRow = (_stream, _token, _row, line?: { start: number; end: number }) => {
      lengths.push(line!.end - line!.start);
    };
    end.hear('RDATA events batch 1', `RDATA events 1 "${'x'.repeat(1_000)}"`);
    expect(lengths).toEqual(['RDATA events batch 1'.length, 'RDATA events 1 ""'.length + 1_000]);
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
    expect(end.outputs.of('close')[0]?.reason).toMatchObject({
      code: 'IDLE_TIMEOUT',
      message: 'nothing came from the primary for 15000 ms: the network, its process or its disk holds it up',
    });
    const greeted = WorkerEnd.greeted();
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
    const end = WorkerEnd.greeted();
    end.session.handlePaused();
    end.hear('RDATA events 1 1');
    expect(end.takeLines()).toEqual([]);
    const lines = end.passTime(60_000);
    expect(lines).toHaveLength(12);
    expect(lines.every((line) => line.startsWith('PING '))).toBe(true);
    end.session.handleResumed(end.now);
    end.drain();
    expect(end.takeLines()).toEqual(['events 1 1']);
    end.passTime(14_999);
    expect(end.outputs.of('close')).toEqual([]);
    end.passTime(1);
    expect(end.outputs.of('close')).toHaveLength(1);
  });

  test('a follower that takes no more lines in the middle of a chunk is given nothing of the rest', () => {
    const end = WorkerEnd.greeted();
    end.session.handleBytes(end.now, bytesOf('RDATA events 1 1', 'RDATA events 2 2'));
    expect([end.session.takeLine(), end.takeLines()]).toEqual([true, ['events 1 1']]);
    end.session.handlePaused();
    expect([end.session.takeLine(), end.takeLines()]).toEqual([false, []]);
    end.session.handleResumed(end.now);
    expect([end.session.takeLine(), end.takeLines()]).toEqual([true, ['events 2 2']]);
    expect(end.session.takeLine()).toBe(false);
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
    expect(end.outputs.of('greeted')).toEqual([{ kind: 'greeted', eras: ERAS }]);
  });

  test('a fault found after a long pause still has its time to be told', () => {
    const end = WorkerEnd.greeted();
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
    const end = WorkerEnd.greeted();
    end.session.handleStop(end.now);
    expect(end.drain()).toEqual([]);
    expect(end.session.isEstablished).toBe(false);
    expect(end.outputs.of('close')).toEqual([{ kind: 'close', reason: undefined }]);
    end.hear('RDATA events 1 1');
    end.session.handleSend(end.now, { name: 'REPLICATE', stream: 'typing', from: 'NOW', history: undefined });
    end.session.handleSendLine(end.now, 'FEDERATION_ACK 1');
    end.session.handleStop(end.now);
    expect(end.passTime(999)).toEqual([]);
    expect(end.outputs.of('abort')).toEqual([]);
    end.passTime(60_000);
    end.session.handleTimeout(end.now);
    end.drain();
    expect(end.takeLines()).toEqual([]);
    expect(end.outputs.of('abort')).toHaveLength(1);
    expect(end.outputs.of('close')).toHaveLength(1);
    expect(end.session.nextTimeout()).toBeUndefined();
  });

  test('what came and was not taken is dropped when the connection closes', () => {
    const end = WorkerEnd.greeted();
    end.session.handleBytes(end.now, bytesOf('RDATA events 1 1', 'RDATA events batch 2'));
    end.session.handleClosed();
    end.session.handleBytes(end.now, bytesOf('RDATA events 2 2'));
    end.session.handleTimeout(end.now + 1e9);
    end.drain();
    expect(end.takeLines()).toEqual([]);
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
