/** The command line beside recorded Synapse processes: real sockets, the recorded bytes. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { randomInteger, seededRandom } from '../../src/base/random.ts';
import { formatPosition } from '../../src/core/model/position.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import { synapseStream } from '../../src/synapse/streams.ts';
import { fileCheckpoint } from '../../src/worker/file-checkpoint.ts';
import { type Capture, readCapture } from '../support/captures.ts';
import { RunningCommand, servePrimary } from '../support/fake-terminal.ts';
import { ReplayedSynapse } from '../support/replayed-synapse.ts';

const folder = mkdtempSync(join(tmpdir(), 'rowcast-synapse-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Printed {
  readonly stream: StreamName;
  readonly token: Token;
  /** Without a history: a real Synapse has none. */
  readonly position: string;
  readonly rows: readonly unknown[];
}

/** What the recording holds, in order, with named fields as `follow` prints them. */
function namedBatches({ expected }: Capture): Printed[] {
  return expected.flatMap((output) => {
    if (!('stream' in output)) return [];
    const rows = output.rows.map(
      (row) => JSON.parse(JSON.stringify(synapseStream(output.stream)!.parse(row))) as unknown,
    );
    const { stream, token } = output;
    return [{ stream, token, position: formatPosition({ stream, token, history: undefined }), rows }];
  });
}

/**
 * Runs `follow --synapse --json` on the recorded primary until it has printed every recorded row.
 */
async function follow(capture: Capture, synapse: ReplayedSynapse): Promise<{ printed: Printed[]; err: string }> {
  const connect = await synapse.listen();
  onTestFinished(() => synapse.close());
  const args = ['follow', '--synapse', '--json', '--observer', '--connect', connect, '--server', 'localhost:8823'];
  if (capture.requests[0]!.stream !== 'ALL') {
    const path = join(folder, `${capture.name}-${randomInteger({ next: Math.random }, 0, 1e9)}.json`);
    const positions = new Map(
      capture.requests.map(({ stream, from }) => [stream, { stream, token: from as Token, history: undefined }]),
    );
    await fileCheckpoint(path).save(positions, positions);
    args.push('--checkpoint', path, ...capture.requests.map(({ stream }) => stream));
  }
  const command = new RunningCommand(args);
  const printed = (): Printed[] =>
    command.out
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Printed);
  const missing = new Set(namedBatches(capture).flatMap((batch) => rowsOf(batch)));
  let seen = 0;
  const allSeen = new Promise<void>((resolve) => {
    const check = (): void => {
      const batches = printed();
      for (const batch of batches.slice(seen)) for (const row of rowsOf(batch)) missing.delete(row);
      seen = batches.length;
      if (missing.size === 0) resolve();
    };
    command.stdout.on('data', check);
  });
  await Promise.race([allSeen, command.ended.then(() => Promise.reject(new Error(`follow ended: ${command.err}`)))]);
  expect(await command.stop()).toBe(0);
  return { printed: printed(), err: command.err };
}

function rowsOf({ stream, token, rows }: Printed): string[] {
  return rows.map((row) => `${stream} ${token} ${JSON.stringify(row)}`);
}

describe.each(['live_all_now', 'catchup_from_positions'] as const)(
  'follow --synapse --json of the recorded primary: %s',
  (name) => {
    const capture = readCapture(name);

    test('prints every row with named fields, in order and none twice', async () => {
      const { printed, err } = await follow(capture, new ReplayedSynapse(capture));
      expect(printed).toEqual(namedBatches(capture));
      expect(err).not.toContain('does not fit');
    });

    test.each([1, 2, 3, 4])('loses no row across three cuts at random bytes, SEED=%i', async (seed) => {
      const random = seededRandom(seed);
      const { length } = new ReplayedSynapse(capture);
      // Begin after the POSITIONs of ALL NOW: before them the worker has no positions to resume
      // from.
      const earliest = name === 'live_all_now' ? 600 : 1;
      const synapse = new ReplayedSynapse(
        capture,
        Array.from({ length: 3 }, () => randomInteger(random, earliest, length - 1)),
      );
      const { printed } = await follow(capture, synapse);
      expect(synapse.connections).toBe(4);
      expect(printed.length).toBeGreaterThanOrEqual(namedBatches(capture).length);
    });
  },
);

test('follow --synapse tells rows in words', async () => {
  const capture = readCapture('live_all_now');
  const synapse = new ReplayedSynapse(capture);
  const connect = await synapse.listen();
  onTestFinished(() => synapse.close());
  const command = new RunningCommand(['follow', '--synapse', '--observer', '--connect', connect]);
  await command.saw(/^backfill 52 /m);
  expect(command.out).toContain(
    'events 76 ev $qxTtiTGe_xfKC-13aNp5d2yXoP0nZwX-KLRt5tDO084: m.room.create in !qRmwbomekNHXhnXrim:localhost:8823\n',
  );
  expect(command.out).toContain('device_lists 16 of @uosqkr0_a:localhost:8823 changed\n');
});

test('follow --synapse --json keeps rows that it does not know as they came, and says so once', async () => {
  const { connect, admin } = await servePrimary('--stream', 'events', '--stream', 'orders');
  const append = async (stream: string, ...rows: unknown[]): Promise<void> => {
    const body = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    await fetch(`http://${admin}/streams/${stream}/rows`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    });
  };
  // Streams are made by their first row, and only then does the command say that they are live.
  for (const stream of ['events', 'orders']) await append(stream, 'before');
  const command = new RunningCommand(['follow', '--synapse', '--json', '--connect', connect]);
  await command.saw(/live: /);
  await append('events', ['xyz', { a: 1 }], ['xyz', { a: 2 }], ['ev', 'no event'], 5);
  await append('orders', ['tea', 3]);
  await command.saw(/"orders"/);
  expect(
    command.out
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as Printed).rows[0]),
  ).toEqual([
    { kind: 'unknown', type: 'xyz', data: { a: 1 } },
    { kind: 'unknown', type: 'xyz', data: { a: 2 } },
    ['ev', 'no event'],
    5,
    ['tea', 3],
  ]);
  expect(
    command.err.match(
      /stream events has rows of type xyz, which is not known here; such rows are printed as they came/g,
    ),
  ).toHaveLength(1);
  expect(
    command.err.match(/a row of stream events does not fit: .*; such rows are printed as they came/g),
  ).toHaveLength(1);
});

describe('serve --synapse', () => {
  test('offers 14 streams of Synapse, federation where it is asked for, and refuses rows that are none', async () => {
    const { command } = await servePrimary('--synapse');
    expect(command.err).toMatch(/with 14 streams: events, backfill, presence, .*, groups$/m);
    expect(command.err).not.toContain('federation');
    const federated = await servePrimary('--synapse', '--stream', 'federation', '--stream', 'events');
    expect(federated.command.err).toContain('with 2 streams: ');
    const answer = await fetch(`http://${federated.admin}/streams/events/rows`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: '["ev",["$1"]]\n',
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('INVALID_ROW');
  });

  test('outlives a row of a group that fails, and says so', async () => {
    const { command, admin } = await servePrimary('--synapse');
    for (const row of ['["cs_cache_fake",["!r:x","bob"],1]', '["cs_cache_fake",null,1]']) {
      const answer = await fetch(`http://${admin}/streams/caches/rows`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: `${row}\n`,
      });
      expect(answer.status).toBe(200);
    }
    await command.saw(/group cs_cache_fake failed at keys/);
    await command.saw(/group cs_cache_fake came without keys/);
    expect(await command.stop()).toBe(0);
  });

  test('makes a row of INVALIDATE_CACHE, and shows no access token', async () => {
    const { command, connect } = await servePrimary('--synapse');
    const follower = new RunningCommand(['follow', 'caches', '--connect', connect, '--synapse']);
    await follower.saw(/live: caches/);
    await new RunningCommand(['send', 'INVALIDATE_CACHE', 'get_user_by_id', '["@bob:x"]', '--connect', connect]).ended;
    await new RunningCommand([
      'send',
      'USER_IP',
      '@bob:x',
      '["secret","127.0.0.1","curl",null,5]',
      '--connect',
      connect,
    ]).ended;
    await follower.saw(/^caches 1 get_user_by_id \[@bob:x\] at /m);
    await command.saw(/worker \d+ \(rowcast-send\): INVALIDATE_CACHE get_user_by_id \["@bob:x"\]/);
    await command.saw(/worker \d+ \(rowcast-send\): USER_IP @bob:x 127\.0\.0\.1/);
    expect(command.err).not.toContain('secret');
  });
});

describe('serve --synapse for the recorded synchrotron', () => {
  /**
   * The primary's lines, in groups and at their places in the conversation, and the rows in
   * between.
   */
  function conversation(): { readonly lines: string[]; readonly rows: { stream: StreamName; row: unknown }[] }[] {
    const turns: { lines: string[]; rows: { stream: StreamName; row: unknown }[] }[] = [{ lines: [], rows: [] }];
    const log = readFileSync(new URL('../fixtures/synapse-1.4.0/worker_rec.conn1.log', import.meta.url), 'utf8');
    const live = new Set<StreamName>();
    for (const entry of log.split('\n')) {
      const [, direction, line] = /^\d+ +[\d.]+ ([<>]) (.*)$/.exec(entry) ?? [];
      if (direction === '>') {
        if (turns.at(-1)!.rows.length > 0) turns.push({ lines: [], rows: [] });
        turns.at(-1)!.lines.push(line!);
      }
      const [, position] = /^POSITION (\S+)/.exec(line ?? '') ?? [];
      if (direction === '<' && position !== undefined) live.add(position);
      const [, stream, json] = /^RDATA (\S+) \S+ (.*)$/.exec(line ?? '') ?? [];
      if (direction === '<' && stream !== undefined && live.has(stream))
        turns.at(-1)!.rows.push({ stream, row: JSON.parse(json!) });
    }
    return turns;
  }

  test('it gets every row, and no ERROR', async () => {
    const capture = readCapture('worker_rec.conn1');
    const { command, connect, admin } = await servePrimary('--synapse', '--name', 'localhost:8823');
    const append = async (stream: StreamName, rows: readonly unknown[]): Promise<void> => {
      const answer = await fetch(`http://${admin}/streams/${stream}/rows`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
      });
      expect(answer.status, await answer.text()).toBe(200);
    };
    const turns = conversation();
    const live = turns.flatMap(({ rows }) => rows);
    const rowsIn = (stream: StreamName): unknown[] =>
      capture.expected.flatMap((output) => ('stream' in output && output.stream === stream ? output.rows : []));
    // Our tokens count from 1. The streams begin where the worker left off, followed by its missed
    // rows.
    const wanted = new Map<StreamName, unknown[]>();
    for (const { stream, from } of capture.requests) {
      const all = rowsIn(stream);
      const caughtUp = all.slice(0, all.length - live.filter((row) => row.stream === stream).length);
      const [any] = all;
      if (any !== undefined) await append(stream, [...Array.from({ length: from as number }, () => any), ...caughtUp]);
      wanted.set(stream, all);
    }
    const [host, port] = connect.split(':');
    const socket = connectSocket(Number(port), host);
    onTestFinished(() => void socket.destroy());
    let heard = '';
    let handleHeard = (): void => {};
    socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      handleHeard();
    });
    const hears = async (isEnough: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        handleHeard = () => {
          if (isEnough()) resolve();
        };
        handleHeard();
      });
    const heardRows = (stream: StreamName): unknown[] =>
      heard
        .split('\n')
        .slice(0, -1)
        .filter((line) => line.startsWith(`RDATA ${stream} `))
        .map((line) => JSON.parse(line.slice(line.indexOf(' ', `RDATA ${stream} `.length) + 1)) as unknown);
    let expectedLive = 0;
    const total = (): number => [...wanted.keys()].reduce((sum, stream) => sum + heardRows(stream).length, 0);
    const caughtUpTotal = [...wanted.values()].reduce((sum, rows) => sum + rows.length, 0) - live.length;
    for (const { lines, rows } of turns) {
      socket.write(lines.map((line) => `${line}\n`).join(''));
      for (const { stream, row } of rows) await append(stream, [row]);
      expectedLive += rows.length;
      await hears(() => total() >= caughtUpTotal + expectedLive);
    }
    expect(heard).not.toContain('ERROR');
    for (const [stream, rows] of wanted) expect(heardRows(stream), stream).toEqual(rows);
    expect(heard.split('\n').filter((line) => line.startsWith('POSITION '))).toHaveLength(capture.requests.length);
    // What it said was understood.
    await command.saw(/@\S+ started to sync/);
    expect(command.err).toMatch(/worker 1 \(\S+\): USER_SYNC @\S+ start/);
    expect(command.err).not.toMatch(/syt_|access_token/i);
    expect(await command.stop()).toBe(0);
  });
});
