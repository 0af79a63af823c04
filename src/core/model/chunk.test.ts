import { expect, test } from 'vitest';

import { chunkOf } from '../../../test/support/numbered-chunk.ts';
import { ROW_BORDER, type Chunk, chunkAfter, chunkUpTo, tokenAt } from './chunk.ts';

const tokensOf = (chunk: Chunk): number[] => chunk.sizes.map((_, place) => tokenAt(chunk, place));
const textsOf = (chunk: Chunk): string[] =>
  chunk.texts.length === 0 ? [] : Buffer.from(chunk.texts).toString().split(ROW_BORDER);

const TOKENS = [5, 6, 9, 10, 1_000_000, Number.MAX_SAFE_INTEGER];
const PLACES = [4, 5, 6, 7, 8, 9, 10, 11, 999_999, 1_000_000, Number.MAX_SAFE_INTEGER - 1];

test('a chunk cut after any token has the batches above it, and shares their bytes', () => {
  for (const tokens of [TOKENS, [5, 6, 7, 8, 9, 10]]) {
    const chunk = chunkOf(4, tokens);
    for (const after of PLACES.filter((place) => place < tokens.at(-1)!)) {
      const kept = tokens.filter((token) => token > after);
      const cut = chunkAfter(chunk, after);
      expect(tokensOf(cut)).toEqual(kept);
      const texts = textsOf(chunk).filter((text) => kept.some((token) => text.includes(`"batch 1":${token},`)));
      expect(textsOf(cut)).toEqual(texts);
      expect(cut).toMatchObject({ after, upTo: chunk.upTo, rows: texts.length, rowsUpTo: chunk.rowsUpTo });
      expect(cut.texts.buffer).toBe(chunk.texts.buffer);
    }
  }
});

test('a chunk cut behind any token has the batches up to it', () => {
  for (const tokens of [TOKENS, [5, 6, 7, 8, 9, 10]]) {
    const chunk = chunkOf(4, tokens, 100);
    for (const upTo of PLACES.filter((place) => place < tokens.at(-1)!)) {
      const kept = tokens.filter((token) => token <= upTo);
      const cut = chunkUpTo(chunk, upTo);
      expect(tokensOf(cut)).toEqual(kept);
      const texts = textsOf(chunk).slice(0, textsOf(cut).length);
      expect(textsOf(cut)).toEqual(texts);
      expect(cut).toMatchObject({ after: 4, upTo, rows: texts.length, rowsUpTo: 100 + texts.length });
    }
  }
});

test('a cut keeps the attributes of the batches that are left', () => {
  const attributes = [5, 6, 7].map((token) => ({ token, json: `{"n":${token}}` }));
  const chunk = { ...chunkOf(4, [5, 6, 7]), attributes };
  expect(chunkAfter(chunk, 5).attributes).toEqual(attributes.slice(1));
  expect(chunkUpTo(chunk, 5).attributes).toEqual(attributes.slice(0, 1));
  expect(chunkAfter({ ...chunk, attributes: attributes.slice(0, 1) }, 5).attributes).toBeUndefined();
});

test('a chunk that begins where it is cut, or later, stays as it is', () => {
  const chunk = chunkOf(4, [5]);
  expect(chunkAfter(chunk, 4)).toBe(chunk);
  expect(chunkAfter(chunk, 0)).toBe(chunk);
  expect(chunkUpTo(chunk, 5)).toBe(chunk);
});

test('nothing is left of a chunk that is cut at its end or beyond', () => {
  for (const after of [6, 100]) {
    const cut = chunkAfter(chunkOf(4, [5, 6]), after);
    expect(cut).toMatchObject({ after: 6, upTo: 6, rows: 0, sizes: [] });
    expect(cut.texts).toHaveLength(0);
  }
});
