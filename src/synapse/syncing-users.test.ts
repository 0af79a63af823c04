import { once } from 'node:events';
import { expect, test } from 'vitest';
import { readCapture } from '../../test/support/captures.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import { decodeCommand } from '../core/wire/codec.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import type { Worker } from '../worker/worker.ts';
import { type SyncingUsers, trackSyncingUsers } from './syncing-users.ts';

interface Setup {
  readonly primary: Primary;
  readonly syncing: SyncingUsers;
  readonly story: string[];
  readonly worker: (name: string) => Promise<Worker>;
}

async function setUp(): Promise<Setup> {
  const deployment = deploy();
  const primary = await deployment.primary({ streams: [defineStream('events')] });
  const syncing = trackSyncingUsers(primary);
  const story: string[] = [];
  syncing.on('started', ({ userId, lastSyncMs }) => story.push(`${userId} started ${lastSyncMs}`));
  syncing.on('stopped', ({ userId, lastSyncMs }) => story.push(`${userId} stopped ${lastSyncMs}`));
  const worker = async (name: string): Promise<Worker> => {
    const made = deployment.worker({ name });
    await made.start();
    return made;
  };
  return { primary, syncing, story, worker };
}

const sync = (userId: string, state: 'start' | 'end', lastSyncMs: number): UpstreamCommand => ({
  name: 'USER_SYNC',
  userId,
  state,
  lastSyncMs,
});

test('a user syncs from the first start to the last end, whichever workers say so', async () => {
  const { syncing, story, worker } = await setUp();
  const [a, b] = [await worker('a'), await worker('b')];
  a.send(sync('@u:x', 'start', 10));
  await settle();
  b.send(sync('@u:x', 'start', 20));
  await settle();
  expect(syncing.users()).toEqual([{ userId: '@u:x', lastSyncMs: 20 }]);
  expect([syncing.usersOf(1), syncing.usersOf(2), syncing.usersOf(3)]).toEqual([['@u:x'], ['@u:x'], []]);
  a.send(sync('@u:x', 'end', 15));
  await settle();
  expect(syncing.isSyncing('@u:x')).toBe(true);
  expect(syncing.lastSyncMs('@u:x'), 'the highest that was heard').toBe(20);
  b.send(sync('@u:x', 'end', 30));
  await settle();
  expect(syncing.isSyncing('@u:x')).toBe(false);
  expect(syncing.lastSyncMs('@u:x')).toBeUndefined();
  expect(story).toEqual(['@u:x started 10', '@u:x stopped 30']);
});

test('a lost connection ends what its worker said, and no more', async () => {
  const { primary, syncing, story, worker } = await setUp();
  const [a, b] = [await worker('a'), await worker('b')];
  a.send(sync('@both:x', 'start', 1));
  a.send(sync('@a:x', 'start', 2));
  await settle();
  b.send(sync('@both:x', 'start', 3));
  await settle();
  const gone = once(primary, 'disconnected');
  await a.stop();
  await gone;
  expect(syncing.users()).toEqual([{ userId: '@both:x', lastSyncMs: 3 }]);
  expect(story).toEqual(['@both:x started 1', '@a:x started 2', '@a:x stopped 2']);
});

test('a start again and an end without a start change nothing', async () => {
  const { story, worker } = await setUp();
  const a = await worker('a');
  a.send(sync('@u:x', 'end', 1));
  a.send(sync('@u:x', 'start', 2));
  a.send(sync('@u:x', 'start', 1));
  a.send(sync('@u:x', 'end', 0));
  a.send(sync('@u:x', 'end', 9));
  await settle();
  expect(story).toEqual(['@u:x started 2', '@u:x stopped 2']);
});

test('what the recorded synchrotron said is understood', async () => {
  const { syncing, story, worker } = await setUp();
  const a = await worker('synchrotron');
  for (const line of readCapture('worker_rec.conn1').lines.worker.filter((said) => said.startsWith('USER_SYNC ')))
    a.send(decodeCommand(line, 'worker', 'seed') as UpstreamCommand);
  await settle();
  expect(story).toHaveLength(4);
  expect(syncing.users()).toEqual([]);
});

test('once closed it follows no more', async () => {
  const { syncing, story, worker } = await setUp();
  const a = await worker('a');
  syncing.close();
  a.send(sync('@u:x', 'start', 1));
  await settle();
  expect([story, syncing.users()]).toEqual([[], []]);
});
