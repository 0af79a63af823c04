import { expect, test } from 'vitest';

import { type Chunk, chunkAfter, ROW_BORDER } from '../model/chunk.ts';
import type { Page } from '../model/page.ts';
import { pageLines } from './page-lines.ts';

const HISTORY = '0123456789abcdef.1764281400.a1b2c3d4';

function chunkOf(after: number, batches: readonly (readonly string[])[], more: Partial<Chunk> = {}): Chunk {
  const rows = batches.flat();
  return {
    after,
    upTo: after + batches.length,
    rows: rows.length,
    rowsUpTo: rows.length,
    history: HISTORY,
    atMs: 0,
    logMs: 0,
    texts: Buffer.from(rows.join(ROW_BORDER)),
    sizes: batches.map(({ length }) => length),
    ...more,
  };
}

function pageOf(...chunks: readonly Chunk[]): Page {
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  return { stream: 'events', chunks, rows, upTo: chunks.at(-1)?.upTo ?? 0, hasMore: false, history: HISTORY };
}

const textOf = (page: Page, wantsAttributes = false): string =>
  Buffer.from(pageLines(page, wantsAttributes)).toString();

test('each row is a line, and says batch unless it is the last of its batch', () => {
  expect(textOf(pageOf(chunkOf(53, [['1', '"ü,\\t"', '[]'], ['{"a":[1,\u00A02]}']])))).toBe(
    'RDATA events batch 1\nRDATA events batch "ü,\\t"\nRDATA events 54 []\nRDATA events 55 {"a":[1,\u00A02]}\n',
  );
});

test('tokens that skip are those of their batches', () => {
  const chunk = chunkOf(0, [['1'], ['2', '3'], ['4']], { upTo: 90, tokens: [5, 7, 90] });
  expect(textOf(pageOf(chunk))).toBe('RDATA events 5 1\nRDATA events batch 2\nRDATA events 7 3\nRDATA events 90 4\n');
  expect(textOf(pageOf(chunkAfter(chunk, 5)))).toBe('RDATA events batch 2\nRDATA events 7 3\nRDATA events 90 4\n');
});

test('the lines of several chunks follow each other, and a move without rows has none', () => {
  const move = chunkOf(2, [], { upTo: 9 });
  expect(textOf(pageOf(chunkOf(0, [['1'], ['2']]), move, chunkOf(9, [['3']])))).toBe(
    'RDATA events 1 1\nRDATA events 2 2\nRDATA events 10 3\n',
  );
  expect(textOf(pageOf())).toBe('');
});

test('attributes stand before their batch, for those that want them alone', () => {
  const attributes = [{ token: 2, json: '{"trace":"é"}' }];
  const page = pageOf(chunkOf(0, [['1'], ['2', '3'], ['4']], { attributes }), chunkOf(3, [['5']]));
  const [before, after] = [
    'RDATA events 1 1\n',
    'RDATA events batch 2\nRDATA events 2 3\nRDATA events 3 4\nRDATA events 4 5\n',
  ];
  expect(textOf(page, true)).toBe(`${before}ATTR events 2 {"trace":"é"}\n${after}`);
  expect(textOf(page)).toBe(before + after);
});

test('a chunk is encoded once for each form of lines, however many pages it is in', () => {
  const chunk = chunkOf(0, [['1']], { attributes: [{ token: 1, json: '{}' }] });
  const lines = pageLines(pageOf(chunk), false);
  expect(pageLines(pageOf(chunk), false)).toBe(lines);
  expect(pageLines(pageOf(chunk), true)).toBe(pageLines(pageOf(chunk), true));
  const joined = pageOf(chunk, chunkOf(1, [['2']]));
  expect(pageLines({ ...joined, hasMore: true }, false)).toBe(pageLines(joined, false));
});
