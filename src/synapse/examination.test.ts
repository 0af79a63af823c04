import { describe, expect, test } from 'vitest';
import { readCapture } from '../../test/support/captures.ts';
import { Examination, type Finding } from './examination.ts';

const DURABLE = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
const VOLATILE = '0123456789abcdef.1764281400.00ff00ff';
const T0 = 1_490_197_665_618;

/** Drives one; what it sends is kept. */
class Bench {
  readonly examination = new Examination({ workerName: 'doctor', address: '127.0.0.1:9092', timeoutMs: 15_000 });
  readonly sent: string[] = [];
  finding: Finding | undefined;
  error: Error | undefined;
  now = T0;

  constructor(isOpen = true) {
    this.examination.handleStart(this.now);
    if (isOpen) this.examination.handleOpen(this.now);
    this.#drain();
  }

  hear(text: string | Buffer): this {
    this.examination.handleBytes(this.now, Buffer.from(text));
    this.#drain();
    return this;
  }

  wait(ms: number): this {
    this.now += ms;
    this.examination.handleTimeout(this.now);
    this.#drain();
    return this;
  }

  close(error?: Error): this {
    this.examination.handleClosed(this.now, error);
    this.#drain();
    return this;
  }

  #drain(): void {
    for (let output = this.examination.pollOutput(); output !== undefined; output = this.examination.pollOutput()) {
      if (output.kind === 'transmit') this.sent.push(...output.text.split('\n').slice(0, -1));
      else {
        if (this.finding !== undefined || this.error !== undefined) throw new Error('it ends twice');
        if (output.kind === 'over') this.finding = output.finding;
        else this.error = output.error;
      }
    }
  }
}

test('a Rowcast primary is known by its greeting, and asked until no stream tells its position any more', () => {
  const bench = new Bench();
  expect(bench.sent).toEqual(['NAME doctor', `PING ${T0}`]);
  bench.now += 2;
  bench.hear(`SERVER example.com\nPING 1 rowcast/2 log=${DURABLE} mem=${VOLATILE}\n`);
  expect(bench.sent.slice(2)).toEqual(['REPLICATE ALL NOW']);
  bench.now += 3;
  bench.hear('POSITION events 53\n').wait(499).hear('POSITION typing 2\n').wait(499);
  expect(bench.finding).toBeUndefined();
  bench.wait(1);
  expect(bench.finding).toMatchObject({
    kind: 'primary',
    serverName: 'example.com',
    eras: { durable: DURABLE, volatile: VOLATILE },
    dialect: { name: 'Rowcast (rowcast/2)', isSupported: true },
    positions: [
      { stream: 'events', instance: undefined, token: 53 },
      { stream: 'typing', instance: undefined, token: 2 },
    ],
    greetingMs: 2,
    answerMs: 3,
    errors: [],
  });
});

test.each([
  ['POSITION events 53\n', 'Synapse 1.3 to 1.12', true, undefined, 53],
  ['POSITION events master 53\n', 'Synapse 1.13 to 1.21', false, 'master', 53],
  ['POSITION events master 50 53\n', 'Synapse 1.22 to 1.66', false, 'master', 53],
  ['POSITION events a b c 53\n', 'not known: its POSITION has 5 arguments', false, 'a', 53],
])('%j is of %s', (line, name, isSupported, instance, token) => {
  const { finding } = new Bench().hear('SERVER example.com\nPING 1\n').hear(line).wait(500);
  expect(finding!.dialect!.name).toContain(name);
  expect(finding).toMatchObject({
    kind: 'primary',
    dialect: { isSupported },
    positions: [{ stream: 'events', instance, token }],
  });
});

test('the recorded Synapse 1.4.0 is recognised, with all its streams', () => {
  const { lines } = readCapture('live_all_now');
  const { finding } = new Bench().hear(`${lines.primary.join('\n')}\n`).wait(500);
  expect(finding).toMatchObject({ kind: 'primary', serverName: 'localhost:8823', dialect: { isSupported: true } });
  expect(finding!.positions).toHaveLength(15);
});

test('a position that comes before it is asked is no answer', () => {
  const bench = new Bench().hear('SERVER example.com\nPOSITION events 53\n');
  expect(bench.wait(1_000).finding).toBeUndefined();
  bench.now += 7;
  expect(bench.hear('POSITION typing 2\n').wait(500).finding).toMatchObject({ kind: 'primary', answerMs: 7 });
});

test('a primary that does not PING is asked a second later, and one that answers nothing is told as such', () => {
  const bench = new Bench().hear('SERVER example.com\n');
  expect(bench.sent).toHaveLength(2);
  expect(bench.wait(1_000).sent.at(-1)).toBe('REPLICATE ALL NOW');
  expect(bench.wait(2_000).finding).toMatchObject({
    kind: 'primary',
    positions: [],
    answerMs: undefined,
    dialect: { name: 'not known: it has told no position' },
  });
});

test('what a primary says by ERROR is kept, also when it closes then', () => {
  const { finding } = new Bench().hear('SERVER example.com\nPING 1\nERROR server shutting down\n').close();
  expect(finding).toMatchObject({ kind: 'primary', errors: ['ERROR server shutting down'] });
});

test.each(['POSITION events abc', 'POSITION', 'POSITION events'])(
  '%s is no position, and is told as an error',
  (line) => {
    const { finding } = new Bench().hear('SERVER example.com\nPING 1\n').hear(`${line}\n`).wait(2_000);
    expect(finding).toMatchObject({ kind: 'primary', positions: [], errors: [expect.stringMatching(/^POSITION/)] });
  },
);

describe('what is no primary is known by what it says first:', () => {
  test.each([
    ['http', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['http', '<!DOCTYPE HTML>\n<html>'],
    ['tls', Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28])],
    ['redis', "-ERR unknown command 'NAME'\r\n"],
    ['redis', '-NOAUTH Authentication required.\r\n'],
    ['nats', 'INFO {"server_id":"x"}\r\n'],
    ['ssh', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['mail', '220 mx.example.com ESMTP\r\n'],
  ] as const)('%s', (kind, bytes) => {
    expect(new Bench().hear(bytes as Buffer).finding).toMatchObject({ kind });
  });

  test('nothing at all, a hang-up, and something that nobody knows', () => {
    expect(new Bench().wait(2_000).finding).toMatchObject({ kind: 'silent' });
    expect(new Bench().close().finding).toMatchObject({ kind: 'closed' });
    expect(new Bench().hear('hello\n').close().finding).toMatchObject({ kind: 'unknown', said: 'hello\n' });
    expect(new Bench().hear('hello').wait(2_000).finding).toMatchObject({ kind: 'unknown' });
    expect(new Bench().hear(Buffer.from([0xff, 0xfe, 0x0a])).finding).toMatchObject({ kind: 'unknown' });
  });
});

test('without a connection it tells why, and that nobody answered after five seconds', () => {
  const refused = new Error('nothing listens there');
  expect(new Bench(false).close(refused).error).toBe(refused);
  expect(new Bench(false).close().error).toHaveProperty('message', '127.0.0.1:9092 ended the connection');
  const bench = new Bench(false).wait(4_999);
  expect([bench.error, bench.sent]).toEqual([undefined, []]);
  expect(bench.wait(1).error).toMatchObject({
    name: 'ConnectionError',
    message: 'cannot connect to 127.0.0.1:9092: nobody answered within 5 s; check the address and the firewalls',
  });
});

test('it is an observer: whatever comes, it sends NAME, PING and REPLICATE', () => {
  const bench = new Bench()
    .hear('SERVER example.com\nPING 1\nRDATA events 1 [\nFOO\nERROR x\nPOSITION a 1\n')
    .wait(10_000);
  for (const line of bench.sent) expect(line).toMatch(/^(NAME|PING|REPLICATE) /);
  expect(bench.finding).toMatchObject({ kind: 'primary' });
});
