/** The command line as processes of the system run it: signals, exit codes, pipes that close. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parsePosition } from '../../src/core/model/position.ts';
import { freePorts, type RunningProcess, runRowcast } from '../support/processes.ts';

const BIN = fileURLToPath(new URL('../../bin/rowcast.js', import.meta.url));
const running = new Set<RunningProcess>();
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rowcast-commands-'));
});

afterEach(async () => {
  await Promise.all([...running].map(async (process) => process.kill('SIGKILL')));
  running.clear();
  await rm(folder, { recursive: true });
});

function start(...args: Parameters<typeof runRowcast>): RunningProcess {
  const process = runRowcast(...args);
  running.add(process);
  return process;
}

interface Served {
  readonly primary: RunningProcess;
  readonly argv: readonly string[];
  readonly connect: string;
  readonly admin: string;
}

async function serve(): Promise<Served> {
  const [port, adminPort] = await freePorts(2);
  const [connect, admin] = [`127.0.0.1:${port}`, `127.0.0.1:${adminPort}`];
  const argv = [
    'serve',
    '--listen',
    connect,
    '--admin',
    admin,
    '--log',
    `sqlite:${join(folder, 'data', 'rowcast.db')}`,
  ];
  const primary = start(argv);
  await primary.saw(/Try next.*\| nc /s);
  return { primary, argv, connect, admin };
}

test('serve says what to try next, drains at SIGTERM with exit code 0, and keeps every row', async () => {
  const { primary, argv, connect, admin } = await serve();
  expect(primary.stderr()).toContain(`npx rowcast follow events --from start --connect ${connect}`);
  expect(await start(['append', 'events', '--admin', admin], { input: '1\n2\n' }).ended).toBe(0);
  const lines: string[] = [];
  const follower = start(['follow', 'events', '--from', 'start', '--connect', connect], {
    onLine: (line) => lines.push(line),
  });
  await follower.saw(/live/);
  const upload = start(['append', 'events', '--admin', admin]);
  upload.child.stdin!.write('3\n');
  await primary.kill('SIGTERM');
  expect(await primary.ended).toBe(0);
  expect(await upload.ended).toBe(1);
  await follower.saw(/server stopping/);
  const again = start(argv);
  await again.saw(/Try next/);
  const positions: string[] = [];
  const append = start(['append', 'events', '--admin', admin], {
    input: '4\n',
    onLine: (line) => positions.push(line),
  });
  expect(await append.ended).toBe(0);
  expect(parsePosition(positions.at(-1)!).token).toBeGreaterThanOrEqual(3);
  await follower.kill('SIGINT');
  expect(await follower.ended).toBe(0);
  expect(lines.slice(0, 2)).toEqual(['events 1 1', 'events 2 2']);
});

test('a port in use is one clear line and exit code 1', async () => {
  const { connect } = await serve();
  const second = start(['serve', '--listen', connect, '--admin', 'none', '--log', 'memory:']);
  expect(await second.ended).toBe(1);
  expect(second.stderr()).toBe(
    `rowcast: ADDRESS_IN_USE: cannot listen at ${connect}: something listens there already (EADDRINUSE); stop it or choose another port\n`,
  );
});

test('a log that another primary has open is one clear line and exit code 1', async () => {
  const { argv } = await serve();
  const second = start(argv);
  expect(await second.ended).toBe(1);
  expect(second.stderr()).toMatch(/^rowcast: [^\n]*rowcast\.db[^\n]*another process has it open[^\n]*\n$/);
});

test('follow ends quietly with exit code 0 when whoever reads it has enough, and stores what was read', async () => {
  const { connect, admin } = await serve();
  expect(await start(['append', 'events', '--admin', admin], { input: '1\n2\n3\n'.repeat(20_000) }).ended).toBe(0);
  const checkpoint = join(folder, 'reader.json');
  const argv = [
    process.execPath,
    BIN,
    'follow',
    'events',
    '--from',
    'start',
    '--connect',
    connect,
    '--checkpoint',
    checkpoint,
  ];
  // The shell's own words for it: the exit code of the left side of the pipe.
  const shell = spawn('bash', ['-c', `"$@" | head -n 2; exit "\${PIPESTATUS[0]}"`, 'bash', ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  shell.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  expect(await once(shell, 'close')).toEqual([0, null]);
  expect(out).toBe('events 1 1\nevents 2 2\n');
  expect(err.split('\n').filter((line) => !/^(rowcast: (connected to|live:) .*)?$/.test(line))).toEqual([]);
});

test('a second signal ends a command that cannot finish, at once', async () => {
  const { connect, admin } = await serve();
  expect(
    await start(['append', 'events', '--admin', admin], { input: `"${'x'.repeat(500_000)}"\n`.repeat(4) }).ended,
  ).toBe(0);
  const stuck = spawn(process.execPath, [BIN, 'follow', 'events', '--from', 'start', '--connect', connect], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let err = '';
  for await (const text of stuck.stderr.setEncoding('utf8') as AsyncIterable<string>) {
    err += text;
    if (err.includes('connected')) break;
  }
  // Nobody reads its stdout: it fills the pipe and waits.
  stuck.kill('SIGINT');
  stuck.kill('SIGTERM');
  const [code] = (await once(stuck, 'exit')) as [number];
  expect([0, 1]).toContain(code);
});

test('follow without stdout that is read ends at one signal too, and its checkpoint has nothing that was not read', async () => {
  const { connect, admin } = await serve();
  expect(
    await start(['append', 'events', '--admin', admin], { input: `"${'x'.repeat(500_000)}"\n`.repeat(4) }).ended,
  ).toBe(0);
  const checkpoint = join(folder, 'stuck.json');
  const stuck = spawn(
    process.execPath,
    [BIN, 'follow', 'events', '--from', 'start', '--connect', connect, '--checkpoint', checkpoint],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const exited = once(stuck, 'exit');
  stuck.stderr.setEncoding('utf8');
  let err = '';
  stuck.stderr.on('data', (text: string) => {
    err += text;
    if (text.includes('connected')) stuck.kill('SIGTERM');
  });
  expect(await exited).toEqual([0, null]);
  const stored = await readFile(checkpoint, 'utf8').catch(() => '{"positions":[]}');
  const { positions } = JSON.parse(stored) as { positions: string[] };
  const tokens = positions.map((text) => parsePosition(text).token);
  expect(Math.max(0, ...tokens), err).toBeLessThan(4);
});

async function latestOf(admin: string): Promise<number> {
  const { streams } = (await (await fetch(`http://${admin}/status`)).json()) as {
    streams: { stream: string; latest: number }[];
  };
  return streams.find(({ stream }) => stream === 'events')?.latest ?? 0;
}

test('an upload with --id-prefix that is sent again after each kill -9 of its primary appends every row once', async () => {
  const BATCHES = 400;
  const { primary: first, argv, connect, admin } = await serve();
  let primary = first;
  const rows = Array.from({ length: 10 * BATCHES }, (_, i) => `{"n":${i}.0}\n`);
  const command = ['append', 'events', '--admin', admin, '--batch', '10', '--id-prefix', 'kills'];
  for (let sent = 1_000; sent < rows.length; sent += 1_000) {
    const upload = start(command);
    upload.child.stdin!.write(rows.slice(0, sent).join(''));
    // Some batches of this upload are durable, and perhaps not all.
    while ((await latestOf(admin)) <= (sent - 1_000) / 10);
    await primary.kill('SIGKILL');
    expect(await upload.ended).toBe(1);
    expect(upload.stderr()).toMatch(/CONNECTION_LOST: .* \d[\d,]* of [\d,]+ rows sent (is|are) surely appended/);
    primary = start(argv);
    await primary.saw(/Try next/);
  }
  expect(await start(command, { input: rows.join('') }).ended).toBe(0);
  expect(await latestOf(admin)).toBe(BATCHES);
  const lines: string[] = [];
  const follower = start(['follow', 'events', '--from', 'start', '--connect', connect], {
    onLine: (line) => lines.push(line),
  });
  await follower.saw(/live: events/);
  await follower.kill('SIGINT');
  expect(await follower.ended).toBe(0);
  expect(lines).toEqual(rows.map((_, i) => `events ${Math.floor(i / 10) + 1} {"n":${i}}`));
});
