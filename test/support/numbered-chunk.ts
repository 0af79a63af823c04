/** A chunk whose rows name the token of their batch. */

import { type Chunk, isConsecutive, ROW_BORDER } from '../../src/core/model/chunk.ts';

const ERA = '0123456789abcdef.1764281400.a1b2c3d4';

/** Batches with the given tokens, of 1, 2, 3, 1, … rows. */
export function chunkOf(after: number, tokens: readonly number[], rowsBefore = 0): Chunk {
  const batches = tokens.map((token, i) =>
    Array.from({ length: 1 + (i % 3) }, (_, row) => `{"batch 1":${token},"row":${row}}`),
  );
  const rows = batches.flat();
  const upTo = tokens.at(-1)!;
  return {
    after,
    upTo,
    rows: rows.length,
    rowsUpTo: rowsBefore + rows.length,
    history: ERA,
    atMs: 0,
    logMs: 0,
    texts: Buffer.from(rows.join(ROW_BORDER)),
    sizes: batches.map((batch) => batch.length),
    tokens: isConsecutive(tokens, upTo) ? undefined : tokens,
  };
}
