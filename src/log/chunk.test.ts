import { expect, test } from 'vitest';

import { encodeBatch } from '../core/model/batch.ts';
import { type Chunk, chunkAfter } from './chunk.ts';
import { ChunkList } from './chunk-list.ts';
import { mayDropOldest } from './retention.ts';

const ERA = '0123456789abcdef.1764281400.a1b2c3d4';

/** Batches with the given tokens, of 1, 2, 3, 1, … rows. */
function chunkOf(after: number, tokens: readonly number[], rowsBefore = 0): Chunk {
  const rows = tokens.map((token, i) =>
    Array.from({ length: 1 + (i % 3) }, (_, row) => `{"batch 1":${token},"row":${row}}`),
  );
  const lines = tokens.map((token, i) => encodeBatch('a1', token, rows[i]!)).join('');
  return {
    after,
    upTo: tokens.at(-1)!,
    rows: rows.flat().length,
    rowsUpTo: rowsBefore + rows.flat().length,
    history: ERA,
    atMs: 0,
    logMs: 0,
    lines: Buffer.from(lines),
  };
}

const text = (chunk: Chunk): string => Buffer.from(chunk.lines).toString();

test('a chunk cut after any token has the batches above it, and shares their bytes', () => {
  const tokens = [5, 6, 9, 10, 1_000_000, Number.MAX_SAFE_INTEGER];
  const chunk = chunkOf(4, tokens);
  for (const after of [4, 5, 6, 7, 8, 9, 10, 11, 999_999, 1_000_000, Number.MAX_SAFE_INTEGER - 1]) {
    const kept = tokens.filter((token) => token > after);
    const cut = chunkAfter(chunk, after);
    const keptLines = text(chunk)
      .split('\n')
      .filter((line) => kept.some((token) => line.includes(`"batch 1":${token},`)))
      .map((line) => `${line}\n`);
    expect(text(cut)).toBe(keptLines.join(''));
    expect(cut).toMatchObject({ after, upTo: chunk.upTo, rows: keptLines.length });
    expect(cut.lines.buffer).toBe(chunk.lines.buffer);
  }
});

test('a cut keeps the attributes of the batches that are left, where they stand now', () => {
  const chunk = chunkOf(4, [5, 6, 7]);
  const starts = [0, 1, 3].map((line) => text(chunk).split('\n').slice(0, line).join('\n').length + Math.min(line, 1));
  const attributes = [5, 6, 7].map((token, i) => ({ token, at: starts[i]!, json: `{"n":${token}}` }));
  const cut = chunkAfter({ ...chunk, attributes }, 5);
  expect(cut.attributes).toEqual(attributes.slice(1).map((one) => ({ ...one, at: one.at - starts[1]! })));
  for (const { token, at } of cut.attributes!) expect(text(cut).slice(at)).toContain(`"batch 1":${token},`);
  expect(text(cut).slice(0, cut.attributes![1]!.at)).not.toContain('"batch 1":7');
  expect('attributes' in chunkAfter({ ...chunk, attributes: attributes.slice(0, 1) }, 5)).toBe(false);
});

test('a chunk that begins where it is cut, or later, stays as it is', () => {
  const chunk = chunkOf(4, [5]);
  expect(chunkAfter(chunk, 4)).toBe(chunk);
  expect(chunkAfter(chunk, 0)).toBe(chunk);
});

test('nothing is left of a chunk that is cut at its end or beyond', () => {
  expect(chunkAfter(chunkOf(4, [5, 6]), 6)).toMatchObject({ after: 6, upTo: 6, rows: 0, lines: Buffer.alloc(0) });
  expect(chunkAfter(chunkOf(4, [5, 6]), 100)).toMatchObject({ after: 6, upTo: 6, rows: 0 });
});

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
  list.append(chunkOf(7_000, [7_001]));
  expect(list.first).toMatchObject({ upTo: 7_001 });
});

test('a list refuses a chunk that does not join on', () => {
  const list = new ChunkList();
  list.append(chunkOf(0, [1]));
  expect(() => list.append(chunkOf(2, [3]))).toThrow('Bug in Rowcast');
});

test('retention keeps what either limit asks for, and everything when nothing is said', () => {
  const oldest = { rows: 10, logMs: 1_000 };
  expect(mayDropOldest({}, { rows: 100, oldest, now: 9_000 })).toBe(false);
  expect(mayDropOldest({ rows: 1 }, { rows: 0, oldest: undefined, now: 9_000 })).toBe(false);
  expect(mayDropOldest({ rows: 90 }, { rows: 100, oldest, now: 9_000 })).toBe(true);
  expect(mayDropOldest({ rows: 91 }, { rows: 100, oldest, now: 9_000 })).toBe(false);
  expect(mayDropOldest({ ageMs: 8_000 }, { rows: 10, oldest, now: 9_000 })).toBe(true);
  expect(mayDropOldest({ ageMs: 8_001 }, { rows: 10, oldest, now: 9_000 })).toBe(false);
  expect(mayDropOldest({ rows: 91, ageMs: 1 }, { rows: 100, oldest, now: 9_000 })).toBe(false);
  expect(mayDropOldest({ rows: 90, ageMs: 8_001 }, { rows: 100, oldest, now: 9_000 })).toBe(false);
});
