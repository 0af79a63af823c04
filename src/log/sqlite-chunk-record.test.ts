import { expect, test } from 'vitest';

import type { Chunk } from '../core/model/chunk.ts';
import { chunkOf, EraTexts, recordOf } from './sqlite-chunk-record.ts';

const LOG_ID = '0123456789abcdef';
const OWN = `${LOG_ID}.1764281400.a1b2c3d4`;
const FOREIGN = 'fedcba9876543210.1764281400.a1b2c3d4';

function chunkWith(parts: Partial<Chunk>): Chunk {
  return {
    after: 4,
    upTo: 5,
    rows: 1,
    rowsUpTo: 9,
    history: OWN,
    atMs: 1_764_281_400_123,
    logMs: 1_000,
    texts: Buffer.from('{"a":1}'),
    sizes: [1],
    tokens: undefined,
    attributes: undefined,
    ...parts,
  };
}

const chunks: ReadonlyArray<readonly [what: string, chunk: Chunk, columns: readonly unknown[]]> = [
  ['one batch', chunkWith({}), ['1', null, '1764281400.a1b2c3d4', null]],
  [
    'runs of batches of one size',
    chunkWith({ sizes: [...Array.from({ length: 1_000 }, () => 1), 3, 2, 2], rows: 1_007 }),
    ['1*1000,3,2*2', null, '1764281400.a1b2c3d4', null],
  ],
  [
    'tokens that skip, a history of another log, and attributes',
    chunkWith({
      sizes: [2, 3],
      tokens: [7, 9],
      upTo: 9,
      history: FOREIGN,
      attributes: [{ token: 9, json: '{"t":"é\\n"}' }],
    }),
    ['2,3', '7,9', FOREIGN, '[[9,"{\\"t\\":\\"é\\\\n\\"}"]]'],
  ],
  ['no batch', chunkWith({ sizes: [], rows: 0, texts: Buffer.alloc(0) }), ['', null, '1764281400.a1b2c3d4', null]],
];
for (const [what, chunk, columns] of chunks) {
  test(`a chunk of ${what} comes back from its record as it was`, () => {
    const eras = new EraTexts(LOG_ID);
    const record = recordOf(7, chunk, eras);
    const [, , , , sizes, tokens, era, , , , attributes] = record;
    expect([sizes, tokens, era, attributes]).toEqual(columns);
    expect(chunkOf(7, record, eras)).toEqual(chunk);
  });
}

test('a record of which any column is another, or that is of another stream, is no chunk', () => {
  const eras = new EraTexts(LOG_ID);
  const chunk = chunkWith({ tokens: [5], attributes: [{ token: 5, json: '{}' }] });
  const record: unknown[] = recordOf(7, chunk, eras);
  for (const [column, value] of record.entries()) {
    for (const other of [typeof value === 'number' ? value + 1 : `${String(value)}x`, null, {}]) {
      expect(chunkOf(7, record.with(column, other), eras), `column ${column}`).toBeUndefined();
    }
  }
  expect(chunkOf(8, record, eras)).toBeUndefined();
});

test('an era is read in the log as it is called now', () => {
  const record = recordOf(7, chunkWith({}), new EraTexts(LOG_ID));
  const renamed = 'ffffffffffffffff';
  expect(chunkOf(7, record, new EraTexts(renamed))!.history).toBe(OWN.replace(LOG_ID, renamed));
  expect(new EraTexts(LOG_ID).historyOf('none')).toBeUndefined();
  expect(new EraTexts(LOG_ID).historyOf(null)).toBeUndefined();
});
