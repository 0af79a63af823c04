import { expect, test } from 'vitest';

import { type Flooded, flood, type Form, formsOf } from '../../../test/support/flood.ts';
import { MemoryStreams } from '../../../test/support/memory-streams.ts';
import { bytesOf, T0 } from '../../../test/support/session-outputs.ts';
import { ERA, ROWCAST } from '../../../test/support/worker-ends.ts';
import { seededRandom } from '../../base/random.ts';
import { Follower } from '../follow/follower.ts';
import { defaultPrimaryLimits, defaultWorkerLimits } from '../wire/limits.ts';
import type { Side } from '../wire/command.ts';
import { PrimarySession } from './primary-session.ts';

/** The longest that a megabyte of input may keep everything else waiting. */
const MAX_MS = 50;
/** So it is counted, too: a busy machine makes time an unsure measure. */
const MAX_OUTPUTS = 8_000;
/** The least of some tries counts: another process may have had the processor meanwhile. */
const TRIES = 6;

function expectShort(make: () => Flooded, form: Form): void {
  const { what, row } = form;
  let least = Infinity;
  for (let i = 0; i < TRIES && least > MAX_MS; i++) {
    const { ms, outputs } = flood(make(), T0, form);
    expect(outputs, `outputs of one turn of ${what}`).toBeLessThan(MAX_OUTPUTS);
    least = Math.min(least, ms - parseMs(row));
  }
  expect(least, `ms of one turn of ${what}`).toBeLessThan(MAX_MS);
}

function parseMs(row: string | undefined): number {
  const began = performance.now();
  try {
    if (row !== undefined) JSON.parse(row);
  } catch {
    // As long as it takes to find that out.
  }
  return performance.now() - began;
}

const namesOf = (streams: number): string[] => Array.from({ length: streams }, (_, i) => `s${i}`);

/** A session whose peer takes every answer at once, before the flood. */
function primaryOf(streams: MemoryStreams, { before = [] }: Form): Flooded {
  const session = new PrimarySession({
    serverName: 'example.com',
    slowConsumer: 'disconnect',
    trimmed: 'serve',
    streams,
    limits: defaultPrimaryLimits,
  });
  let isPaused = false;
  const machine: Flooded = {
    get isPaused() {
      return isPaused;
    },
    handleBytes: (chunk) => session.handleBytes(T0, chunk),
    nextTimeout: () => session.nextTimeout(),
    handleTimeout: () => session.handleTimeout(T0),
    poll() {
      let count = 0;
      for (let output = session.pollOutput(); output !== undefined; output = session.pollOutput()) {
        count++;
        if (output.kind === 'transmit') session.handleDrained(T0);
        else if (output.kind === 'judge') {
          session.handleVerdict(T0, output, streams.get(output.position.stream)!.judge(output.position));
        } else if (output.kind === 'read') {
          session.handlePage(T0, output, streams.get(output.stream)!.read(output.after, output.maxBytes));
        } else if (output.kind === 'pause' || output.kind === 'resume') isPaused = output.kind === 'pause';
      }
      return count;
    },
  };
  session.handleOpen(T0);
  session.handleBytes(T0, bytesOf(...before));
  machine.poll();
  return machine;
}

/** A follower whose application applies everything at once, before the flood. */
function workerOf(streams: readonly string[], { before = [] }: Form): Flooded {
  const follower = new Follower({
    workerName: 'reader-1',
    wantsAttributes: true,
    limits: defaultWorkerLimits,
    random: seededRandom(1),
  });
  let isPaused = false;
  const machine: Flooded = {
    get isPaused() {
      return isPaused;
    },
    handleBytes: (chunk) => follower.handleBytes(T0, chunk),
    nextTimeout: () => follower.nextTimeout(),
    handleTimeout: () => follower.handleTimeout(T0),
    poll() {
      let count = 0;
      for (let output = follower.pollOutput(T0); output !== undefined; output = follower.pollOutput(T0)) {
        count++;
        if (output.kind === 'pause' || output.kind === 'resume') isPaused = output.kind === 'pause';
        if (output.kind !== 'ready') continue;
        const { subscription } = output;
        for (let item = subscription.delivery.take(); item !== undefined; item = subscription.delivery.take()) {
          subscription.finish(item, true);
          follower.handleApplied(T0, subscription, item.cost);
        }
      }
      return count;
    },
  };
  for (const stream of streams) follower.handleSubscribe(T0, { stream, from: 'now', onReset: 'now' });
  follower.handleStart(T0);
  follower.handleOpen(T0);
  const positions = streams.map((stream) => `POSITION ${stream} 1 ${ERA}`);
  for (const line of ['SERVER example.com', `PING ${ROWCAST}`, ...positions, ...before]) {
    follower.handleBytes(T0, bytesOf(line));
    machine.poll();
    if ((follower.nextTimeout() ?? Infinity) <= T0) follower.handleTimeout(T0);
    machine.poll();
  }
  return machine;
}

/** With very many streams, those of commands about streams. */
function formsFor(side: Side, streams: number): Form[] {
  const all = formsOf(side, streams);
  return streams === 14 ? all : all.filter(({ what }) => /stream|ALL|NAME|ERA|RDATA,/.test(what));
}

// SPEC B14
test('a megabyte of any command, in any form, keeps a primary busy for 50 ms at most', { timeout: 60_000 }, () => {
  for (const count of [14, 2_000]) {
    const streams = new MemoryStreams(...namesOf(count));
    for (const stream of namesOf(count)) streams.append(stream, 1);
    for (const form of formsFor('worker', count)) expectShort(() => primaryOf(streams, form), form);
  }
});

// SPEC B15
test('a megabyte of any command, in any form, keeps a worker busy for 50 ms at most', { timeout: 60_000 }, () => {
  for (const count of [14, 2_000]) {
    for (const form of formsFor('primary', count)) expectShort(() => workerOf(namesOf(count), form), form);
  }
});

test('the end of a turn stops reading at once, on either side, and the next turn begins it again', () => {
  const form = { what: 'SYNC', text: 'SYNC a\n'.repeat(8_000) };
  for (const machine of [primaryOf(new MemoryStreams('s0'), form), workerOf(['s0'], form)]) {
    machine.handleBytes(Buffer.from(form.text));
    machine.poll();
    expect(machine.isPaused).toBe(true);
    for (let turns = 0; machine.isPaused && turns < 20; turns++) {
      machine.handleTimeout();
      machine.poll();
    }
    expect(machine.isPaused).toBe(false);
  }
});
