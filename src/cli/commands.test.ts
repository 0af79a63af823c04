/** The commands together, over real sockets, within this process. */

import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { RunningCommand, servePrimary } from '../../test/support/fake-terminal.ts';
import { Netcat } from '../../test/support/netcat.ts';
import { defineStreams } from '../core/model/declarations.ts';
import { defineStream } from '../core/model/stream.ts';
import { memoryLog } from '../log/memory.ts';
import { createPrimary } from '../primary/primary.ts';
import { tcpTransport } from '../transport/tcp.ts';
import { parseHostAndPort } from './addresses.ts';

const folder = mkdtempSync(join(tmpdir(), 'rowcast-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What `append` prints. */
function positionText(token: number): RegExp {
  return new RegExp(`^events=${token}@[0-9a-f]{16}\\.\\d+\\.[0-9a-f]{8}\\n$`);
}

async function append(admin: string, rows: string, ...options: string[]): Promise<RunningCommand> {
  const command = new RunningCommand(['append', 'events', '--admin', admin, ...options]);
  command.stdin.end(rows);
  await command.ended;
  return command;
}

/** Something that listens on a port and is no primary. */
async function listenOn(handleText: (write: (text: string) => void) => void): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    handleText((text) => void socket.end(text));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

describe('serve', () => {
  test('says where it listens, where the log is, and what to try next in lines that can be copied', async () => {
    const { command, connect, admin } = await servePrimary();
    const [host, port] = connect.split(':');
    await command.saw(/\| nc /);
    expect(command.out).toBe('');
    expect(command.err).toContain(
      `primary example.com listens at ${connect} with 14 streams: events, backfill, presence, typing, `,
    );
    expect(command.err).toContain('its log is in memory');
    expect(command.err).toContain(`\n  npx rowcast follow events --from start --connect ${connect}\n`);
    expect(command.err).toContain(`\n  echo '{"hello":"world"}' | npx rowcast append events --admin ${admin}\n`);
    expect(command.err).toContain(`\n  (echo 'REPLICATE events 0'; cat) | nc ${host} ${port}\n`);
    expect(await command.stop()).toBe(0);
  });

  test('lets uploads take as much memory as it is told', async () => {
    const { admin } = await servePrimary('--stream', 'events', '--upload-bytes', '4194304');
    const rows = `"${'x'.repeat(500_000)}"\n`.repeat(10);
    const refused = await append(admin, rows, '--batch', '10');
    expect(refused.err).toContain('BATCH_TOO_LARGE: the batch does not fit');
    expect((await append(admin, rows)).out).toMatch(positionText(10));
    const small = new RunningCommand(['serve', '--upload-bytes', '5', '--log', 'memory:']);
    expect(await small.ended).toBe(2);
  });

  test('offers the streams that it is told, and no other', async () => {
    const { command } = await servePrimary('--stream', 'orders', '--stream', 'a/b');
    expect(command.err).toContain('with 2 streams: orders, a/b\n');
  });

  test('says once that its log has failed', async () => {
    const path = join(folder, 'gone', 'rowcast.db');
    const { command } = await servePrimary('--stream', 'orders', '--log', `sqlite:${path}`);
    expect(command.err).toContain('with 1 stream: orders\n');
    rmSync(path);
    await command.saw(/its log .*rowcast\.db has failed: it takes no rows until .* is started again/);
    expect(await command.stop()).toBe(0);
    expect(command.err.match(/has failed/g)).toHaveLength(1);
  });

  test('makes the streams of a pattern when rows are appended to them', async () => {
    const { command, admin } = await servePrimary('--stream', 'room:*', '--stream', 'users');
    await command.saw(/\| nc /);
    expect(command.err).toContain('with streams room:*, users\n');
    expect(command.err).toContain('  echo \'{"hello":"world"}\' | npx rowcast append room:1 --admin');
    const appended = new RunningCommand(['append', 'room:42', '--admin', admin]);
    appended.stdin.end('1\n');
    expect(await appended.ended).toBe(0);
    const table = new RunningCommand(['status', '--admin', admin]);
    expect(await table.ended).toBe(0);
    expect(table.out).toContain('\nstreams are made by their first row: room:*\n');
    expect(table.out).toMatch(/^room:42 +1 +1$/m);
    expect(table.out).toMatch(/^users +- +0$/m);
  });

  test.each([['room:**'], ['$room*'], ['a b*']])('refuses the pattern %s', async (pattern) => {
    const command = new RunningCommand(['serve', '--stream', pattern, '--log', 'memory:']);
    expect(await command.ended).toBe(2);
    expect(command.err).toContain('pattern ');
  });

  test('listens at several addresses, and makes the directory of its log', async () => {
    const path = join(folder, 'made', 'for it', 'rowcast.db');
    const { command, admin } = await servePrimary(
      '--listen',
      `unix:${join(folder, 's.sock')}`,
      '--log',
      `sqlite:${path}`,
    );
    expect(command.err).toMatch(/listens at 127\.0\.0\.1:\d+, unix:.*s\.sock with/);
    expect((await append(admin, '1\n')).out).toMatch(positionText(1));
    expect(await command.stop()).toBe(0);
    // Starting it again keeps every row.
    const again = await servePrimary('--log', `sqlite:${path}`);
    expect((await append(again.admin, '2\n')).out).toMatch(positionText(2));
  });

  test('a port in use, of either listener, is one clear line and exit code 1', async () => {
    const { connect, admin } = await servePrimary();
    for (const options of [
      ['--listen', connect, '--admin', 'none'],
      ['--listen', '127.0.0.1:0', '--admin', admin],
    ]) {
      const second = new RunningCommand(['serve', '--log', 'memory:', ...options]);
      expect(await second.ended).toBe(1);
      expect(second.err).toMatch(
        /^rowcast: ADDRESS_IN_USE: cannot listen .*:\d+: something listens there already \(EADDRINUSE\); .*\n$/,
      );
    }
  });

  test('a log that is locked or damaged, or whose directory cannot be, is one clear line and exit code 1', async () => {
    const path = join(folder, 'taken.db');
    const damaged = join(folder, 'damaged.db');
    writeFileSync(damaged, 'this is no database, whatever its name says'.repeat(100));
    await servePrimary('--log', `sqlite:${path}`);
    for (const log of [path, damaged, join(damaged, 'below-a-file', 'rowcast.db')]) {
      const second = new RunningCommand([
        'serve',
        '--listen',
        '127.0.0.1:0',
        '--admin',
        'none',
        '--log',
        `sqlite:${log}`,
      ]);
      expect(await second.ended).toBe(1);
      expect(second.err).toMatch(/^rowcast: LOG_[A-Z]+: [^\n]+\n$/);
      expect(second.err).toContain(log);
    }
  });

  test('off loopback it says which option allows that, and exits with 2', async () => {
    const command = new RunningCommand(['serve', '--listen', '0.0.0.0:0', '--admin', 'none', '--log', 'memory:']);
    expect(await command.ended).toBe(2);
    expect(command.err).toContain('--allow-plaintext');
    const allowed = new RunningCommand([
      'serve',
      '--listen',
      '0.0.0.0:0',
      '--admin',
      'none',
      '--log',
      'memory:',
      '--allow-plaintext',
    ]);
    await allowed.saw(/listens at 0\.0\.0\.0:\d+/);
    expect(await allowed.stop()).toBe(0);
  });

  test('the admin port is refused off loopback with exit code 2', async () => {
    const command = new RunningCommand([
      'serve',
      '--listen',
      '127.0.0.1:0',
      '--admin',
      '0.0.0.0:0',
      '--log',
      'memory:',
    ]);
    expect(await command.ended).toBe(2);
    expect(command.err).toContain('loopback only');
  });

  test('--synapse refuses a row that a Synapse worker could not read', async () => {
    const { admin } = await servePrimary('--synapse');
    const refused = await append(admin, `"${'x'.repeat(16_384)}"\n`);
    expect(await refused.ended).toBe(1);
    expect(refused.err).toContain('line 1 is too large a row: maxLineBytes is 16384');
  });
});

describe('append', () => {
  test('prints the last position, and nothing else, on stdout', async () => {
    const { admin } = await servePrimary();
    const first = await append(admin, '{"a":1}\n{"a":2}\n{"a":3}');
    expect([await first.ended, first.err]).toEqual([0, '']);
    expect(first.out).toMatch(positionText(3));
    const second = await append(admin, '1\n2\n3\n', '--batch', '2');
    expect(await second.ended).toBe(0);
    expect(second.out).toMatch(positionText(5));
    const third = await append(admin, '1\n2\n3\n', '--json');
    expect(await third.ended).toBe(0);
    expect(third.out.endsWith('}\n')).toBe(true);
    expect(JSON.parse(third.out)).toEqual({ position: second.out.trimEnd().replace('=5@', '=8@'), rows: 3 });
  });

  test('a bad line is told by its number with what is appended, in the middle of the upload too, and the exit code is 1', async () => {
    const { admin } = await servePrimary();
    const command = new RunningCommand(['append', 'events', '--admin', admin]);
    command.stdin.write('1\n2\n{"half":\n4\n');
    // stdin stays open: the answer alone ends the command.
    expect(await command.ended).toBe(1);
    expect(command.out).toBe('');
    expect(command.err).toMatch(
      /^rowcast: INVALID_ROW: line 3 is not JSON: .*\nrowcast: 2 rows before that are appended, up to events=2@\S+\n$/,
    );
  });

  test('a bad line in a very long upload is told as well', async () => {
    const { admin } = await servePrimary();
    const command = await append(admin, `1\nbad\n${'{"some":"row"}\n'.repeat(1_000_000)}`);
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('line 2 is not JSON');
  });

  test('an unknown stream is exit code 1, a name that is none is exit code 2', async () => {
    const { admin } = await servePrimary();
    const unknown = new RunningCommand(['append', 'nope', '--admin', admin]);
    expect(await unknown.ended).toBe(1);
    expect(unknown.err).toContain('there is no stream nope');
    const invalid = new RunningCommand(['append', 'no such', '--admin', admin]);
    expect(await invalid.ended).toBe(2);
  });

  test('without a primary it says in one line to start one, and exits with 1', async () => {
    const { command, admin } = await servePrimary();
    await command.stop();
    const refused = await append(admin, '1\n');
    expect(await refused.ended).toBe(1);
    expect(refused.err).toMatch(/^rowcast: CONNECTION_LOST: cannot reach .*ECONNREFUSED.*`rowcast serve`.*\n$/);
  });

  test('what is no admin port is told so', async () => {
    const { connect } = await servePrimary();
    for (const admin of [
      connect,
      await listenOn((write) => write('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello')),
    ]) {
      const command = await append(admin, '1\n');
      expect(await command.ended).toBe(1);
      expect(command.err).toContain('is not the admin port of a Rowcast primary');
    }
  });

  test('a primary that stops in the middle says what is appended', async () => {
    const { command: primary, admin } = await servePrimary();
    const follower = new RunningCommand(['status', '--admin', admin]);
    await follower.ended;
    const command = new RunningCommand(['append', 'events', '--admin', admin]);
    command.stdin.write('1\n2\n');
    await untilLatest(admin, 2);
    await primary.stop();
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('2 rows before that are appended, up to events=2@');
  });

  test('sends rows to the wire as they came, byte for byte', async () => {
    const { connect, admin } = await servePrimary();
    const texts = ['9007199254740993', '1e400', '-0', '{"a":1,"a":2}', '1.10', String.raw`"\u00e9"`, '{ "b" : 1 }'];
    expect(await (await append(admin, `${texts.join('\r\n')}\r\n`)).ended).toBe(0);
    const { host, port } = parseHostAndPort(connect);
    const hand = new Netcat(tcpTransport, { host, port });
    onTestFinished(() => hand.connection.close());
    hand.send('REPLICATE events 0');
    await hand.line('POSITION events');
    expect(hand.lines.filter((line) => line.startsWith('RDATA '))).toEqual(
      texts.map((text, i) => `RDATA events ${i + 1} ${text}`),
    );
  });

  test('with --id-prefix the same rows are appended once, and other rows are refused', async () => {
    const { admin } = await servePrimary();
    const options = ['--batch', '2', '--id-prefix', 'import-7'];
    const first = await append(admin, '1\n2\n3\n', ...options);
    const second = await append(admin, '1\n2\n3\n', ...options);
    expect([await second.ended, second.out]).toEqual([0, first.out]);
    const other = await append(admin, '1\n2\n4\n', ...options);
    expect(await other.ended).toBe(1);
    expect(other.err).toMatch(
      /^rowcast: .*import-7\/2.* was taken for other rows.*\nrowcast: 2 rows before that are app/,
    );
    expect((await append(admin, '9\n')).out).toMatch(positionText(3));
  });

  test('when the connection is lost it says that no row is known to be appended, and how to send them again', async () => {
    const server = createServer((socket) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (bytes) => {
        text += String(bytes);
        if (text.includes('2\n')) socket.resetAndDestroy();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const admin = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const [options, advice] of [
      [[], 'with --id-prefix PREFIX the same rows can be sent again after this, and each is appended once'],
      [['--id-prefix', 'a'], 'run the same command with the same rows again: what is appended is not appended twice'],
    ] as const) {
      const command = new RunningCommand(['append', 'events', '--admin', admin, ...options]);
      command.stdin.write('1\n2\n');
      expect(await command.ended).toBe(1);
      expect(command.err).toContain(`the connection to the admin port at ${admin} was lost (ECONNRESET)`);
      expect(command.err).toContain(`; 0 of 2 rows sent are surely appended; more of them may be; ${advice}\n`);
    }
  });

  test('when the connection is lost it says how many rows the primary had told as appended', async () => {
    const server = createHttpServer((request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write('{"position":"events=2@here","rows":2}\n');
      request.on('data', (text) => {
        if (String(text).includes('3')) request.socket.resetAndDestroy();
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    const stdin = new PassThrough();
    const stderr = Object.assign(new PassThrough().setEncoding('utf8'), { isTTY: true });
    let said = '';
    stderr.on('data', (text: string) => (said += text));
    let now = 0;
    const clock = { ...systemClock, now: () => (now += 600) };
    const argv = ['append', 'events', '--admin', `127.0.0.1:${(server.address() as AddressInfo).port}`];
    const command = new RunningCommand(argv, { terminal: { stdin, stderr, clock } });
    stdin.write('1\n2\n');
    await vi.waitFor(() => expect(said).toContain('2 appended in 2 batches'), 5_000);
    stdin.write('3\n');
    expect(await command.ended).toBe(1);
    expect(said).toContain('; 2 of 3 rows sent are surely appended, up to events=2@here; more of them may be');
  });

  test('no rows are no failure, and no position', async () => {
    const { admin } = await servePrimary();
    const command = await append(admin, '\n\n');
    expect([await command.ended, command.out]).toEqual([0, '']);
    expect(command.err).toContain('stdin had no rows');
    expect((await append(admin, '', '--json')).out).toBe('{"position":null,"rows":0}\n');
  });

  test('at a terminal it says what it waits for', async () => {
    const { admin } = await servePrimary();
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    const command = new RunningCommand(['append', 'events', '--admin', admin], { terminal: { stdin } });
    await command.saw(/one JSON value a line, and end with Ctrl-D/);
    stdin.end('1\n');
    expect(await command.ended).toBe(0);
  });

  test('long input shows its progress at a terminal, and wipes it at the end', async () => {
    const { admin } = await servePrimary();
    let now = 0;
    const clock = { now: () => (now += 600), wallNow: () => now, wakeIn: () => ({ cancel: () => {} }) };
    const stdin = new PassThrough();
    const stderr = Object.assign(new PassThrough().setEncoding('utf8'), { isTTY: true });
    const command = new RunningCommand(['append', 'events', '--admin', admin], { terminal: { stdin, stderr, clock } });
    for (let i = 0; i < 4; i++) stdin.write('1\n'.repeat(1_000));
    stdin.end();
    expect(await command.ended).toBe(0);
    expect(command.out).toMatch(positionText(4_000));
    expect(stderr.read()).toMatch(
      // oxlint-disable-next-line no-control-regex -- it clears the line on the terminal
      /^(\r\u001b\[Krowcast: \d,000 rows sent, \d(,000)? appended in \d(,000)? batches, \d+ rows\/s)+\r\u001b\[K$/,
    );
  });

  /** `append` at a terminal whose clock is fast. */
  async function atTerminal(
    ...options: string[]
  ): Promise<{ admin: string; command: RunningCommand; stdin: PassThrough; saw: (text: string) => Promise<void> }> {
    const { admin } = await servePrimary();
    let now = 0;
    const clock = { ...systemClock, now: () => (now += 600) };
    const stdin = new PassThrough();
    const stderr = Object.assign(new PassThrough().setEncoding('utf8'), { isTTY: true });
    let said = '';
    stderr.on('data', (text: string) => (said += text));
    const argv = ['append', 'events', '--admin', admin, ...options];
    const command = new RunningCommand(argv, { terminal: { stdin, stderr, clock } });
    const saw = async (text: string): Promise<void> => vi.waitFor(() => expect(said).toContain(text), 5_000);
    return { admin, command, stdin, saw };
  }

  // SPEC A9
  test('a signal ends it with exit code 1, and it says how many rows are surely appended', async () => {
    const { command, stdin, saw } = await atTerminal('--batch', '2');
    stdin.write('1\n2\n3\n4\n5\n');
    await saw('5 rows sent, 4 appended in 2 batches, ');
    expect(await command.stop()).toBe(1);
    await saw('CONNECTION_LOST: interrupted; 4 of 5 rows sent are surely appended, up to events=2@');
  });

  test('a line that is refused after progress was told is told as any other', async () => {
    const { command, stdin, saw } = await atTerminal();
    stdin.write('1\n2\n');
    await saw('2 rows sent, 2 appended in 2 batches, ');
    stdin.write('{"half":\n');
    expect(await command.ended).toBe(1);
    await saw('INVALID_ROW: line 3 is not JSON');
    await saw('2 rows before that are appended, up to events=2@');
  });

  test('an upload that is sent again says how many of its rows were there already', async () => {
    const { admin } = await servePrimary();
    const [short, long] = ['1\n2\n', '1\n2\n3\n'];
    const first = await append(admin, short, '--id-prefix', 'import', '--json');
    expect([first.err, JSON.parse(first.out)]).toEqual(['', expect.objectContaining({ rows: 2, repeatedRows: 0 })]);
    const second = await append(admin, long, '--id-prefix', 'import', '--json');
    expect(second.err).toContain('2 of 3 rows were there already');
    expect(JSON.parse(second.out)).toMatchObject({ rows: 3, repeatedRows: 2 });
    expect(second.out).toContain('"events=3@');
  });
});

async function untilLatest(admin: string, latest: number): Promise<void> {
  for (;;) {
    const answer = await fetch(`http://${admin}/status`);
    const { streams } = (await answer.json()) as { streams: { stream: string; latest: number }[] };
    if (streams.find(({ stream }) => stream === 'events')!.latest >= latest) return;
  }
}

describe('follow', () => {
  test('a peer that does not hang up is not taken for a stdout that takes nothing', async () => {
    const command = new RunningCommand(['follow', 'events', '--connect', await listenOn(() => {})]);
    await command.saw(/connected to/);
    expect(await command.stop()).toBe(0);
    expect(command.err).not.toContain('stdout');
  });

  test('prints a line a row, and a line a batch with --json; where it stands goes to stderr', async () => {
    const { connect, admin } = await servePrimary();
    const appended = await append(admin, '{"a":1}\n[2]\n"three\u0080"\n', '--batch', '2');
    const position = appended.out.trimEnd();
    const rows = new RunningCommand(['follow', 'events', '--from', 'start', '--connect', connect]);
    await rows.saw(/three/);
    expect(rows.out).toBe('events 1 {"a":1}\nevents 1 [2]\nevents 2 "three\\u0080"\n');
    await rows.saw(/live: events/);
    expect(rows.err).toBe(`rowcast: connected to ${connect}\nrowcast: live: events\n`);
    const batches = new RunningCommand([
      'follow',
      'events',
      '--from',
      '0',
      '--json',
      '--connect',
      connect,
      '--server',
      'example.com',
    ]);
    await batches.saw(/three/);
    expect(batches.out).toBe(
      `{"stream":"events","token":1,"position":"${position.replace('=2@', '=1@')}","rows":[{"a":1},[2]]}\n` +
        `{"stream":"events","token":2,"position":"${position}","rows":["three\\u0080"]}\n`,
    );
    expect((JSON.parse(batches.out.split('\n')[1]!) as { rows: unknown }).rows).toEqual(['three\u0080']);
    expect(await rows.stop()).toBe(0);
    expect(await batches.stop()).toBe(0);
  });

  test('begins with new rows unless it is told otherwise, and after the token that it is told', async () => {
    const { connect, admin } = await servePrimary();
    await append(admin, '1\n2\n3\n');
    const now = new RunningCommand(['follow', 'events', '--connect', connect]);
    const after = new RunningCommand(['follow', 'events', '--connect', connect, '--from', '2']);
    await Promise.all([now.saw(/live/), after.saw(/live/)]);
    await append(admin, '4\n');
    await Promise.all([now.saw(/events 4 4\n/), after.saw(/events 4 4\n/)]);
    expect(now.out).toBe('events 4 4\n');
    expect(after.out).toBe('events 3 3\nevents 4 4\n');
  });

  test('goes on after the position that append has printed, and says when it is of another history', async () => {
    const { connect, admin } = await servePrimary();
    const position = (await append(admin, '1\n2\n')).out.trimEnd();
    await append(admin, '3\n');
    const after = new RunningCommand(['follow', 'events', '--connect', connect, '--from', position]);
    await after.saw(/events 3 3\n/);
    expect(after.out).toBe('events 3 3\n');
    expect(await after.stop()).toBe(0);
    const other = position.replace(/@.*/, '@8f3c1d2e4b5a6978.1764281400.a1b2c3d4');
    const reset = new RunningCommand(['follow', 'events', '--connect', connect, '--from', other]);
    await reset.saw(/warning: stream events goes on with the earliest row that is kept/);
    await reset.saw(/events 3 3\n/);
    expect(reset.out).toBe('events 1 1\nevents 2 2\nevents 3 3\n');
    expect(await reset.stop()).toBe(0);
  });

  test('prints the attributes of a batch as JSON where it has some', async () => {
    const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams: [defineStream('events')] });
    onTestFinished(() => primary.close());
    const { port } = (await primary.listen({ host: '127.0.0.1', port: 0 })) as { port: number };
    await primary.append('events', [1], { attributes: { trace: 'abc' } });
    await primary.append('events', [2]);
    const command = new RunningCommand(['follow', '--json', '--from', 'start', '--connect', `127.0.0.1:${port}`]);
    await command.saw(/"rows":\[2\]}\n/);
    const batches = command.out.trimEnd().split('\n');
    expect(batches[0]).toMatch(/"rows":\[1\],"attributes":{"trace":"abc"}}$/);
    expect(batches[1]).not.toContain('attributes');
    expect(await command.stop()).toBe(0);
  });

  test('follows all streams when it is told none', async () => {
    const { connect, admin } = await servePrimary('--stream', 'events', '--stream', 'other');
    await append(admin, '1\n');
    const other = new RunningCommand(['append', 'other', '--admin', admin]);
    other.stdin.end('2\n');
    await other.ended;
    const all = new RunningCommand(['follow', '--from', 'start', '--connect', connect]);
    await all.saw(/events 1 1\n/);
    await all.saw(/other 1 2\n/);
    expect(await all.stop()).toBe(0);
  });

  test('says when a stream is deleted, and follows it when it is made again', async () => {
    const primary = await createPrimary({ name: 'example.com', log: memoryLog(), streams: [defineStreams('room:*')] });
    onTestFinished(() => primary.close());
    const { port } = (await primary.listen({ host: '127.0.0.1', port: 0 })) as { port: number };
    await primary.append('room:1', ['old']);
    const command = new RunningCommand(['follow', 'room:*', '--from', 'start', '--connect', `127.0.0.1:${port}`]);
    await command.saw(/room:1 1 "old"\n/);
    await primary.delete('room:1');
    await command.saw(/warning: Stream room:1 was deleted\./);
    await primary.append('room:1', ['new']);
    await command.saw(/room:1 1 "new"\n/);
    expect(await command.stop()).toBe(0);
  });

  test('follows names and patterns together, also streams that are made later', async () => {
    const { connect, admin } = await servePrimary('--stream', 'room:*', '--stream', 'users', '--stream', 'events');
    const rows = async (stream: string, text: string): Promise<void> => {
      const command = new RunningCommand(['append', stream, '--admin', admin]);
      command.stdin.end(text);
      expect(await command.ended).toBe(0);
    };
    await rows('room:1', '1\n');
    await rows('users', '2\n');
    const checkpoint = join(folder, 'patterns.checkpoint');
    const argv = ['follow', 'events', 'room:*', '--from', 'start', '--checkpoint', checkpoint, '--connect', connect];
    const first = new RunningCommand(argv);
    await first.saw(/room:1 1 1\n/);
    await rows('room:2', '3\n');
    await first.saw(/room:2 1 3\n/);
    await rows('events', '4\n');
    await first.saw(/events 1 4\n/);
    expect(first.out).not.toContain('users');
    expect(await first.stop()).toBe(0);
    await rows('room:3', '5\n');
    const second = new RunningCommand(argv);
    await second.saw(/room:3 1 5\n/);
    expect(second.out).toBe('room:3 1 5\n');
    expect(await second.stop()).toBe(0);
  });

  test.each([
    [['room:**'], 'pattern room:**'],
    [['room:*', '--from', '5'], 'with the pattern room:*, --from is now or start'],
    [['room:*', 'room:a*'], 'share names'],
  ])('refuses %j', async (argv, said) => {
    const command = new RunningCommand(['follow', ...argv, '--connect', '127.0.0.1:1']);
    expect(await command.ended).toBe(2);
    expect(command.err).toContain(said);
  });

  test('with a checkpoint only the new rows come, also after a stop at once', async () => {
    const { connect, admin } = await servePrimary();
    const checkpoint = join(folder, 'reader.json');
    const argv = ['follow', 'events', '--from', 'start', '--checkpoint', checkpoint, '--connect', connect];
    await append(admin, '1\n2\n');
    const first = new RunningCommand(argv);
    await first.saw(/events 2 2\n/);
    expect(await first.stop()).toBe(0);
    expect(readFileSync(checkpoint, 'utf8')).toMatch(/\bevents=2@/);
    await append(admin, '3\n');
    const second = new RunningCommand(argv);
    await second.saw(/events 3 3\n/);
    expect(second.out).toBe('events 3 3\n');
    expect(await second.stop()).toBe(0);
  });

  test('a checkpoint that cannot be read, or written, is exit code 1', async () => {
    const { connect, admin } = await servePrimary();
    await append(admin, '1\n');
    const damaged = join(folder, 'damaged.json');
    writeFileSync(damaged, 'no checkpoint');
    for (const [file, said] of [
      [damaged, 'is damaged'],
      [join(folder, 'no', 'such', 'place.json'), 'cannot open checkpoint'],
    ] as const) {
      const command = new RunningCommand([
        'follow',
        'events',
        '--from',
        'start',
        '--checkpoint',
        file,
        '--connect',
        connect,
      ]);
      expect(await command.ended).toBe(1);
      expect(command.err).toContain(said);
    }
  });

  test('of many streams that become live at once it names a few', async () => {
    const { connect, admin } = await servePrimary('--stream', 'room:*');
    for (let i = 100; i < 130; i++) {
      const appended = new RunningCommand(['append', `room:${i}`, '--admin', admin]);
      appended.stdin.end('1\n');
      expect(await appended.ended).toBe(0);
    }
    const command = new RunningCommand(['follow', 'room:*', '--connect', connect]);
    await command.saw(/live: room:100, .*, room:119 and 10 more\n/);
    expect(command.err).not.toContain('room:120');
  });

  test('an unknown stream is exit code 1', async () => {
    const { connect } = await servePrimary();
    const command = new RunningCommand(['follow', 'nope', '--connect', connect]);
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('no stream nope');
  });

  test('while there is no primary it says so once an attempt, and goes on by itself when there is one', async () => {
    const path = join(folder, 'later.sock');
    const command = new RunningCommand(['follow', 'events', '--from', 'start', '--connect', `unix:${path}`]);
    await command.saw(/is the primary running\?; next try in \d\.\d s\n/);
    const { admin } = await servePrimary('--listen', `unix:${path}`);
    await append(admin, '1\n');
    await command.saw(/events 1 1\n/);
    await command.saw(/live: events\n/);
    const said = command.err.trimEnd().split('\n');
    expect(said.at(0)).toContain('cannot connect');
    expect(said.slice(said.findIndex((line) => line.includes('connected to')))).toEqual([
      `rowcast: connected to unix:${path}`,
      'rowcast: live: events',
    ]);
    expect(await command.stop()).toBe(0);
  });

  test('it says why it was disconnected, and of a primary that lost its rows', async () => {
    const path = join(folder, 'restarted.sock');
    const first = await servePrimary('--listen', `unix:${path}`);
    await append(first.admin, '1\n2\n');
    const command = new RunningCommand(['follow', 'events', '--from', 'start', '--connect', `unix:${path}`]);
    await command.saw(/events 2 2\n/);
    await command.saw(/live/);
    await first.command.stop();
    await command.saw(/server stopping; next try in/);
    const second = await servePrimary('--listen', `unix:${path}`);
    await append(second.admin, '"anew"\n');
    await command.saw(/warning: stream events goes on with the earliest row that is kept/);
    await command.saw(/events 1 "anew"\n/);
    expect(await command.stop()).toBe(0);
  });

  test('it waits for a slow reader of stdout, and loses nothing', async () => {
    const { connect, admin } = await servePrimary();
    await append(admin, Array.from({ length: 50_000 }, (_, i) => i).join('\n'));
    const stdout = new PassThrough().pause();
    const command = new RunningCommand(['follow', 'events', '--from', 'start', '--json', '--connect', connect], {
      stdout,
    });
    await command.saw(/connected/);
    await once(stdout, 'readable');
    // It is full now; the rest waits in the primary's log.
    expect(stdout.readableLength + stdout.writableLength).toBeLessThan(4 * 1024 * 1024);
    let text = '';
    stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (text.endsWith('"rows":[49999]}\n')) stdout.emit('all');
    });
    await once(stdout, 'all');
    expect(
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => (JSON.parse(line) as { rows: number[] }).rows[0]),
    ).toEqual(Array.from({ length: 50_000 }, (_, i) => i));
  });

  test('a reader of stdout that goes away ends it quietly with exit code 0', async () => {
    const { connect, admin } = await servePrimary();
    const stdout = new PassThrough();
    const command = new RunningCommand(['follow', 'events', '--connect', connect], { stdout });
    await command.saw(/live/);
    stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await append(admin, '1\n');
    expect(await command.ended).toBe(0);
    expect(command.err).toBe(`rowcast: connected to ${connect}\nrowcast: live: events\n`);
  });

  test('stdout that fails otherwise is exit code 1', async () => {
    const { connect, admin } = await servePrimary();
    const stdout = new PassThrough();
    const command = new RunningCommand(['follow', 'events', '--connect', connect], { stdout });
    await command.saw(/live/);
    stdout.destroy(
      Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' }),
    );
    await append(admin, '1\n');
    expect(await command.ended).toBe(1);
    expect(command.err).toContain('no space left on device');
  });

  test('rows that stdout never took are not in the checkpoint', async () => {
    const { connect, admin } = await servePrimary();
    const checkpoint = join(folder, 'stuck.json');
    await append(admin, `"${'x'.repeat(100_000)}"\n`.repeat(20));
    const stdout = new PassThrough().pause();
    const command = new RunningCommand(
      ['follow', 'events', '--from', 'start', '--checkpoint', checkpoint, '--connect', connect],
      { stdout },
    );
    await once(stdout, 'readable');
    expect(await command.stop()).toBe(0);
    expect(command.err).toContain('its last rows are not in the checkpoint');
    expect(existsSync(checkpoint)).toBe(false);
  });
});

describe('log new-history', () => {
  test('gives a log another id, and prints it', async () => {
    const path = join(folder, 'copy.db');
    const { command } = await servePrimary('--log', `sqlite:${path}`);
    const refused = new RunningCommand(['log', 'new-history', path]);
    expect(await refused.ended).toBe(1);
    expect(refused.err).toMatch(
      /^rowcast: LOG_LOCKED: cannot open .*copy\.db: another process has it open for writing/,
    );
    await command.stop();
    const renewed = new RunningCommand(['log', 'new-history', path]);
    expect(await renewed.ended).toBe(0);
    expect(renewed.out).toMatch(/^[0-9a-f]{16}\n$/);
    expect(renewed.err).toMatch(/copy\.db was log [0-9a-f]{16} and is another one now/);
    expect(renewed.err).not.toContain(renewed.out.trim());
  });

  test('a file that is not there is exit code 1, none at all is exit code 2', async () => {
    const missing = new RunningCommand(['log', 'new-history', join(folder, 'nowhere.db')]);
    expect(await missing.ended).toBe(1);
    expect(missing.err).toContain('there is no such file');
    for (const argv of [['log', 'new-history'], ['log', 'old-history', 'x'], ['log']])
      expect(await new RunningCommand(argv).ended, argv.join(' ')).toBe(2);
  });

  test('its help has an example', async () => {
    const help = new RunningCommand(['log', 'new-history', '--help']);
    expect(await help.ended).toBe(0);
    expect(help.out).toContain('Examples:\n  $ rowcast log new-history copy.db\n');
  });
});

describe('status', () => {
  test('shows the first 1,000 streams, and says how to see the rest', async () => {
    const { admin, command } = await servePrimary('--stream', 'room:*', '--stream', 'users');
    const appended = async (name: string): Promise<number> => {
      const headers = { 'content-type': 'application/x-ndjson' };
      return (await fetch(`http://${admin}/streams/${name}/rows`, { method: 'POST', headers, body: '1\n' })).status;
    };
    const names = Array.from({ length: 1_005 }, (_, i) => `room:${String(i).padStart(4, '0')}`);
    // A hundred at a time share commits.
    while (names.length > 0)
      expect(new Set(await Promise.all(names.splice(0, 100).map(appended)))).toEqual(new Set([200]));
    const told = async (...options: string[]): Promise<string[]> => {
      const status = new RunningCommand(['status', '--admin', admin, ...options]);
      expect(await status.ended).toBe(0);
      return status.out.split('\n').filter((line) => /^(room:|users|…)/.test(line));
    };
    const first = await told();
    expect(first).toHaveLength(1_001);
    expect(first.at(-1)).toBe('… and more: --after room:0999 shows the next, --all shows all');
    expect(await told('--after', 'room:0999')).toHaveLength(6);
    expect(await told('--all')).toHaveLength(1_006);
    expect(await told('--match', 'room:*', '--after', 'room:1003')).toEqual([
      expect.stringMatching(/^room:1004 +1 +1$/),
    ]);
    expect(await told('--match', 'users')).toHaveLength(1);
    expect(await command.stop()).toBe(0);
  });

  test('shows streams and connections as a table, and as one line of JSON', async () => {
    const { connect, admin } = await servePrimary();
    await append(admin, '1\n2\n');
    const follower = new RunningCommand([
      'follow',
      'events',
      '--from',
      'start',
      '--connect',
      connect,
      '--name',
      'reader-7',
    ]);
    await follower.saw(/live/);
    const table = new RunningCommand(['status', '--admin', admin]);
    expect(await table.ended).toBe(0);
    expect(table.out).toMatch(/^primary example\.com, its log is ok\n/);
    expect(table.out).toMatch(/^events +1 +2$/m);
    expect(table.out).toMatch(/^#1 reader-7 +127\.0\.0\.1:\d+ +0 s +0 B +events +2 +0 +(2|-) +(0|-) +live$/m);
    const json = new RunningCommand(['status', '--admin', admin, '--json']);
    expect(await json.ended).toBe(0);
    expect(json.out.trimEnd()).not.toContain('\n');
    expect(JSON.parse(json.out)).toMatchObject({
      connections: [
        { name: 'reader-7', subscriptions: [{ stream: 'events', sent: 2, sentLagRows: 0, state: 'live' }] },
      ],
    });
  });

  // SPEC B23
  test('stays short and moves no cursor, whatever names the workers give themselves', async () => {
    const { connect, admin } = await servePrimary('--stream', 'events', '--stream', 'a\u202eb');
    const [host, port] = connect.split(':');
    const named = Array.from({ length: 3 }, (_, i) => {
      const hand = new Netcat(tcpTransport, { host: host!, port: Number(port) });
      onTestFinished(() => hand.connection.abort());
      hand.send(`NAME ${i}\u202e\u009b2J\u200f${'x'.repeat(1_000_000)}`, 'REPLICATE events NOW');
      return hand.line('POSITION events');
    });
    await Promise.all(named);
    const table = new RunningCommand(['status', '--admin', admin]);
    expect(await table.ended).toBe(0);
    expect(table.out).toContain('2\\u202e\\u009b2J\\u200fxxx');
    expect(table.out).toContain('a\\u202eb');
    const json = new RunningCommand(['status', '--admin', admin, '--json']);
    expect(await json.ended).toBe(0);
    const { connections } = JSON.parse(json.out) as { connections: { name: string }[] };
    expect(connections.map(({ name }) => name.length)).toEqual([255, 255, 255]);
    for (const { out } of [table, json]) {
      expect(out.length).toBeLessThan(5_000);
      expect(out).not.toMatch(/[\u0080-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/);
    }
  });
});
