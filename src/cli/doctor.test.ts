/** `rowcast doctor` and `rowcast send`, over real sockets, within this process. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { RunningCommand, servePrimary } from '../../test/support/fake-terminal.ts';
import { freePorts } from '../../test/support/processes.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary, type Primary } from '../primary/primary.ts';

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** Says the text to whoever connects. */
async function saying(text: string, isOver = false): Promise<string> {
  return listen(
    createServer((socket) => {
      socket.on('error', () => {});
      socket.write(text);
      if (isOver) socket.end();
      else socket.resume();
    }),
  );
}

async function ask(...args: string[]): Promise<RunningCommand> {
  const command = new RunningCommand(args);
  await command.ended;
  return command;
}

const fixture = (name: string): Buffer => readFileSync(new URL(`../../test/fixtures/tls/${name}`, import.meta.url));

describe('doctor', () => {
  test('tells what a Rowcast primary is, and that all is fine', async () => {
    const { connect } = await servePrimary('--stream', 'orders', '--stream', 'stock');
    const command = await ask('doctor', '--connect', connect, '--server', 'example.com');
    expect(await command.ended).toBe(0);
    expect(command.out).toMatch(
      /^address {3}127\.0\.0\.1:\d+\nserver {4}example\.com\ndialect {3}Rowcast \(rowcast\/2\)\nlog {7}[0-9a-f]{16}, era \d+\.[0-9a-f]{8}\nin memory [0-9a-f]{16}, era \d+\.[0-9a-f]{8}\ngreeting {2}[\d.]+ ms after connecting\nanswer {4}[\d.]+ ms after REPLICATE\nstreams {3}2\n {2}orders 0\n {2}stock 0\nfine: a worker can follow it\n$/,
    );
    expect(command.err).toBe('');
  });

  test('says the same as JSON', async () => {
    const { connect } = await servePrimary('--stream', 'orders');
    const command = await ask('doctor', '--connect', connect, '--json');
    expect(JSON.parse(command.out)).toMatchObject({
      address: connect,
      isFine: true,
      problems: [],
      kind: 'primary',
      server: 'example.com',
      dialect: 'Rowcast (rowcast/2)',
      eras: {
        durable: expect.stringMatching(/^[0-9a-f]{16}\.\d+\.[0-9a-f]{8}$/),
        volatile: expect.stringMatching(/^[0-9a-f]{16}\.\d+\.[0-9a-f]{8}$/),
      },
      streams: [{ stream: 'orders', token: 0 }],
    });
  });

  test('is heard by the primary as an observer', async () => {
    const { command, connect } = await servePrimary();
    await ask('doctor', '--connect', connect);
    expect(command.err).not.toContain('ERROR');
    expect(await command.stop()).toBe(0);
  });

  test('knows a wrong server name', async () => {
    const { connect } = await servePrimary();
    const command = await ask('doctor', '--connect', connect, '--server', 'other.org');
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('the primary is called example.com, expected other.org');
  });

  test('names the dialect of a newer Synapse, and what does not work with it', async () => {
    const connect = await saying('SERVER example.com\nPING 1\nPOSITION events master 3 5\n');
    const command = await ask('doctor', '--connect', connect);
    expect(await command.ended).toBe(1);
    expect(command.out).toContain('  events 5 (written by master)\nnot fine\n');
    expect(command.err).toContain(
      'its dialect is Synapse 1.22 to 1.66: from 1.13 on a worker fetches old rows over HTTP, which Rowcast does not do',
    );
  });

  test('knows an HTTP port', async () => {
    const command = await ask('doctor', '--connect', await listen(createHttpServer(() => {})));
    expect(await command.ended).toBe(1);
    expect(command.out).toMatch(/: no primary\n$/);
    expect(command.err).toContain('an HTTP server listens there: replication has a port of its own');
  });

  test('knows a TLS port', async () => {
    const server = createTlsServer({ key: fixture('key.pem'), cert: fixture('cert.pem') });
    server.on('tlsClientError', () => {});
    const command = await ask('doctor', '--connect', await listen(server));
    expect(await command.ended).toBe(1);
    expect(command.err).toMatch(/a server that wants TLS listens there|hangs up without a word: a TLS server/);
  });

  test.skipIf(spawnSync('redis-server', ['--version']).status !== 0)(
    'knows a Redis port (where redis-server is on the PATH)',
    async () => {
      const [port] = await freePorts(1);
      const redis = spawn(
        'redis-server',
        ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
        { stdio: 'pipe' },
      );
      onTestFinished(() => void redis.kill('SIGKILL'));
      await new Promise<void>((resolve, reject) => {
        redis.once('error', reject);
        redis.stdout.on('data', (text: Buffer) => {
          if (text.includes('Ready to accept connections')) resolve();
        });
      });
      const command = await ask('doctor', '--connect', `127.0.0.1:${port}`);
      expect(await command.ended).toBe(1);
      expect(command.err).toContain(
        'a Redis server listens there: a Synapse of 1.67 or later replicates over Redis alone',
      );
    },
  );

  test.each([
    [
      'says what it heard of something that nobody knows',
      'hello \u001b[2J',
      'it does not begin with SERVER; it said: hello \\u001b[2J',
    ],
    ['knows a hang-up', '', 'hangs up without a word'],
  ])('%s', async (_what, text, expected) => {
    const command = await ask('doctor', '--connect', await saying(text, true));
    expect(await command.ended).toBe(1);
    expect(command.err).toContain(expected);
  });

  test('says that nothing listens, and that a socket file is missing', async () => {
    const [port] = await freePorts(1);
    const nothing = await ask('doctor', '--connect', `127.0.0.1:${port}`);
    expect(await nothing.ended).toBe(1);
    expect(nothing.err).toContain(
      `cannot connect to 127.0.0.1:${port}: nothing listens there (ECONNREFUSED); is the primary running?`,
    );
    const missing = await ask('doctor', '--connect', 'unix:/nonexistent/rowcast.sock', '--json');
    expect(JSON.parse(missing.out)).toMatchObject({
      isFine: false,
      problems: [{ code: 'CONNECTION_LOST', message: expect.stringContaining('there is no such socket file') }],
    });
  });

  /** Sends the same bytes again and again, as fast as they are taken. */
  async function sendingForEver(first: string, again: string): Promise<string> {
    const chunk = Buffer.from(again.repeat(Math.ceil(65_536 / again.length)));
    return listen(
      createServer((socket) => {
        const more = (): void => {
          while (!socket.destroyed && socket.write(chunk));
        };
        socket.on('error', () => {}).on('drain', more);
        socket.write(first);
        more();
      }),
    );
  }

  test.each([
    ['positions', 'SERVER example.com\nPING 1\n', 'POSITION events 5\n', 'EXAMINATION_CUT: it sent over 8 MiB'],
    ['errors', 'SERVER example.com\n', 'ERROR no\n', 'EXAMINATION_CUT: it sent over 8 MiB'],
    ['a line without an end', 'SERVER example.com\n', 'x', 'UNKNOWN_STREAM: the primary told no position'],
    ['lines of something else', '', 'tick\n', 'NOT_A_PRIMARY: something listens there that is no primary'],
    ['HTTP without an end', 'HTTP/1.1 200 OK\r\n\r\n', 'body', 'NOT_A_PRIMARY: an HTTP server listens there'],
    ['Redis without an end', '', '-ERR unknown command\r\n', 'NOT_A_PRIMARY: a Redis server listens there'],
    ['NATS without an end', 'INFO {"a":1}\r\n', 'PING\r\n', 'NOT_A_PRIMARY: a NATS server listens there'],
  ])('ends at a peer that sends %s for ever, and keeps little of it', async (_what, first, again, expected) => {
    const command = await ask('doctor', '--connect', await sendingForEver(first, again));
    expect(await command.ended).toBe(1);
    expect(command.err).toContain(expected);
    expect(command.err.length).toBeLessThan(10_000);
  });

  // SPEC B20
  test('ends by its time at a peer that goes on slowly', async () => {
    const connect = await listen(
      createServer((socket) => {
        socket.on('error', () => {});
        socket.write('SERVER example.com\nPING 1\n');
        const timer = setInterval(() => socket.write('POSITION events 5\n'), 20);
        socket.on('close', () => clearInterval(timer)).resume();
      }),
    );
    const command = await ask('doctor', '--connect', connect, '--timeout', '0.3');
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('rowcast: EXAMINATION_CUT: it was not finished within 0.3 s');
  });

  test('can be stopped while it waits', async () => {
    const command = new RunningCommand(['doctor', '--connect', await saying('')]);
    expect(await command.stop()).toBe(1);
    expect(command.out).toBe('');
  });
});

describe('send', () => {
  async function primary(): Promise<{ primary: Primary; connect: string }> {
    const made = await createPrimary({ name: 'example.com', log: memoryLog(), streams: [defineStream('events')] });
    onTestFinished(() => made.close());
    const address = (await made.listen({ host: '127.0.0.1', port: 0 })) as { port: number };
    return { primary: made, connect: `127.0.0.1:${address.port}` };
  }

  test.each([
    [
      ['USER_SYNC', '@a:b', 'start', '1490197665618'],
      { name: 'USER_SYNC', userId: '@a:b', state: 'start', lastSyncMs: 1_490_197_665_618 },
    ],
    [['INVALIDATE_CACHE', 'get_user', '["@a:b"]'], { name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: ['@a:b'] }],
    [['FEDERATION_ACK 7'], { name: 'FEDERATION_ACK', token: 7 }],
    [['SYNC', 'some', 'text'], { name: 'SYNC', text: 'some text' }],
  ])('%j reaches the primary as a worker sends it', async (words, command) => {
    const { primary: server, connect } = await primary();
    const heard = once(server, 'command');
    const sent = await ask('send', ...words, '--connect', connect);
    expect(await sent.ended).toBe(0);
    expect((await heard)[0]).toMatchObject({ command, worker: { name: 'rowcast-send' } });
    expect(sent.err).toContain('primaries do not acknowledge commands');
    expect(sent.out).toBe('');
  });

  test.each([
    [['USER_SYNC', '@a:b', 'begin', '5'], 'failed to parse line for USER_SYNC: expected start or end, not begin'],
    [['FEDERATION_ACK'], 'failed to parse line for FEDERATION_ACK: expected a token (0 to 2^53-1), not nothing'],
    [
      ['NAME', 'x'],
      'a worker sends one of USER_SYNC, FEDERATION_ACK, REMOVE_PUSHER, INVALIDATE_CACHE, USER_IP, SYNC, not NAME',
    ],
    [['FOO'], 'not FOO'],
  ])('%j is refused before anything is sent', async (words, text) => {
    const [port] = await freePorts(1);
    const sent = await ask('send', ...words, '--connect', `127.0.0.1:${port}`);
    expect(await sent.ended).toBe(2);
    expect(sent.err).toContain(text);
  });

  test('without a primary it fails, and says why', async () => {
    const [port] = await freePorts(1);
    const sent = await ask('send', 'SYNC', 'x', '--connect', `127.0.0.1:${port}`);
    expect(await sent.ended).toBe(1);
    expect(sent.err).toContain('nothing listens there');
  });

  test('to a primary of another name it sends nothing', async () => {
    const { connect } = await primary();
    const sent = await ask('send', 'SYNC', 'x', '--connect', connect, '--server', 'other.org');
    expect(await sent.ended).toBe(1);
    expect(sent.err).toContain('the primary is called example.com, expected other.org');
  });
});
