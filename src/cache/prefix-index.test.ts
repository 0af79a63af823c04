import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { joinKeys, SEPARATOR } from './keys.ts';
import { PrefixIndex } from './prefix-index.ts';

test('keys are found by each number of leading keys that it was made for', () => {
  const index = new PrefixIndex(2);
  for (const keys of [
    ['a', 'b', 'c'],
    ['a', 'b', 'd'],
    ['a', 'x', 'c'],
    ['aa', 'b', 'c'],
  ])
    index.add(joinKeys(keys));
  expect([...index.under('a', 1)]).toEqual(['a\0b\0c', 'a\0b\0d', 'a\0x\0c']);
  expect([...index.under(joinKeys(['a', 'b']), 2)]).toEqual(['a\0b\0c', 'a\0b\0d']);
  expect([...index.under('nothing', 1)]).toEqual([]);
  index.clear();
  expect([...index.under('a', 1)]).toEqual([]);
});

test('whatever is added and deleted, it finds what a walk over all would find', () => {
  const key = fc.array(fc.constantFrom('', 'a', 'b', 'ab'), { minLength: 3, maxLength: 3 });
  const step = fc.record({ isAdded: fc.boolean(), key });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), key, fc.constantFrom(1, 2), (steps, probe, depth) => {
      const index = new PrefixIndex(2);
      const all = new Set<string>();
      for (const { isAdded, key: keys } of steps) {
        const joined = joinKeys(keys);
        index[isAdded ? 'add' : 'delete'](joined);
        all[isAdded ? 'add' : 'delete'](joined);
      }
      const prefix = joinKeys(probe.slice(0, depth));
      expect([...index.under(prefix, depth)].toSorted()).toEqual(
        [...all].filter((joined) => joined.startsWith(prefix + SEPARATOR)).toSorted(),
      );
    }),
  );
});
