import { describe, expect, test } from 'vitest';

import { Declarations, defineStreams } from './declarations.ts';
import { defineStream, nameOf, type Stream } from './stream.ts';

describe('declarations', () => {
  test('a name that is declared wins over a pattern that matches it', () => {
    const declared = new Declarations([
      defineStreams('room:*', { retain: { rows: 10 } }),
      defineStream('room:1', { durable: false }),
    ]);
    expect(declared.find('room:1')).toEqual({
      name: 'room:1',
      durable: false,
      retain: { rows: 10_000, maxBytes: 16_777_216 },
    });
    expect(declared.find('room:2')).toEqual({ name: 'room:2', durable: true, retain: { rows: 10 } });
    expect(declared.find('user:2')).toBeUndefined();
    expect([declared.has('room:1'), declared.has('room:2'), declared.has('room:')]).toEqual([true, true, false]);
  });

  test.each([
    [[defineStream('a'), defineStream('a')]],
    [[defineStreams('a*'), defineStreams('*b')]],
    [[defineStreams('a:*'), defineStreams('a:*')]],
  ])('of one name twice, or of two patterns that share names, are refused', (declarations) => {
    expect(() => new Declarations(declarations)).toThrow(expect.objectContaining({ code: 'DUPLICATE_STREAM' }));
  });

  test('a pattern is no name of itself: nobody can make a stream by it', () => {
    const declared = new Declarations([defineStreams('room:*')]);
    expect([declared.find('room:*'), declared.has('room:*'), declared.has('room:a*')]).toEqual([
      undefined,
      false,
      false,
    ]);
  });

  test('a pattern in the place of a stream is refused', () => {
    // TypeScript refuses it too.
    const rooms = defineStreams('room:*') as unknown as Stream;
    expect(() => nameOf(rooms)).toThrow(
      expect.objectContaining({
        code: 'INVALID_STREAM_NAME',
        message: expect.stringContaining("use the pattern's stream(name)"),
      }),
    );
  });

  test('a pattern gives the definition of each of its streams, and of no other', () => {
    const rooms = defineStreams('room:*', { durable: false });
    expect(rooms.stream('room:42')).toEqual({
      name: 'room:42',
      durable: false,
      retain: { rows: 10_000, maxBytes: 16_777_216 },
    });
    for (const name of ['user:42', 'room:', '$streams', 'room:4 2', 'room:*']) {
      expect(() => rooms.stream(name)).toThrow(expect.objectContaining({ code: 'INVALID_STREAM_NAME' }));
    }
  });
});
