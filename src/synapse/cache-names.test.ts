import { once } from 'node:events';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy } from '../../test/support/deployment.ts';
import {
  type Caches,
  createCaches,
  type InvalidationRow,
  type PrimaryCaches,
  type WorkerCaches,
} from '../cache/index.ts';
import type { Worker } from '../worker/worker.ts';
import { csCacheFake, type SynapseCacheKeys, type SynapseCacheName, synapseCacheNames } from './cache-names.ts';
import { caches as stream } from './plain-streams.ts';
import { synapseStreams } from './streams.ts';

const ROOM = '!room:a.example';
const OTHER = '!other:a.example';
const members = (count: number): string[] => Array.from({ length: count }, (_, i) => `@user${i}:a.example`);

/** Caches with these entries; answers which of them are left. */
async function filled(
  caches: Caches<unknown>,
  entries: readonly (readonly [name: string, ...keys: string[]])[],
): Promise<() => string[]> {
  const found = new Map<string, (...keys: string[]) => string | undefined>();
  for (const [name, ...keys] of entries) {
    if (found.has(name)) continue;
    const cache = caches.cached(name, { arity: keys.length }, async (...loaded: string[]) => loaded.join(' '));
    await cache.prefill(() => entries.filter(([other]) => other === name).map(([, ...its]) => [its, 'kept']));
    found.set(name, cache.peek);
  }
  return () =>
    entries.filter(([name, ...keys]) => found.get(name)!(...keys) !== undefined).map((entry) => entry.join(' '));
}

const dropped = [
  ['is_host_joined', ROOM, 'a.example'],
  ['is_host_joined', ROOM, 'b.example:8448'],
  ['was_host_joined', ROOM, 'a.example'],
  ['was_host_joined', ROOM, 'b.example:8448'],
  ['get_users_in_room', ROOM],
  ['get_room_summary', ROOM],
  ['get_current_state_ids', ROOM],
] as const;
const kept = [
  ['is_host_joined', ROOM, 'c.example'],
  ['was_host_joined', ROOM, 'c.example'],
  ['is_host_joined', OTHER, 'a.example'],
  ['get_users_in_room', OTHER],
  ['get_room_summary', OTHER],
  ['get_current_state_ids', OTHER],
  ['get_aliases_for_room', ROOM],
] as const;
const keptNames = kept.map((entry) => entry.join(' '));

interface Setup {
  readonly onPrimary: PrimaryCaches;
  readonly worker: Worker;
  readonly onWorker: WorkerCaches;
  /** Follows the rows that a worker is sent. */
  readonly rows: Collector<InvalidationRow>;
}

async function setUp(): Promise<Setup> {
  const deployment = deploy();
  const primary = await deployment.primary({ streams: synapseStreams() });
  const worker = deployment.worker();
  const reader = deployment.worker({ name: 'reader-2' });
  const rows = new Collector<InvalidationRow>();
  reader.subscribe(stream, { from: 'now' }, rows.handler);
  const ends = { onPrimary: createCaches(primary), onWorker: createCaches(worker) };
  for (const caches of Object.values(ends)) csCacheFake(caches);
  await Promise.all([worker.start(), reader.start()]);
  return { ...ends, worker, rows };
}

describe('cs_cache_fake', () => {
  test('drops what depends on the state of the room and the hosts of the members, on both ends, by one row', async () => {
    const { onPrimary, onWorker, worker, rows } = await setUp();
    const left = [await filled(onPrimary, [...dropped, ...kept]), await filled(onWorker, [...dropped, ...kept])];
    const keys = [ROOM, '@one:a.example', '@two:a.example', '@three:b.example:8448'];
    await worker.waitFor(await onPrimary.invalidate('cs_cache_fake', keys));
    expect(left.map((names) => names())).toEqual([keptNames, keptNames]);
    await rows.reached(1);
    expect(rows.rows).toEqual([['cs_cache_fake', keys, expect.any(Number)]]);
  });

  test('with no members drops what has the room for its key, and no host', async () => {
    const { onPrimary } = await setUp();
    const left = await filled(onPrimary, dropped);
    await onPrimary.invalidate('cs_cache_fake', [ROOM]);
    expect(left()).toEqual(dropped.slice(0, 4).map((entry) => entry.join(' ')));
  });

  test('stands for each host once', async () => {
    const { onPrimary } = await setUp();
    const left = await filled(onPrimary, dropped);
    await onPrimary.invalidate('cs_cache_fake', [ROOM, ...members(40)]);
    expect(left()).toEqual([
      'is_host_joined !room:a.example b.example:8448',
      'was_host_joined !room:a.example b.example:8448',
    ]);
    expect(onPrimary.stats().caches['is_host_joined']).toMatchObject({ invalidationsByKey: 1 });
  });

  test.each<[number, number[]]>([
    [50, [50]],
    [51, [50, 1]],
    [120, [50, 50, 20]],
  ])('of %i members is cut into rows of %j, each with the room', async (count, sizes) => {
    const { onPrimary, rows } = await setUp();
    await onPrimary.invalidate('cs_cache_fake', [ROOM, ...members(count)]);
    await rows.reached(1);
    expect(rows.rows.map(([, keys]) => keys!.length - 1)).toEqual(sizes);
    expect(rows.rows.map(([, keys]) => keys![0])).toEqual(sizes.map(() => ROOM));
    expect(rows.rows.flatMap(([, keys]) => keys!.slice(1))).toEqual(members(count));
  });

  test('does not pass over a member that has no host: both ends drop everything, and say so', async () => {
    const { onPrimary, onWorker, worker } = await setUp();
    const left = [await filled(onPrimary, kept), await filled(onWorker, kept)];
    const reported = once(worker, 'error');
    const why = { code: 'GROUP_FAILED', message: expect.stringContaining('nobody is no user id, expected @name:host') };
    await expect(onPrimary.invalidate('cs_cache_fake', [ROOM, 'nobody'])).rejects.toMatchObject(why);
    expect(await reported).toMatchObject([why]);
    expect(left.map((names) => names())).toEqual([[], []]);
  });
});

test('the caches that Synapse 1.4.0 streams by their own names, and their keys', () => {
  const signatures = Object.entries(synapseCacheNames).map(([name, keys]) => `${name}(${keys.join(',')})`);
  expect(signatures).toEqual([
    'count_e2e_one_time_keys(userId,deviceId)',
    'did_forget(userId,roomId)',
    'get_aliases_for_room(roomId)',
    'get_expiration_ts_for_user(userId)',
    'get_forgotten_rooms_for_user(userId)',
    'get_if_user_has_pusher(userId)',
    'get_user_by_access_token(token)',
    'get_user_by_id(userId)',
    'get_user_deactivated_status(userId)',
    'is_room_blocked(roomId)',
    'is_user_erased(userId)',
  ]);
  expectTypeOf<keyof typeof synapseCacheNames>().toEqualTypeOf<SynapseCacheName>();
  expectTypeOf<SynapseCacheKeys['did_forget']>().toEqualTypeOf<readonly [string, string]>();
});
