import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Collector } from '../../test/support/collector.ts';
import { deploy, settle } from '../../test/support/deployment.ts';
import { LogError, type RowcastError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import type { Primary } from '../primary/primary.ts';
import type { PrimaryOptions } from '../primary/options.ts';
import type { Worker } from '../worker/worker.ts';
import { createCaches, defineCachesStream, type InvalidationRow, type PrimaryCaches } from './index.ts';

const NOW = 1_550_574_873_251;

interface Setup {
  readonly primary: Primary;
  readonly caches: PrimaryCaches;
  /** Follows the rows that a worker is sent. */
  readonly rows: Collector<InvalidationRow>;
  readonly reader: Worker;
}

async function setUp(options: Partial<PrimaryOptions> = {}): Promise<Setup> {
  const deployment = deploy();
  const stream = defineCachesStream();
  const primary = await deployment.primary({ streams: [stream], ...options });
  const caches = createCaches(primary, {
    clock: { now: () => NOW + 0.5, wallNow: () => NOW + 0.5, wakeIn: () => ({ cancel: () => {} }) },
  });
  const reader = deployment.worker();
  const rows = new Collector<InvalidationRow>();
  reader.subscribe(stream, { from: 'now' }, rows.handler);
  await reader.start();
  return { primary, caches, rows, reader };
}

/** A cache with one entry, `a`. */
async function filled(caches: PrimaryCaches, name = 'get_user') {
  const get = caches.cached(name, async (id: string) => id.toUpperCase());
  await get('a');
  return get;
}

test('an invalidation drops the entry here at once, and is a row whose position it resolves to', async () => {
  const { caches, rows, reader } = await setUp();
  const getUser = await filled(caches);
  const invalidated = getUser.invalidate('a');
  expect(getUser.peek('a')).toBeUndefined();
  const position = await invalidated;
  await reader.waitFor(position);
  expect(rows.batches).toEqual([{ stream: 'caches', token: 1, position, rows: [['get_user', ['a'], NOW]] }]);
});

test('a whole cache, a prefix and a name that is not known here are rows too; numbers are written as text', async () => {
  const { caches, rows, reader } = await setUp();
  await caches.invalidateAll('get_user');
  await caches.invalidate('elsewhere', ['!room', 5, true]);
  await reader.waitFor(await caches.invalidate('count', []));
  expect(rows.rows).toEqual([
    ['get_user', null, NOW],
    ['elsewhere', ['!room', '5', 'true'], NOW],
    ['count', [], NOW],
  ]);
});

test.each<[string, (caches: PrimaryCaches) => Promise<unknown>, string]>([
  ['a key with a NUL', (caches) => caches.invalidate('c', ['a\0']), 'INVALID_KEY'],
  ['half a character', (caches) => caches.invalidate('c', ['\ud800']), 'INVALID_KEY'],
  ['a key that is none', (caches) => caches.invalidate('c', [{} as string]), 'INVALID_KEY'],
  ['a name with a space', (caches) => caches.invalidate('a b', ['x']), 'INVALID_OPTION'],
  ['a name that is empty', (caches) => caches.invalidateAll(''), 'INVALID_OPTION'],
  ['a key that fits no line', (caches) => caches.invalidate('c', ['x'.repeat(2_000)]), 'ROW_TOO_LARGE'],
])('%s is refused, and no row is appended', async (_what, invalidate, code) => {
  const { primary, caches } = await setUp({ limits: { maxLineBytes: 1_000 } });
  await expect(invalidate(caches)).rejects.toMatchObject({ name: 'UsageError', code });
  expect(primary.position(caches.stream).token).toBe(0);
});

describe('a batch', () => {
  test('is one batch of all that is invalidated while its function runs, batches inside it too', async () => {
    const { caches, rows, reader } = await setUp();
    const getUser = await filled(caches);
    const inner: unknown[] = [];
    const position = await caches.batch(() => {
      inner.push(getUser.invalidate('a'), caches.invalidateAll('rooms'));
      void caches.batch(() => void caches.invalidate('count', []));
      expect(getUser.peek('a')).toBeUndefined();
    });
    await expect(Promise.all(inner)).resolves.toEqual([position, position]);
    await reader.waitFor(position);
    expect(rows.batches.map((batch) => batch.rows.length)).toEqual([3]);
    await caches.invalidate('later', []);
    expect(position.token).toBe(1);
  });

  test('of nothing resolves to the position of the stream', async () => {
    const { caches } = await setUp();
    const position = await caches.invalidate('c', []);
    await expect(caches.batch(() => {})).resolves.toEqual(position);
  });

  test('whose function throws is appended as far as it came, and rejects with what was thrown', async () => {
    const { primary, caches } = await setUp();
    const failing = caches.batch(() => {
      void caches.invalidate('c', []);
      throw new Error('oops');
    });
    await expect(failing).rejects.toThrow('oops');
    expect(primary.position(caches.stream).token).toBe(1);
  });

  test('with a key that is refused appends the rest, and rejects', async () => {
    const { caches, rows, reader, primary } = await setUp();
    const failing = caches.batch(() => {
      void caches.invalidate('c', ['a\0']);
      void caches.invalidate('c', ['b']);
    });
    await expect(failing).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await reader.waitFor(primary.position(caches.stream));
    expect(rows.rows).toEqual([['c', ['b'], NOW]]);
  });

  test('of an asynchronous function that rejects leaves no rejection behind', async () => {
    const { caches } = await setUp();
    const fill: () => unknown = async () => Promise.reject(new Error('oops'));
    await expect(caches.batch(fill)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await settle();
  });

  test('does not wait for a function that is asynchronous, and says so', async () => {
    const { caches } = await setUp();
    const fill: () => unknown = async () => {};
    await expect(caches.batch(fill)).rejects.toMatchObject({ name: 'UsageError', code: 'INVALID_OPTION' });
  });
});

describe('a group', () => {
  const withGroup = async (): Promise<Setup> => {
    const setup = await setUp();
    setup.caches.group(
      'room',
      ([room, ...members]) => [['users_in', [room]], ...members.map((member) => ['is_in', [room, member]] as const)],
      {
        chunk: { head: 1, size: 2 },
      },
    );
    return setup;
  };

  test('drops here what it stands for, and is cut into rows of one batch', async () => {
    const { caches, rows, reader } = await withGroup();
    const usersIn = caches.cached('users_in', async (room: string) => [room]);
    await usersIn('!r');
    const position = await caches.invalidate('room', ['!r', '@a:x', '@b:x', '@c:x']);
    expect(usersIn.peek('!r')).toBeUndefined();
    await reader.waitFor(position);
    expect(rows.batches).toHaveLength(1);
    expect(rows.rows.map(([name, keys]) => [name, keys])).toEqual([
      ['room', ['!r', '@a:x', '@b:x']],
      ['room', ['!r', '@c:x']],
    ]);
    expect(caches.stats().unknownNames).toBe(3);
  });

  test('that is cut by the line fills it to the byte, whatever the token will be', async () => {
    const { caches, rows, reader } = await setUp({ limits: { maxLineBytes: 300 } });
    caches.group('g', () => [], { chunk: { head: 1 } });
    const position = await caches.invalidate('g', ['!room', ...Array.from({ length: 100 }, (_, i) => `@user-${i}:x`)]);
    await reader.waitFor(position);
    expect(rows.rows.flatMap(([, keys]) => keys!.slice(1))).toHaveLength(100);
    expect(rows.rows.length).toBeLessThan(10);
  });

  test('has no whole to be invalidated', async () => {
    const { caches } = await withGroup();
    await expect(caches.invalidateAll('room')).rejects.toMatchObject({ code: 'INVALID_KEY' });
    await expect(caches.invalidate('room', [])).rejects.toMatchObject({ code: 'INVALID_KEY' });
  });

  test('whose function throws clears all caches here, tells the workers all the same, and rejects', async () => {
    const { caches, rows, reader, primary } = await setUp();
    const getUser = await filled(caches);
    caches.group('broken', () => {
      throw new Error('oops');
    });
    await expect(caches.invalidate('broken', ['x'])).rejects.toMatchObject({
      name: 'HandlerError',
      code: 'GROUP_FAILED',
    });
    expect(getUser.peek('a')).toBeUndefined();
    await reader.waitFor(primary.position(caches.stream));
    expect(rows.rows).toEqual([['broken', ['x'], NOW]]);
  });
});

describe('rows that somebody else appends', () => {
  test('drop entries here too', async () => {
    const { primary, caches } = await setUp();
    const getUser = await filled(caches);
    await primary.append('caches', [['get_user', ['a'], NOW]]);
    expect(getUser.peek('a')).toBeUndefined();
    expect(getUser.stats().invalidationsByKey).toBe(1);
  });

  test('drop entries here also when the caller uses its list again at once', async () => {
    const { primary, caches } = await setUp();
    const getUser = await filled(caches);
    const rows: unknown[] = [['get_user', ['a'], NOW]];
    const appended = primary.append('caches', rows);
    rows.length = 0;
    await appended;
    expect(getUser.peek('a')).toBeUndefined();
  });

  test('are refused when they are no invalidations', async () => {
    const { primary } = await setUp();
    await expect(primary.append('caches', [['get_user', [5], NOW]])).rejects.toMatchObject({
      name: 'UsageError',
      code: 'INVALID_ROW',
    });
  });

  test('of a group whose function throws clear all caches here, and are an error of the primary', async () => {
    const { primary, caches } = await setUp();
    const getUser = await filled(caches);
    caches.group('broken', () => {
      throw new Error('oops');
    });
    const failed = once(primary, 'error') as Promise<[RowcastError]>;
    await primary.append('caches', [['broken', ['x'], NOW]]);
    expect((await failed)[0]).toMatchObject({ name: 'HandlerError', code: 'GROUP_FAILED' });
    expect(getUser.peek('a')).toBeUndefined();
  });

  test('count once when they are our own', async () => {
    const { caches } = await setUp();
    const getUser = await filled(caches);
    await getUser.invalidate('a');
    expect(getUser.stats().invalidationsByKey).toBe(1);
  });

  test('drop what they say, though the caller changes them, and a listener changes what it is told', async () => {
    const { primary, caches } = await setUp();
    const getUser = await filled(caches);
    primary.prependListener('appended', ({ rows }) => {
      (rows as unknown[][])[0]![1] = ['c'];
    });
    const row: [string, string[], number] = ['get_user', ['a'], NOW];
    const appended = primary.append(caches.stream, [row]);
    row[1] = ['b'];
    await appended;
    expect(getUser.peek('a')).toBeUndefined();
  });

  test('drop entries also when no listener of `appended` is left', async () => {
    const { primary, caches } = await setUp();
    const getUser = await filled(caches);
    primary.removeAllListeners('appended');
    await primary.append(caches.stream, [['get_user', ['a'], NOW]]);
    expect(getUser.peek('a')).toBeUndefined();
  });
});

describe('INVALIDATE_CACHE of a worker', () => {
  test('drops the entry here, and is a row that every worker hears of', async () => {
    const { primary, caches, rows, reader } = await setUp();
    const getUser = await filled(caches);
    const appended = once(primary, 'appended');
    reader.send({ name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: ['a', 5] });
    await appended;
    expect(getUser.peek('a')).toBeUndefined();
    await rows.reached(1);
    expect(rows.rows).toEqual([['get_user', ['a', '5'], NOW]]);
  });

  test('of a group that fails is a warning, and no row that would clear all workers', async () => {
    const { primary, caches, reader } = await setUp();
    caches.group('broken', () => {
      throw new Error('oops');
    });
    const warned = once(primary, 'warning');
    reader.send({ name: 'INVALIDATE_CACHE', cacheName: 'broken', keys: ['x'] });
    expect((await warned)[0]).toMatchObject({ worker: { name: 'reader-1' }, error: { code: 'GROUP_FAILED' } });
    expect(primary.position(caches.stream).token).toBe(0);
  });

  test('of keys that are none is a warning about that worker', async () => {
    const { primary, reader } = await setUp();
    const warned = once(primary, 'warning');
    reader.send({ name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: [{ a: 1 }] });
    expect((await warned)[0]).toMatchObject({ worker: { name: 'reader-1' }, error: { code: 'INVALID_KEY' } });
    reader.send({ name: 'SYNC', text: 'still here' });
    await once(primary, 'command');
  });
});

test('a row that cannot be appended rejects, with the entry dropped here and nothing told to the workers', async () => {
  const { primary, caches, rows } = await setUp();
  const getUser = await filled(caches);
  primary.append = () => Promise.reject(new LogError('LOG_FULL', 'the disk is full'));
  await expect(getUser.invalidate('a')).rejects.toMatchObject({ code: 'LOG_FULL' });
  await expect(caches.batch(() => void getUser.invalidate('a'))).rejects.toMatchObject({ code: 'LOG_FULL' });
  expect(getUser.peek('a')).toBeUndefined();
  await settle();
  expect(rows.rows).toEqual([]);
});

test('a primary has caches once, whatever their stream: a command to invalidate has one answer', async () => {
  const { primary, worker } = deploy();
  const server = await primary({ streams: [defineCachesStream(), defineCachesStream({ name: 'others' })] });
  createCaches(server);
  for (const options of [undefined, { stream: 'others' }]) {
    expect(() => createCaches(server, options)).toThrow(
      expect.objectContaining({ code: 'DUPLICATE_CACHE', message: expect.stringContaining('has caches already') }),
    );
  }
  const reader = worker();
  reader.subscribe('others', { from: 'start' }, ({ rows }) => expect(rows).toEqual([]));
  reader.subscribe('caches', { from: 'now' }, () => {});
  await reader.start();
  const answered = once(server, 'appended');
  reader.send({ name: 'INVALIDATE_CACHE', cacheName: 'get_user', keys: ['@bob'] });
  expect(await answered).toMatchObject([{ stream: 'caches' }]);
});

test('what createCaches is given is told apart, and refused when it will not do', async () => {
  const { caches } = await setUp();
  const another = await deploy().primary({ streams: [defineCachesStream()] });
  expect(() => createCaches(another, { stream: 'nosuch' })).toThrow(
    expect.objectContaining({ code: 'NO_SUCH_STREAM' }),
  );
  // What was refused is no second one.
  createCaches(another);
  expect(() => createCaches({} as Primary)).toThrow('createCaches takes what createPrimary or createWorker gave');
  const plain = await deploy().primary({ streams: [defineStream('caches')] });
  expect(() => createCaches(plain)).toThrow(/declare it by defineCachesStream\(\)/);
  expect(caches.stats().isLive).toBe(true);
});
