/** Workers that send anything, against a primary that serves others meanwhile. */

import { expect, test } from 'vitest';
import { type Random, randomInteger } from '../../src/base/random.ts';
import { defineStreams } from '../../src/core/model/declarations.ts';
import { RowcastError } from '../../src/core/model/errors.ts';
import { defineStream } from '../../src/core/model/stream.ts';
import { memoryLog } from '../../src/log/memory.ts';
import { createPrimary, type Primary } from '../../src/primary/primary.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';
import { captureNames, readCapture } from '../support/captures.ts';
import { garbage, happens, mutated, pick, pieces } from './mutations.ts';
import { ROUNDS_TIMEOUT_MS, runRounds } from './rounds.ts';
import { Hand, Stage } from './stage.ts';

const ADDRESS = { path: '/primary' };
const captures = captureNames.map((name) => readCapture(name).lines.worker);
const limits = { maxLineBytes: 2_000, maxBatchBytes: 20_000, pageBytes: 500, maxReplications: 40, maxLagRows: 10_000 };
/** What may wait for one peer: a page, the answers that wait for it, and lines of the connection itself. */
const MOST_QUEUED_BYTES = 400_000;

test('a peer that sends anything harms nobody but itself', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  await runRounds(round);
});

async function round(random: Random): Promise<void> {
  const stage = new Stage();
  const { clock, transport } = stage;
  const primary = await createPrimary({
    name: 'example.com',
    log: memoryLog({ clock, random }),
    streams: [defineStream('events'), defineStream('typing', { durable: false }), defineStreams('room:*')],
    transport,
    clock,
    random,
    limits,
    tailBytes: pick(random, [0, 2_000, 1_000_000]),
    slowConsumer: pick(random, ['disconnect', 'catch-up']),
  });
  const faults: unknown[] = [];
  primary.on('warning', ({ error }) => {
    if (!(error instanceof RowcastError)) faults.push(error);
  });
  primary.on('error', (error) => faults.push(error));
  if (happens(random, 0.5)) primary.on('command', () => {});
  await primary.listen(ADDRESS);
  const sent: unknown[] = [];
  const append = async (): Promise<void> => {
    const stream = pick(random, ['events', 'typing', 'room:1', 'room:2']);
    const rows = Array.from({ length: randomInteger(random, 1, 3) }, () => [
      sent.length,
      'x'.repeat(randomInteger(random, 0, 300)),
    ]);
    if (stream === 'events') sent.push(...rows);
    await primary.append(stream, rows);
  };
  for (let i = 0; i < 15; i++) await append();

  const healthy = reader(stage, 'healthy');
  await stage.during('the healthy worker starts', healthy.worker.start());
  const hands: Hand[] = [];
  for (let i = randomInteger(random, 1, 3); i > 0; i--) hands.push(new Hand(transport, ADDRESS));
  await stage.pass(0);
  for (let step = randomInteger(random, 2, 12); step > 0; step--) {
    const hand = pick(random, hands);
    await act(random, stage, primary, hand);
    if (happens(random, 0.5)) await append();
    for (const { queueBytes } of primary.status().connections) expect(queueBytes).toBeLessThan(MOST_QUEUED_BYTES);
  }

  for (const hand of hands) await endOf(random, stage, hand);
  await append();
  await stage.until('the healthy worker has every row', () => healthy.rows.length >= sent.length);
  expect(healthy.rows).toEqual(sent);
  await stage.until('the others are gone', () => primary.status().connections.length === 1);
  const later = reader(stage, 'later');
  await stage.during('a later worker starts', later.worker.start());
  expect(later.rows).toEqual(sent);
  for (const { worker } of [healthy, later]) await stage.during('a worker stops', worker.stop());
  await stage.during('the primary closes', primary.close());
  await stage.pass(0);
  expect(clock.waiting, 'timers that are left').toBe(0);
  expect(faults).toEqual([]);
}

function reader({ clock, transport }: Stage, name: string): { readonly worker: Worker; readonly rows: unknown[] } {
  const worker = createWorker({ name, connect: ADDRESS, transport, clock });
  const rows: unknown[] = [];
  worker.subscribe('events', { from: 'start' }, (batch) => void rows.push(...batch.rows));
  worker.subscribeMatching('room:*', { from: 'start' }, () => {});
  return { worker, rows };
}

async function act(random: Random, stage: Stage, primary: Primary, hand: Hand): Promise<void> {
  const { connection } = hand;
  switch (randomInteger(random, 0, 9)) {
    case 0:
      return await stage.pass(pick(random, [10, 1_000, 6_000, 20_000, 70_000]));
    case 1:
      if (hand.isPaused) hand.resume();
      else hand.pause();
      return;
    case 2:
      return pick(random, [
        () => stage.transport.cut(connection),
        () => connection.close(),
        ...Array.from({ length: 6 }, () => () => {}),
      ])();
    default:
      for (const piece of pieces(random, bytesOf(random, primary))) {
        connection.write(piece);
        if (happens(random, 0.1)) await stage.pass(0);
      }
      return await stage.pass(0);
  }
}

function bytesOf(random: Random, primary: Primary): Uint8Array {
  const probability = pick(random, [0, 0.02, 0.1, 0.5]);
  switch (randomInteger(random, 0, 5)) {
    case 0:
      return garbage(random);
    case 1: {
      const lines = pick(random, captures);
      const from = randomInteger(random, 0, lines.length);
      return mutated(random, lines.slice(from, from + 40), probability);
    }
    case 2:
      return Buffer.from(
        `${pick(random, ['REPLICATE ALL NOW', 'REPLICATE events NOW', 'RELEASE events', 'SYNC x'])}\n`.repeat(500),
      );
    default:
      return mutated(random, dialogue(random, primary), probability);
  }
}

/** Lines of a worker that knows what it does. */
function dialogue(random: Random, primary: Primary): string[] {
  const lines = [pick(random, ['PING 1 rowcast/2', 'PING 1 rowcast/2 attr', 'PING 1490197665618']), 'NAME fuzz'];
  for (let i = randomInteger(random, 1, 12); i > 0; i--) {
    const stream = pick(random, [
      'events',
      'typing',
      'room:1',
      'room:2',
      'room:3',
      '$streams',
      '$streams.volatile',
      'nosuch',
    ]);
    const { token, history } =
      stream === 'nosuch' || stream.startsWith('$') ? primary.position('events') : primary.position(stream);
    const earlier = randomInteger(random, 0, token);
    lines.push(
      pick(random, [
        `REPLICATE ${stream} ${earlier} ${history}`,
        `REPLICATE ${stream} ${earlier}`,
        `REPLICATE ${stream} START`,
        `REPLICATE ${stream} NOW`,
        `REPLICATE ALL ${pick(random, ['NOW', 'START', '0'])}`,
        `RELEASE ${stream}`,
        `RELEASE ${stream}\nREPLICATE ${stream} ${earlier} ${history}`,
        `APPLIED ${stream} ${token} ${pick(random, ['NONE', String(earlier)])}`,
        'PING 2',
        'USER_SYNC @a:b start 5',
        'USER_IP @a:b ["token","1.2.3.4","curl",null,5]',
        'FEDERATION_ACK 5',
        'INVALIDATE_CACHE get_user ["@a:b"]',
        'REMOVE_PUSHER app key @a:b',
        'ERROR I give up',
      ]),
    );
  }
  return lines;
}

/** A peer that breaks the protocol is told so, and its connection ends. */
async function endOf(random: Random, stage: Stage, hand: Hand): Promise<void> {
  const { connection } = hand;
  if (hand.isPaused) hand.resume();
  await stage.pass(0);
  if (!hand.isOver && happens(random, 0.7)) {
    connection.write(Buffer.from('\nNONSENSE\n'));
    await stage.pass(2_000);
    const { lines } = hand;
    if (!hand.wasPaused) expect(lines.at(-1), 'the last line to a peer that talks nonsense').toMatch(/^ERROR ./);
    expect(lines.filter((line) => line.startsWith('ERROR ')).length).toBeLessThan(2);
    expect(hand.isOver, 'its connection to be over').toBe(true);
  } else connection.abort();
}
