import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeLeniently, isWhole, utf8, utf8Length } from './bytes.ts';

/** Of one, two, three and four bytes, and half a character. */
const units = ['x', 'é', '日', '😀', '\ud83d', '\ude00'];

/** Around the length at which text is encoded in pieces. */
const lengths = [0, 1, 4_095, 4_096, 4_097, 8_191, 8_192, 8_193, 20_000];

const texts = units.flatMap((unit) => lengths.flatMap((length) => [unit.repeat(length), `x${unit.repeat(length)}`]));

test('text becomes UTF-8 as Node makes it, however long it is', () => {
  for (const text of texts) expect(Buffer.from(utf8(text)).equals(Buffer.from(text))).toBe(true);
});

test('the length of a text in bytes is that of its UTF-8', () => {
  for (const text of texts) expect(utf8Length(text)).toBe(Buffer.byteLength(text));
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(utf8Length(text)).toBe(Buffer.byteLength(text));
    }),
  );
});

test('bytes are UTF-8 where a strict decoder takes them, also with U+FFFD in them', () => {
  const strict = (bytes: Uint8Array): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  // Beginnings of characters, what may follow them, and U+FFFD itself.
  const pieces = [[0x41], [0xef], [0xbf], [0xbd], [0xef, 0xbf, 0xbd], [0xe4, 0xb8], [0xf0, 0x9f], [0x98], [0xc3, 0xa9]];
  const anyBytes = fc
    .array(fc.constantFrom(...pieces), { maxLength: 12 })
    .map((parts) => Uint8Array.from(parts.flat()));
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      expect(isWhole(decodeLeniently(bytes), bytes)).toBe(strict(bytes));
    }),
    { numRuns: 2_000 },
  );
});

test('what was encoded stays as it is when more is encoded', () => {
  const first = utf8('first');
  utf8('other');
  expect(Buffer.from(first).toString()).toBe('first');
});
