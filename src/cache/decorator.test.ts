/** Compiled by the TypeScript compiler before it runs: see vitest.config.ts. */

import { expect, test } from 'vitest';
import { deploy } from '../../test/support/deployment.ts';
import { createCaches, defineCachesStream, type PrimaryCaches } from './index.ts';

async function makeCaches(): Promise<PrimaryCaches> {
  return createCaches(await deploy().primary({ streams: [defineCachesStream()] }));
}

test('a method is cached under its own name, until that is invalidated', async () => {
  const caches = await makeCaches();
  class Directory {
    calls = 0;

    @caches.cached({ max: 500, prefixes: 1 })
    async getUserById(id: string): Promise<string> {
      return `${id}#${++this.calls}`;
    }
  }
  const directory = new Directory();
  await expect(directory.getUserById('@bob')).resolves.toBe('@bob#1');
  await expect(directory.getUserById('@bob')).resolves.toBe('@bob#1');
  await caches.invalidate('getUserById', ['@bob']);
  await expect(directory.getUserById('@bob')).resolves.toBe('@bob#2');
  expect(caches.stats().caches['getUserById']).toMatchObject({ size: 1, hits: 1, misses: 2, invalidationsByKey: 1 });
});

test('each instance has entries of its own, and an invalidation reaches all of them', async () => {
  const caches = await makeCaches();
  class Shop {
    readonly name: string;

    constructor(name: string) {
      this.name = name;
    }

    @caches.cached({ name: 'price' })
    async price(article: string, size: number): Promise<string> {
      return `${this.name} ${article} ${size}`;
    }

    @caches.cached()
    static async count(): Promise<number> {
      return 5;
    }
  }
  const [a, b] = [new Shop('a'), new Shop('b')];
  await expect(Promise.all([a.price('tea', 1), b.price('tea', 1), a.price('tea', 2)])).resolves.toEqual([
    'a tea 1',
    'b tea 1',
    'a tea 2',
  ]);
  expect(caches.stats().caches['price']).toMatchObject({ size: 3, misses: 3 });
  await caches.invalidate('price', ['tea', 1]);
  expect(caches.stats().caches['price']!.size).toBe(1);
  await caches.invalidate('price', ['tea']);
  expect(caches.stats().caches['price']!.size).toBe(0);
  await expect(Shop.count()).resolves.toBe(5);
  caches.clear();
  expect(caches.stats().caches['count']).toMatchObject({ size: 0, misses: 1 });
});

test('a class that inherits calls the method above it as usual', async () => {
  const caches = await makeCaches();
  class Base {
    @caches.cached()
    async get(id: string): Promise<string> {
      return id;
    }
  }
  class Loud extends Base {
    override async get(id: string): Promise<string> {
      return `${await super.get(id)}!`;
    }
  }
  await expect(new Loud().get('a')).resolves.toBe('a!');
  expect(caches.stats().caches['get']!.size).toBe(1);
});

test('what cannot be decorated is refused when the class is defined', async () => {
  const caches = await makeCaches();
  const define = (): unknown => {
    class Twice {
      @caches.cached({ name: 'same' })
      async a(id: string): Promise<string> {
        return id;
      }

      @caches.cached({ name: 'same' })
      async b(id: string): Promise<string> {
        return id;
      }
    }
    return Twice;
  };
  expect(define).toThrow(expect.objectContaining({ name: 'UsageError', code: 'DUPLICATE_CACHE' }));
  // As experimentalDecorators calls it: with the prototype and the name.
  const legacy = caches.cached() as unknown as (prototype: object, name: string) => unknown;
  expect(() => legacy({}, 'get')).toThrow(/switch experimentalDecorators off/);
  const anonymous = Symbol('anonymous');
  const symbol = (): unknown =>
    class {
      @caches.cached()
      async [anonymous](id: string): Promise<string> {
        return id;
      }
    };
  expect(symbol).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
