import { describe, expect, test } from 'vitest';
import { Cache, type CacheSettings, type Load } from './cache.ts';
import type { CacheKey } from './keys.ts';

/** A load that the test ends. */
interface Pending {
  readonly keys: readonly CacheKey[];
  readonly resolve: (value: string) => void;
  readonly reject: (error: Error) => void;
}

class Bench {
  readonly freshness = { isLive: true, isAnchored: true, suspectForMs: 0 };
  readonly pending: Pending[] = [];
  readonly cache: Cache<readonly CacheKey[], string>;

  constructor(settings: Partial<CacheSettings> = {}, load?: Load<readonly CacheKey[], string>) {
    this.cache = new Cache(
      { name: 'c', arity: 1, max: 100, prefixes: 0, whenSuspect: 'load', freshness: this.freshness, ...settings },
      load ??
        ((...keys) =>
          new Promise<string>((resolve, reject) => {
            this.pending.push({ keys, resolve, reject });
          })),
    );
  }

  /** Reads, and lets the load of it end at once when there is one. */
  async fill(...keys: CacheKey[]): Promise<string> {
    const count = this.pending.length;
    const read = this.cache.read(keys);
    if (this.pending.length > count) this.pending.at(-1)!.resolve(`${keys.join()}#${this.pending.length}`);
    return read;
  }
}

describe('a read', () => {
  test('loads once, then answers with what is kept', async () => {
    const { cache, pending } = new Bench();
    const first = cache.read(['a']);
    pending[0]!.resolve('A');
    await expect(first).resolves.toBe('A');
    await expect(cache.read(['a'])).resolves.toBe('A');
    expect(pending).toHaveLength(1);
    expect(cache.stats()).toMatchObject({ size: 1, hits: 1, misses: 1, loadsShared: 0 });
  });

  test('that hits allocates no promise of its own', async () => {
    const bench = new Bench();
    await bench.fill('a');
    expect(bench.cache.read(['a'])).toBe(bench.cache.read(['a']));
  });

  test('of a key that is being loaded shares the load', async () => {
    const { cache, pending } = new Bench();
    const reads = [cache.read(['a']), cache.read(['a']), cache.read(['b'])];
    expect(pending.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
    pending[0]!.resolve('A');
    pending[1]!.resolve('B');
    await expect(Promise.all(reads)).resolves.toEqual(['A', 'A', 'B']);
    expect(cache.stats()).toMatchObject({ misses: 3, loadsShared: 1 });
  });

  test('whose load fails rejects for all who share it, and nothing is kept', async () => {
    const { cache, pending } = new Bench();
    const reads = [cache.read(['a']), cache.read(['a'])];
    pending[0]!.reject(new Error('oops'));
    for (const read of reads) await expect(read).rejects.toThrow('oops');
    const again = cache.read(['a']);
    pending[1]!.resolve('A');
    await expect(again).resolves.toBe('A');
    expect(cache.stats()).toMatchObject({ size: 1, misses: 3, loadsFailed: 1 });
  });

  test('whose load throws at once rejects', async () => {
    const { cache } = new Bench({}, () => {
      throw new Error('at once');
    });
    await expect(cache.read(['a'])).rejects.toThrow('at once');
    expect(cache.stats()).toMatchObject({ size: 0, loadsFailed: 1 });
  });

  test('may be of a function that gives its value at once, also of undefined', async () => {
    let calls = 0;
    const cache = new Cache<readonly CacheKey[], undefined>(
      { name: 'c', arity: 1, max: 5, prefixes: 0, whenSuspect: 'load', freshness: new Bench().freshness },
      () => {
        calls++;
        return undefined;
      },
    );
    await expect(cache.read(['a'])).resolves.toBeUndefined();
    await expect(cache.read(['a'])).resolves.toBeUndefined();
    expect(calls).toBe(1);
  });

  test('of 5 and of "5" is one entry; the load gets the key as it was given', async () => {
    const bench = new Bench();
    await bench.fill(5);
    await expect(bench.cache.read(['5'])).resolves.toBe('5#1');
    expect(bench.pending[0]!.keys).toEqual([5]);
  });

  test('with too many or too few keys is refused', async () => {
    const { cache } = new Bench({ arity: 2 });
    const refused = expect.objectContaining({ name: 'UsageError', code: 'INVALID_KEY' }) as Error;
    await expect(cache.read(['a'])).rejects.toEqual(refused);
    await expect(cache.read(['a', 'b', 'c'])).rejects.toThrow('cache c takes 2 key(s), and was asked with 3');
  });

  test.each<unknown>([{ id: 2 }, null, undefined, Symbol('x'), ['a']])(
    'with %o as a key is refused: it would be found by a text that is another key too',
    async (key) => {
      const bench = new Bench();
      const two = new Bench({ arity: 2 });
      await Promise.all([bench.fill('[object Object]'), bench.fill('null'), two.fill('', 'x')]);
      const refused = { name: 'UsageError', code: 'INVALID_KEY' };
      await expect(bench.cache.readOne(key as CacheKey)).rejects.toMatchObject(refused);
      await expect(bench.cache.read([key as CacheKey])).rejects.toMatchObject(refused);
      await expect(two.cache.read([key as CacheKey, 'x'])).rejects.toMatchObject(refused);
      await expect(bench.cache.prefill(() => [[[key as CacheKey], 'A']])).rejects.toMatchObject(refused);
    },
  );

  test('of keys that cannot be invalidated loads each time, and never answers for other keys', async () => {
    const bench = new Bench({ arity: 2 });
    await expect(Promise.all([bench.fill('a\0b', 'c'), bench.fill('a', 'b\0c')])).resolves.toEqual([
      'a\0b,c#1',
      'a,b\0c#2',
    ]);
    await expect(bench.fill('a\0b', 'c')).resolves.toBe('a\0b,c#3');
    await bench.fill('\ud800', 'x');
    expect(bench.cache.stats().size).toBe(0);
  });

  test('without keys is of the one entry of a function without arguments', async () => {
    const bench = new Bench({ arity: 0 });
    await bench.fill();
    await expect(bench.fill()).resolves.toBe('#1');
    bench.cache.drop([]);
    await expect(bench.fill()).resolves.toBe('#2');
    expect(bench.cache.stats()).toMatchObject({ invalidationsByKey: 1, invalidationsOfAll: 0 });
  });

  test('beyond max entries drops the one that was not read for longest', async () => {
    const bench = new Bench({ max: 2 });
    for (const key of ['a', 'b', 'a', 'c']) await bench.fill(key);
    expect(bench.cache.peek(['a'])).toBe('a#1');
    expect(bench.cache.peek(['b'])).toBeUndefined();
    expect(bench.cache.stats()).toMatchObject({ size: 2, evictions: 1 });
  });
});

describe('an invalidation', () => {
  test('by key drops that entry', async () => {
    const bench = new Bench();
    await bench.fill('a');
    await bench.fill('b');
    bench.cache.drop(['a']);
    expect([bench.cache.peek(['a']), bench.cache.peek(['b'])]).toEqual([undefined, 'b#2']);
    expect(bench.cache.stats()).toMatchObject({ size: 1, invalidationsByKey: 1 });
  });

  // SPEC C2
  test('while a load runs makes its result unusable: its callers get it, the next loads anew', async () => {
    const { cache, pending } = new Bench();
    const before = cache.read(['a']);
    cache.drop(['a']);
    const after = cache.read(['a']);
    expect(pending).toHaveLength(2);
    pending[1]!.resolve('new');
    await expect(after).resolves.toBe('new');
    pending[0]!.resolve('old');
    await expect(before).resolves.toBe('old');
    expect(cache.peek(['a'])).toBe('new');
    expect(cache.stats()).toMatchObject({ discardedFills: 1, loadsShared: 0 });
  });

  test('in the very call that begins the load is not lost', async () => {
    const bench: Bench = new Bench({}, () => {
      bench.cache.drop(['a']);
      return Promise.resolve('old');
    });
    await bench.cache.read(['a']);
    expect(bench.cache.peek(['a'])).toBeUndefined();
  });

  test('between the end of a load and the callers who wait for it drops what was kept', async () => {
    const { cache, pending } = new Bench();
    const read = cache.read(['a']);
    pending[0]!.resolve('A');
    cache.drop(['a']);
    await read;
    expect(cache.peek(['a'])).toBeUndefined();
  });

  test('of all drops every entry and every load', async () => {
    const bench = new Bench();
    await bench.fill('a');
    const running = bench.cache.read(['b']);
    bench.cache.drop(null);
    bench.pending[1]!.resolve('B');
    await running;
    expect(bench.cache.stats()).toMatchObject({ size: 0, invalidationsOfAll: 1, discardedFills: 1 });
  });

  test.each([0, 1, 2, 5])(
    'by prefix drops all that is under it, and nothing else, with prefixes: %i',
    async (prefixes) => {
      const bench = new Bench({ arity: 3, prefixes });
      const all: [string, string, string][] = [
        ['a', 'x', '1'],
        ['a', 'x', '2'],
        ['a', 'y', '1'],
        ['ab', 'x', '1'],
      ];
      for (const keys of all) await bench.fill(...keys);
      const running = bench.cache.read(['a', 'x', '3']);
      const kept = (): string[] =>
        all.filter((keys) => bench.cache.peek(keys) !== undefined).map((keys) => keys.join(''));
      bench.cache.drop(['a', 'x']);
      expect(kept()).toEqual(['ay1', 'abx1']);
      bench.pending.at(-1)!.resolve('late');
      await running;
      expect(bench.cache.peek(['a', 'x', '3'])).toBeUndefined();
      bench.cache.drop(['a']);
      expect(kept()).toEqual(['abx1']);
      expect(bench.cache.stats()).toMatchObject({ invalidationsByPrefix: 2, discardedFills: 1 });
      bench.cache.drop([]);
      expect(kept()).toEqual([]);
      expect(bench.cache.stats().invalidationsOfAll).toBe(1);
    },
  );

  test('of loads alone leaves no key behind in the index', async () => {
    const bench = new Bench({ arity: 2, prefixes: 1 });
    const running = bench.cache.read(['a', '1']);
    bench.cache.dropLoads();
    bench.pending[0]!.resolve('A');
    await running;
    bench.cache.drop(['a']);
    expect(bench.cache.stats()).toMatchObject({ size: 0, discardedFills: 1 });
  });

  describe('by prefix', () => {
    /** A load runs, and a prefill has put an entry under its key. */
    async function loadBesideEntry(): Promise<{ readonly bench: Bench; readonly read: Promise<string> }> {
      const bench = new Bench({ arity: 2, prefixes: 1, max: 1 });
      const read = bench.cache.read(['a', '1']);
      await bench.cache.prefill(() => [[['a', '1'], 'prefilled']]);
      return { bench, read };
    }

    test('finds a load whose entry was evicted meanwhile', async () => {
      const { bench, read } = await loadBesideEntry();
      await bench.cache.prefill(() => [[['b', '1'], 'evicts']]);
      bench.cache.drop(['a']);
      bench.pending[0]!.resolve('old');
      await read;
      expect(bench.cache.peek(['a', '1'])).toBeUndefined();
      expect(bench.cache.stats()).toMatchObject({ evictions: 1, discardedFills: 1 });
    });

    test('finds an entry whose load has failed, and one whose load was given up', async () => {
      const failed = await loadBesideEntry();
      failed.bench.pending[0]!.reject(new Error('oops'));
      await expect(failed.read).rejects.toThrow('oops');
      const givenUp = await loadBesideEntry();
      givenUp.bench.cache.dropLoads();
      for (const { cache } of [failed.bench, givenUp.bench]) {
        expect(cache.peek(['a', '1'])).toBe('prefilled');
        cache.drop(['a']);
        expect(cache.peek(['a', '1'])).toBeUndefined();
      }
    });
  });

  test('of all in a cache that is mostly empty drops every entry too', async () => {
    const bench = new Bench({ max: 1_000 });
    await bench.fill('a');
    bench.cache.drop(null);
    await expect(bench.fill('a')).resolves.toBe('a#2');
    expect(bench.cache.stats()).toMatchObject({ size: 1, evictions: 0 });
  });

  test('by more keys than an entry has drops what is under those that count', async () => {
    const bench = new Bench({ arity: 1 });
    await bench.fill('a');
    bench.cache.drop(['a', 'of another version']);
    expect(bench.cache.stats()).toMatchObject({ size: 0, invalidationsByKey: 1 });
  });

  test.each([0, 1])('finds what evictions and new loads have left, with prefixes: %i', async (prefixes) => {
    const bench = new Bench({ arity: 2, prefixes, max: 2 });
    for (const key of ['1', '2', '3', '1']) await bench.fill('a', key);
    bench.cache.drop(['a']);
    expect(bench.cache.stats()).toMatchObject({ size: 0, evictions: 2 });
    await bench.fill('a', '1');
    bench.cache.drop(['a']);
    expect(bench.cache.stats().size).toBe(0);
  });
});

describe('a suspect entry', () => {
  const suspect = async (whenSuspect: CacheSettings['whenSuspect']): Promise<Bench> => {
    const bench = new Bench({ whenSuspect });
    await bench.fill('a');
    bench.freshness.isLive = false;
    return bench;
  };

  test('is passed over by default, and nothing is kept until live again', async () => {
    const bench = await suspect('load');
    await expect(bench.fill('a')).resolves.toBe('a#2');
    await expect(bench.fill('b')).resolves.toBe('b#3');
    expect(bench.cache.peek(['a'])).toBeUndefined();
    expect(bench.cache.stats()).toMatchObject({
      size: 1,
      hits: 0,
      suspectReads: 2,
      suspectServed: 0,
      discardedFills: 0,
    });
    bench.freshness.isLive = true;
    await expect(bench.fill('a')).resolves.toBe('a#1');
    await expect(bench.fill('b')).resolves.toBe('b#4');
  });

  test('is served where its owner allows, and counted; what is missing is loaded and kept', async () => {
    const bench = await suspect('serve');
    await expect(bench.fill('a')).resolves.toBe('a#1');
    await expect(bench.fill('b')).resolves.toBe('b#2');
    await expect(bench.fill('b')).resolves.toBe('b#2');
    expect(bench.cache.peek(['a'])).toBe('a#1');
    expect(bench.cache.stats()).toMatchObject({ size: 2, hits: 0, suspectReads: 3, suspectServed: 2 });
  });

  test('is served no longer than its owner allows', async () => {
    const bench = await suspect({ maxStaleMs: 5_000 });
    bench.freshness.suspectForMs = 5_000;
    await expect(bench.fill('a')).resolves.toBe('a#1');
    bench.freshness.suspectForMs = 5_001;
    await expect(bench.fill('a')).resolves.toBe('a#2');
    expect(bench.cache.peek(['a'])).toBeUndefined();
    expect(bench.cache.stats()).toMatchObject({ suspectReads: 2, suspectServed: 1 });
  });

  test.each<CacheSettings['whenSuspect']>(['serve', { maxStaleMs: 5_000 }])(
    'is never served, and nothing kept, where what is missed does not come again: %o',
    async (whenSuspect) => {
      const bench = await suspect(whenSuspect);
      bench.freshness.isAnchored = false;
      await expect(bench.fill('a')).resolves.toBe('a#2');
      await expect(bench.fill('b')).resolves.toBe('b#3');
      expect(bench.cache.peek(['b'])).toBeUndefined();
      expect(bench.cache.stats()).toMatchObject({ size: 1, suspectServed: 0 });
    },
  );

  test('shares its load too', async () => {
    const bench = await suspect('load');
    const reads = [bench.cache.read(['a']), bench.cache.read(['a'])];
    bench.pending[1]!.resolve('A');
    await expect(Promise.all(reads)).resolves.toEqual(['A', 'A']);
    expect(bench.cache.stats().loadsShared).toBe(1);
  });
});

describe('a prefill', () => {
  test('keeps what its function reads', async () => {
    const bench = new Bench({ arity: 2 });
    const kept = await bench.cache.prefill(async () => [
      [['a', 1], 'A'],
      [['b', 2], 'B'],
      [['c\0', 3], 'cannot be invalidated'],
    ]);
    expect(kept).toBe(2);
    await expect(bench.cache.read(['b', '2'])).resolves.toBe('B');
    expect(bench.cache.stats()).toMatchObject({ size: 2, hits: 1, misses: 0 });
  });

  test.each<[string, readonly string[] | null, string[]]>([
    ['its key', ['a', '1'], ['B', 'C']],
    ['a prefix', ['a'], ['C']],
    ['all', null, []],
  ])('keeps nothing of %s that is invalidated meanwhile', async (_what, drop, expected) => {
    const bench = new Bench({ arity: 2 });
    const all = [
      [['a', '1'], 'A'],
      [['a', '2'], 'B'],
      [['ab', '1'], 'C'],
    ] as const;
    const kept = await bench.cache.prefill(async () => {
      bench.cache.drop(drop);
      return all;
    });
    expect(kept).toBe(expected.length);
    expect(all.flatMap(([keys]) => bench.cache.peek(keys) ?? [])).toEqual(expected);
    expect(bench.cache.stats().discardedFills).toBe(3 - expected.length);
  });

  test('keeps nothing while suspect, and rejects with what its function throws', async () => {
    const bench = new Bench();
    bench.freshness.isLive = false;
    await expect(bench.cache.prefill(() => [[['a'], 'A']])).resolves.toBe(0);
    await expect(bench.cache.prefill(() => Promise.reject(new Error('oops')))).rejects.toThrow('oops');
    await expect(bench.cache.prefill(() => [[['a', 'b'], 'A']])).rejects.toMatchObject({ code: 'INVALID_KEY' });
    expect(bench.cache.stats().size).toBe(0);
  });
});
