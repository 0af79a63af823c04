import { describe, expect, test } from 'vitest';
import { type BodyLine, BodyLines } from './body-lines.ts';

function cut(chunks: Iterable<Uint8Array>, maxLineBytes = 100): BodyLine[] {
  const lines = new BodyLines(maxLineBytes);
  const out: BodyLine[] = [];
  for (const chunk of chunks) out.push(...lines.push(chunk));
  out.push(...lines.end());
  return out;
}

/** Whole, split at every position, and byte by byte. */
function* splits(bytes: Buffer): Generator<Buffer[]> {
  yield [bytes];
  for (let at = 1; at < bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield [...bytes].map((byte) => Buffer.of(byte));
}

describe('wherever the bytes are split', () => {
  test('lines keep their numbers; blank ones count and are left out; a CR before the LF is dropped', () => {
    for (const chunks of splits(Buffer.from('{"a":1}\r\n\n  \t\r\n["ü€𝄞"]\n3'))) {
      expect(cut(chunks).map(({ number, text }) => [number, text])).toEqual([
        [1, '{"a":1}'],
        [4, '["ü€𝄞"]'],
        [5, '3'],
      ]);
    }
  });

  test('a line that is not UTF-8 is named, and the lines before it count', () => {
    for (const chunks of splits(
      Buffer.concat([Buffer.from('1\n2\n"'), Buffer.of(0xc3, 0x28), Buffer.from('"\n4\n')]),
    )) {
      const lines = new BodyLines(100);
      const seen: string[] = [];
      const run = (): void => {
        for (const chunk of chunks) for (const { text } of lines.push(chunk)) seen.push(text);
      };
      expect(run).toThrow(expect.objectContaining({ code: 'INVALID_UTF8', line: 3 }));
      expect(seen).toEqual(['1', '2']);
    }
  });

  test('a line of the longest length passes, with CR or without; one byte more does not', () => {
    for (const chunks of splits(Buffer.from('12345\r\n12345\n12345')))
      expect(cut(chunks, 5).map(({ bytes }) => bytes)).toEqual([5, 5, 5]);
    for (const ending of ['\n', '\r\n', '']) {
      for (const chunks of splits(Buffer.from(`1\n123456${ending}`))) {
        // Without any line end the sixth byte may still be a CR, until the input ends.
        expect(() => cut(chunks, 5)).toThrow(expect.objectContaining({ code: 'ROW_TOO_LARGE', line: 2 }));
      }
    }
  });
});

test('a line without an end is refused when it passes the bound, not when it ends', () => {
  const lines = new BodyLines(1_000);
  expect([...lines.push(Buffer.alloc(1_001, 'x'))]).toEqual([]);
  expect(() => [...lines.push(Buffer.of(0x78))]).toThrow(expect.objectContaining({ code: 'ROW_TOO_LARGE', line: 1 }));
});

test('a byte order mark at the very beginning is dropped', () => {
  expect(cut([Buffer.from('\uFEFF1\n2\n')]).map(({ text }) => text)).toEqual(['1', '2']);
});

test('a line keeps its bytes when the chunk it came in is used again', () => {
  const lines = new BodyLines(100);
  const chunk = Buffer.from('"abc');
  expect([...lines.push(chunk)]).toEqual([]);
  chunk.fill(0);
  expect([...lines.push(Buffer.from('"\n'))]).toEqual([{ number: 1, text: '"abc"', bytes: 5 }]);
});
