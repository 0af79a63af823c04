import { expect, test } from 'vitest';

import { chunkOf } from '../../test/support/numbered-chunk.ts';
import { chunkBytes } from '../core/model/chunk.ts';
import { ChunkList } from './chunk-list.ts';

test('a list finds every position, also when most of it was dropped', () => {
  const list = new ChunkList();
  expect(list.dropFirst()).toBeUndefined();
  for (let token = 2; token <= 6_000; token += 2)
    list.append(chunkOf(token - 2, [token - 1, token], (token / 2 - 1) * 3));
  for (let dropped = 0; dropped < 2_900; dropped++) expect(list.dropFirst()?.upTo).toBe(2 * dropped + 2);
  expect(list.rows).toBe(300);
  for (const after of [5_800, 5_801, 5_802, 5_999]) {
    const chunks = list.read({ after, maxBytes: 1_000_000 });
    expect(chunks[0]?.after).toBe(after);
    expect(chunks.at(-1)?.upTo).toBe(6_000);
  }
  expect(list.read({ after: 6_000, maxBytes: 1 })).toEqual([]);
  for (let kept = 0; kept < 100; kept++) list.dropFirst();
  expect(list.last).toBeUndefined();
  expect(list.bytes).toBe(0);
  list.append(chunkOf(7_000, [7_001]));
  expect(list.first).toMatchObject({ upTo: 7_001 });
});

test('a list that is truncated ends with the token, also within a chunk', () => {
  for (const after of [0, 1, 2, 3, 4, 5, 6]) {
    const list = new ChunkList();
    list.append(chunkOf(0, [1, 2, 3]));
    list.append(chunkOf(3, [4, 5, 6], 6));
    list.truncate(after);
    const left = list.read({ after: 0, maxBytes: 1_000_000 });
    expect(left.at(-1)?.upTo ?? 0).toBe(after);
    expect(list.rows).toBe([0, 1, 3, 6, 7, 9, 12][after]);
    expect(list.bytes).toBe(left.reduce((sum, chunk) => sum + chunkBytes(chunk), 0));
    if (after > 0) list.append(chunkOf(after, [after + 1]));
  }
});

test('a list refuses a chunk that does not join on', () => {
  const list = new ChunkList();
  list.append(chunkOf(0, [1]));
  expect(() => list.append(chunkOf(2, [3]))).toThrow('Bug in Rowcast');
});
