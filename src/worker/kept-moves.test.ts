/** Positions that handlers store, and what becomes of them when no batch comes. */

import { expect, test } from 'vitest';
import { Gate } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { defineStream, type StreamName } from '../core/model/stream.ts';
import { defineStreams } from '../core/model/declarations.ts';
import type { Position } from '../core/model/position.ts';
import { applyChanges, type Checkpoint } from './checkpoint.ts';
import type { BatchHandler } from './subscription.ts';

/** A table of positions as an application keeps it: its handler stores those of batches. */
function table(): {
  places: Map<StreamName, Position>;
  checkpoint: Checkpoint;
  seen: unknown[];
  handler: BatchHandler;
} {
  const places = new Map<StreamName, Position>();
  const seen: unknown[] = [];
  return {
    places,
    seen,
    checkpoint: {
      load: async () => new Map(places),
      saveMoves: async (changed) => applyChanges(places, changed),
    },
    handler: ({ stream, rows, position }) => {
      seen.push(...rows);
      places.set(stream, position);
    },
  };
}

// SPEC D16
test('a subscription that its primary ends leaves the stored position, so that the next start tells why again', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineStream('events')] });
  const { places, checkpoint } = table();
  const first = await server.append('events', [1]);
  places.set('events', first);
  for (const row of [2, 3]) await server.append('events', [row]);
  await server.trim('events', 2);
  for (let start = 1; start <= 2; start++) {
    const reader = worker({ checkpoint });
    reader.subscribe('events', { from: 'checkpoint', fallback: 'start' }, () => {});
    await expect(reader.start()).rejects.toMatchObject({ code: 'GAP' });
    await reader.stop();
    expect(places.get('events')).toEqual(first);
  }
});

test.each(['by name', 'by pattern'])(
  'a stream that is deleted and made again while nobody follows it is told as RESET at the next start (%s)',
  async (how) => {
    const { primary, worker } = deploy();
    const server = await primary({ streams: [defineStreams('room:*')] });
    const { places, checkpoint, handler, seen } = table();
    await server.append('room:1', ['old']);
    const start = async (): Promise<string[]> => {
      const told: string[] = [];
      const reader = worker({ checkpoint });
      reader.on('reset', ({ stream, error }) => told.push(`${stream} ${error.code}`));
      const options = { from: 'checkpoint', fallback: 'start', onReset: 'earliest' } as const;
      if (how === 'by name') reader.subscribe('room:1', options, handler);
      else reader.subscribeMatching('room:*', options, handler);
      await reader.start();
      await settle();
      await reader.stop();
      return told;
    };
    expect(await start()).toEqual([]);
    // This worker follows another stream, so it does not touch the place of the deleted one.
    const other = worker({ checkpoint });
    await server.append('room:2', ['other']);
    other.subscribe('room:2', { from: 'now' }, handler);
    await other.start();
    await server.delete('room:1');
    await settle();
    await other.stop();
    expect(places.get('room:1')?.token).toBe(1);
    await server.append('room:1', ['new']);
    expect(await start()).toEqual(['room:1 RESET']);
    expect(seen.filter((row) => row !== 'other')).toEqual(['old', 'new']);
    expect(await start()).toEqual([]);
  },
);

// SPEC D17
test('a save that is late does not overwrite those of the next worker: it reads the checkpoint after it, and no further one begins', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineStream('events'), defineStream('others')] });
  const stored = new Map<StreamName, Position>();
  const log: string[] = [];
  const slow = new Gate();
  let isSlow = true;
  let saves = 0;
  const checkpoint: Checkpoint = {
    load: async () => {
      log.push('load');
      return new Map(stored);
    },
    save: async (changed) => {
      const text = [...changed].map(([stream, position]) => `${stream} ${position?.token}`).join();
      saves++;
      if (isSlow) await slow.opened;
      log.push(text);
      applyChanges(stored, changed);
    },
  };
  const former = worker({ checkpoint });
  former.on('error', () => {});
  const options = { from: 'checkpoint', fallback: 'start' } as const;
  former.subscribe('events', options, () => {});
  former.subscribe('others', options, () => {});
  await server.append('events', [1]);
  await former.start();
  await expect.poll(() => saves, { interval: 5 }).toBe(1);
  // It moves while that save runs, so another save would follow.
  await former.waitFor(await server.append('others', [1]));
  await expect(former.stop({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'STOP_TIMEOUT' });
  const later = worker({ checkpoint });
  later.subscribe('events', options, () => {});
  const started = later.start();
  await settle();
  expect(log).toEqual(['load']);
  isSlow = false;
  slow.open();
  await started;
  expect(log).toEqual(['load', 'events 1,others 0', 'load']);
  await later.waitFor(await server.append('events', [2]));
  await later.stop();
  expect(log.slice(3)).toEqual(['events 2']);
});
