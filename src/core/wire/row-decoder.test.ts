import { describe, expect, test } from 'vitest';
import { decodeRow } from '../../../test/support/row-lines.ts';
import { PeerError } from '../model/errors.ts';
import { UnreadableRow } from '../model/unreadable-row.ts';
import { RowDecoder } from './row-decoder.ts';

describe('row lines', () => {
  test('are read by one decoder, line after line', () => {
    const decoder = new RowDecoder();
    for (const [line, stream, token, row] of [
      ['RDATA events 54 [1]', 'events', 54, [1]],
      ['RDATA events batch {"a": 2}', 'events', undefined, { a: 2 }],
      ['RDATA typing 3 null', 'typing', 3, null],
      ['RDATA events2 4 "ü"', 'events2', 4, 'ü'],
      ['RDATA events 55 []', 'events', 55, []],
      ['RDATA 房间😀 5 [1]', '房间😀', 5, [1]],
      ['RDATA 房间😀 batch [2]', '房间😀', undefined, [2]],
      ['RDATA RDATA 6 [3]', 'RDATA', 6, [3]],
    ] as const) {
      expect(decodeRow(line, decoder)).toBe(true);
      expect([decoder.stream, decoder.token, decoder.row]).toEqual([stream, token, row]);
    }
  });

  test('a bad one is refused like any other line', () => {
    const decoder = new RowDecoder();
    decodeRow('RDATA events 53 []', decoder);
    expect(() => decodeRow('RDATA ALL 54 []', decoder)).toThrow(/^failed to parse line for RDATA: ALL is reserved/);
    expect(decoder.stream).toBe('events');
  });

  test.each(['[', '', ' []'])('one whose row alone is bad says so, and keeps the text of the row: %j', (text) => {
    const decoder = new RowDecoder();
    for (const token of ['54', 'batch']) {
      expect(decodeRow(`RDATA events ${token} ${text}`, decoder)).toBe(true);
      const { row, stream } = decoder;
      expect(row).toBeInstanceOf(UnreadableRow);
      expect(row).toMatchObject({ text, fault: { code: 'INVALID_ROW', text: 'it is not JSON, or nested too deeply' } });
      expect([stream, decoder.token]).toEqual(['events', token === 'batch' ? undefined : 54]);
    }
  });

  test('the same token is read however it is written: short, padded, negative, the largest', () => {
    const decoder = new RowDecoder();
    for (const [text, token] of [
      ['0', 0],
      ['054', 54],
      ['-5', 0],
      ['999999999999999', 999_999_999_999_999],
      ['9007199254740991', Number.MAX_SAFE_INTEGER],
      ['0000000000000054', 54],
    ] as const) {
      decodeRow(`RDATA events ${text} []`, decoder);
      expect(decoder.token).toBe(token);
    }
  });

  test('in rowcast/2 a token is not negative, whatever was read before', () => {
    const decoder = new RowDecoder();
    decodeRow('RDATA events -5 []', decoder);
    decoder.dialect = 'rowcast/2';
    expect(() => decodeRow('RDATA events -5 []', decoder)).toThrow(/^failed to parse line for RDATA: expected a token/);
    decodeRow('RDATA events 9007199254740991 []', decoder);
    expect(decoder.token).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => decodeRow('RDATA events -5 []', new RowDecoder('rowcast/2'))).toThrow(PeerError);
  });

  test.each([
    'RDATA events',
    'RDATA events ',
    'RDATA events 5',
    'RDATA events batch',
    'RDATA events 5x []',
    'RDATA events 9007199254740992 []',
    'RDATA events 00000000000000054 []',
    'RDATA events  5 []',
    'RDATA events  []',
    'RDATA events2 5',
    'RDATA  5 []',
  ])('a line that ends early or is malformed takes nothing of the next one: %j', (line) => {
    const decoder = new RowDecoder();
    expect(() => decodeRow(line, decoder)).toThrow(PeerError);
    decodeRow('RDATA events 4 []', decoder);
    expect(() => decodeRow(line, decoder)).toThrow(PeerError);
  });

  test.each(['RDATA', 'RDATAX events', 'PING 5', 'rdata events 5 []'])('another line is none: %j', (line) => {
    const decoder = new RowDecoder();
    expect(decodeRow(line, decoder)).toBe(false);
    decodeRow('RDATA events 4 []', decoder);
    expect(decodeRow(line, decoder)).toBe(false);
  });
});
