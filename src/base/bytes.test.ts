import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8, utf8Length } from './bytes.ts';

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

test('what was encoded stays as it is when more is encoded', () => {
  const first = utf8('first');
  utf8('other');
  expect(Buffer.from(first).toString()).toBe('first');
});
