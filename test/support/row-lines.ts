/** Row lines are decoded inside a longer text: the text around them must not matter. */
import type { RowDecoder } from '../../src/core/wire/row-decoder.ts';

export function decodeRow(line: string, decoder: RowDecoder): boolean {
  const before = 'RDATA events 1 [0]\n';
  return decoder.decode(`${before}${line}\nRDATA batch 7 [1]\n`, before.length, before.length + line.length);
}
