import { describe, expect, test } from 'vitest';
import { PeerError } from '../model/errors.ts';
import { LineCutter } from './lines.ts';

/** What comes of these chunks where long rows are passed over; `!` stands before a line that cannot be read. */
function cutRows(chunks: readonly Uint8Array[], maxLineBytes: number, maxBytes = 2_000): string[] {
  const cutter = new LineCutter(maxLineBytes, { prefix: 'RDATA ', maxBytes });
  const lines: string[] = [];
  try {
    for (const chunk of chunks) {
      cutter.push(chunk);
      while (cutter.advance()) {
        const { unreadable } = cutter;
        if (unreadable === undefined) lines.push(cutter.text.slice(cutter.start, cutter.end));
        else lines.push(`!${unreadable.code} ${unreadable.bytes} ${unreadable.text.slice(0, 12)}`);
      }
    }
  } catch (thrown) {
    lines.push((thrown as PeerError).code);
  }
  return lines;
}

/** The lines that come of these chunks, and the code of the error that ended them. */
function cut(chunks: readonly Uint8Array[], maxLineBytes = 1024): { lines: string[]; fault: string | undefined } {
  const cutter = new LineCutter(maxLineBytes);
  const lines: string[] = [];
  try {
    for (const chunk of chunks) {
      cutter.push(chunk);
      for (let line = cutter.next(); line !== undefined; line = cutter.next()) lines.push(line);
    }
  } catch (thrown) {
    if (!(thrown instanceof PeerError)) throw thrown;
    expect(() => cutter.next()).toThrow(PeerError);
    cutter.push(Buffer.from('more\n'));
    expect(() => cutter.next(), 'nothing after a fault').toThrow(PeerError);
    return { lines, fault: thrown.code };
  }
  return { lines, fault: undefined };
}

function* divisions(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield [...bytes].map((byte) => Uint8Array.of(byte));
}

function expectLines(text: string | Uint8Array, lines: readonly string[], fault?: string, maxLineBytes?: number): void {
  for (const chunks of divisions(Buffer.from(text as string))) {
    expect(cut(chunks, maxLineBytes), `cut at ${chunks.map(({ length }) => length).join(', ')}`).toEqual({
      lines,
      fault,
    });
  }
}

describe('bytes arrive whole, split at every position, and byte by byte', () => {
  test('a line ends at LF, and what follows the last one waits', () => {
    expectLines('PING 1\nNAME a\nREPLICATE ev', ['PING 1', 'NAME a']);
  });

  test('characters of several bytes may lie across borders', () => {
    expectLines('NAME zwölf 日本 😀\nNAME é\n', ['NAME zwölf 日本 😀', 'NAME é']);
  });

  test('one CR before the LF is dropped', () => {
    expectLines('NOW\r\n\r\nPING\r1\r\nX\r\r\n', ['NOW', 'PING\r1', 'X\r']);
  });

  test('blank lines, empty or only spaces, are ignored', () => {
    expectLines('\n\n   \nPING 1\n \r\n\n', ['PING 1']);
  });

  test('a byte order mark is a character like any other', () => {
    expectLines('\ufeffPING\n', ['\ufeffPING']);
  });

  test('invalid UTF-8 ends the input; the lines before it count, what follows does not', () => {
    for (const bad of [
      [0xff],
      [0xc3],
      [0xed, 0xa0, 0x80],
      [0xc0, 0x80],
      [0xf0, 0x9f, 0x98],
      [0xf5, 0x80, 0x80, 0x80],
    ]) {
      const bytes = Buffer.concat([
        Buffer.from('PING ü\nNAME a\nX'),
        Buffer.from(bad),
        Buffer.from('\nNAME b\nNAME c\n'),
      ]);
      expectLines(bytes, ['PING ü', 'NAME a'], 'INVALID_UTF8');
    }
  });

  test('bytes that are not UTF-8 count once their line has ended', () => {
    expectLines(Buffer.concat([Buffer.from('PING 1\n'), Buffer.from([0xff])]), ['PING 1']);
  });
});

describe('a line of maxLineBytes is taken, one of a byte more is not', () => {
  const max = 16;
  const fits = ['x'.repeat(16), 'é'.repeat(8), `${'日'.repeat(5)}x`, '😀'.repeat(4)];

  test.each(fits)('bytes count, not characters: %s', (line) => {
    expectLines(`${line}\nPING\n`, [line, 'PING'], undefined, max);
    expectLines(`${line}\r\nPING\n`, [line, 'PING'], undefined, max);
    expectLines(`PING\n${line}x\nPING\n`, ['PING'], 'LINE_TOO_LONG', max);
    expectLines(`PING\n${line}x\r\nPING\n`, ['PING'], 'LINE_TOO_LONG', max);
  });

  test('a line that is too long ends the input before its LF comes', () => {
    expectLines(`PING\n${'x'.repeat(18)}`, ['PING'], 'LINE_TOO_LONG', max);
    expectLines(`PING\n${' '.repeat(17)}\n`, ['PING'], 'LINE_TOO_LONG', max);
  });

  test('a Synapse line of 16,384 bytes passes, 16,385 do not', () => {
    const line = `PING ${'x'.repeat(16_379)}`;
    expect(cut([Buffer.from(`${line}\n`)], 16_384)).toEqual({ lines: [line], fault: undefined });
    expect(cut([Buffer.from(`${line}x\n`)], 16_384)).toEqual({ lines: [], fault: 'LINE_TOO_LONG' });
  });
});

test('a chunk may be reused by whoever gave it', () => {
  const cutter = new LineCutter(100);
  const chunk = Buffer.from('PING 1\nNAME re');
  cutter.push(chunk);
  chunk.fill(0x21);
  cutter.push(Buffer.from('ader\n'));
  expect([cutter.next(), cutter.next(), cutter.next()]).toEqual(['PING 1', 'NAME reader', undefined]);
});

test('short lines come through unharmed after one that was as long as can be', () => {
  const cutter = new LineCutter(1024 * 1024);
  const long = 'x'.repeat(1024 * 1024);
  for (let at = 0; at < long.length; at += 65_536) cutter.push(Buffer.from(long.slice(at, at + 65_536)));
  cutter.push(Buffer.from('\nPI'));
  cutter.push(Buffer.from('NG\n'));
  expect([cutter.next(), cutter.next(), cutter.next()]).toEqual([long, 'PING', undefined]);
});

test('a row that is too long or not UTF-8 is passed over wherever it is cut, another line is not', () => {
  const long = `RDATA a 1 "${'x'.repeat(600)}"`;
  const bytes = Buffer.concat([
    Buffer.from(`PING 1\n${long}\r\nPING 2\nRDATA b 2 `),
    Buffer.of(0x22, 0xc3, 0x22),
    Buffer.from(`\n${long}\n${long}\nPING 3\nNAME ${long}\nPING 4\n`),
  ]);
  for (const chunks of divisions(bytes)) {
    const lines = cutRows(chunks, 100).map((line) => line.replace(/61[123]/, '61x'));
    expect(lines).toEqual([
      'PING 1',
      '!LINE_TOO_LONG 61x RDATA a 1 "x',
      'PING 2',
      '!INVALID_UTF8 13 RDATA b 2 "\ufffd',
      '!LINE_TOO_LONG 61x RDATA a 1 "x',
      '!LINE_TOO_LONG 61x RDATA a 1 "x',
      'PING 3',
      'LINE_TOO_LONG',
    ]);
  }
});

test('a row over the bound of those that are passed over ends the input, wherever it is cut', () => {
  const bytes = Buffer.from(`PING 1\nRDATA a 1 "${'x'.repeat(2_000)}"\nPING 2\n`);
  for (const size of [1, 7, 64, 150, 1_000, 1_500, 1_990, 5_000]) {
    const chunks = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    expect(cutRows(chunks, 100, 1_900), `in pieces of ${size}`).toEqual(['PING 1', 'LINE_TOO_LONG']);
  }
});

test('a row without end is passed over up to its bound, and nothing of it is kept', () => {
  const cutter = new LineCutter(100, { prefix: 'RDATA ', maxBytes: 2_000 });
  cutter.push(Buffer.from('RDATA a 1 "'));
  for (let bytes = 0; bytes < 1_900; bytes += 100) cutter.push(Buffer.alloc(100, 'x'));
  expect(cutter.advance()).toBe(false);
  cutter.push(Buffer.alloc(100, 'x'));
  expect(() => cutter.advance()).toThrow(expect.objectContaining({ code: 'LINE_TOO_LONG' }));
});
