/** What is the same on both sides: definitions and their options. */

import { describe, expect, expectTypeOf, test } from 'vitest';
import { deploy } from '../../test/support/deployment.ts';
import type { UsageError } from '../core/model/errors.ts';
import type { Position } from '../core/model/position.ts';
import { type CacheOptions, type CachesOptions, createCaches, defineCachesStream } from './index.ts';

const makeCaches = async () => createCaches(await deploy().primary({ streams: [defineCachesStream()] }));

describe('a cached function', () => {
  test('has the types of the function that it was made of', async () => {
    const caches = await makeCaches();
    const workerCaches = createCaches(deploy().worker());
    const load = async (room: string, user: number) => ({ room, user });
    const get = caches.cached('get', load);
    const onWorker = workerCaches.cached('get', { max: 5 }, load);
    expectTypeOf(get).parameters.toEqualTypeOf<[room: string, user: number]>();
    expectTypeOf(get).returns.resolves.toEqualTypeOf<{ room: string; user: number }>();
    expectTypeOf(get.invalidate).returns.resolves.toEqualTypeOf<Position>();
    expectTypeOf(onWorker.invalidate).returns.resolves.toEqualTypeOf<void>();
    expectTypeOf(get.invalidate).toBeCallableWith('!room', 5);
    expectTypeOf(get.invalidate).toBeCallableWith('!room');
    // @ts-expect-error -- a key of another type
    await expect(get('!room', {})).rejects.toMatchObject({ code: 'INVALID_KEY' });
    // @ts-expect-error -- the whole cache is dropped by invalidateAll
    await get.invalidate();
    // @ts-expect-error -- what cannot be a key
    caches.cached('objects', async (key: object) => key);
    expect([get.name, get.cacheName]).toEqual(['get', 'get']);
  });

  test('can be looked into, cleared and filled', async () => {
    const caches = await makeCaches();
    const get = caches.cached('get', async (id: string) => id);
    await expect(get.prefill(() => [[['a'], 'A']])).resolves.toBe(1);
    expect(get.peek('a')).toBe('A');
    expect(get.stats()).toMatchObject({ size: 1, hits: 0 });
    get.clear();
    expect(get.peek('a')).toBeUndefined();
  });

  test('of a function that hides how many keys it has is told by the option arity', async () => {
    const caches = await makeCaches();
    const sum = (...numbers: number[]) => numbers.length;
    const untold = caches.cached('untold', sum);
    await expect(untold(1, 2)).rejects.toThrow(
      'cache untold takes 0 key(s), and was asked with 2: the option arity says how many',
    );
    const told = caches.cached('told', { arity: 2 }, sum);
    await expect(told(1, 2)).resolves.toBe(2);
  });
});

test.each<CacheOptions>([
  { max: 0 },
  { max: 1.5 },
  { prefixes: -1 },
  { arity: -1 },
  { arity: Number.NaN },
  { whenSuspect: 'never' as 'load' },
  { whenSuspect: { maxStaleMs: -1 } },
  { whenSuspect: null as unknown as 'load' },
])('a cache with %o is refused', async (options) => {
  const caches = await makeCaches();
  const refused = expect.objectContaining({ name: 'UsageError', code: 'INVALID_OPTION' }) as UsageError;
  expect(() => caches.cached('get', options, async (id: string) => id)).toThrow(refused);
  const context = { kind: 'method', name: 'get' } as ClassMethodDecoratorContext<
    object,
    (this: object, id: string) => Promise<string>
  >;
  expect(() => caches.cached(options)(async (id: string) => id, context)).toThrow(refused);
});

test.each(['', 'two words', 'a\nb', 'a\u0000', '\ud800'])('a cache is not called %j', async (name) => {
  const caches = await makeCaches();
  expect(() => caches.cached(name, async (id: string) => id)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION' }),
  );
  expect(() => caches.group(name, () => [])).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test('a name stands for one cache or group', async () => {
  const caches = await makeCaches();
  const duplicate = expect.objectContaining({ name: 'UsageError', code: 'DUPLICATE_CACHE' }) as UsageError;
  caches.cached('get', async (id: string) => id);
  caches.group('all', () => []);
  expect(() => caches.cached('get', async (id: string) => id)).toThrow(duplicate);
  expect(() => caches.cached('all', async (id: string) => id)).toThrow(duplicate);
  expect(() => caches.group('get', () => [])).toThrow(duplicate);
});

test.each([
  { head: -1, size: 5 },
  { head: 0.5, size: 5 },
  { head: 1, size: 0 },
])('a group is not cut by %o', async (chunk) => {
  const caches = await makeCaches();
  expect(() => caches.group('all', () => [], { chunk })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});

test.each<CachesOptions>([{ whenSuspect: 'sometimes' as 'load' }, { whenSuspect: {} as { maxStaleMs: number } }])(
  'caches with %o are refused',
  (options) => {
    expect(() => createCaches(deploy().worker(), options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  },
);

test('several caches on one worker follow a stream each', () => {
  const worker = deploy().worker();
  createCaches(worker);
  createCaches(worker, { stream: 'drops' });
  expect(() => createCaches(worker)).toThrow(expect.objectContaining({ code: 'DUPLICATE_STREAM' }));
});

test('a cached function is given the function', async () => {
  const caches = await makeCaches();
  expect(() => caches.cached('get', {} as () => string)).toThrow(
    "the load of cached('get') is a function, not undefined",
  );
});
