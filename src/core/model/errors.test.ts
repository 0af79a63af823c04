import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import {
  ConnectionError,
  HandlerError,
  LogError,
  messageOf,
  PeerError,
  cutText,
  escapeControl,
  escapeLines,
  quote,
  RowcastError,
  systemCode,
  UsageError,
} from './errors.ts';

test.each([
  ['RowcastError', RowcastError],
  ['PeerError', PeerError],
  ['UsageError', UsageError],
  ['HandlerError', HandlerError],
  ['LogError', LogError],
  ['ConnectionError', ConnectionError],
] as const)('%s says whose fault it is, which one, and why', (name, Kind) => {
  const cause = new Error('deeper');
  const error = new Kind('CLOSED', 'it is closed', { cause });
  expect(error).toBeInstanceOf(RowcastError);
  expect(error).toMatchObject({ name, code: 'CLOSED', message: 'it is closed', cause });
  expect(String(error)).toBe(`${name}: it is closed`);
});

const MARKS = [0x61c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069, 0x9b].map(
  (code) => String.fromCodePoint(code),
);

describe("a peer's text, as we repeat it,", () => {
  test.each(MARKS)('escapes %j, which turns text around or begins a sequence of a terminal', (mark) => {
    const escaped = `a\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}b`;
    expect(quote(`a${mark}b`)).toBe(escaped);
    expect(escapeLines(`a${mark}b\n`)).toBe(`${escaped}\n`);
    expect(JSON.parse(escapeControl(JSON.stringify(mark)))).toBe(mark);
  });

  test('is cut to 100 characters', () => {
    expect(quote('x'.repeat(100))).toBe('x'.repeat(100));
    expect(quote('x'.repeat(101))).toBe(`${'x'.repeat(100)}…`);
  });

  test('has its control characters and line separators escaped', () => {
    expect(quote('a\u0000\n\r\t\u007f\u0085\u2028\u2029z')).toBe(
      'a\\u0000\\u000a\\u000d\\u0009\\u007f\\u0085\\u2028\\u2029z',
    );
  });

  test('has no half characters', () => {
    expect(quote(`${'x'.repeat(99)}😀`)).toBe(`${'x'.repeat(99)}\ufffd…`);
    expect(quote('\udc00a\ud800')).toBe('\ufffda\ufffd');
    expect(quote('😀')).toBe('😀');
  });
});

test('anything that is thrown has a text', () => {
  expect([messageOf(new TypeError('bad')), messageOf('text'), messageOf(undefined)]).toEqual([
    'bad',
    'text',
    'undefined',
  ]);
});

test('a value that cannot be made a text has a text all the same', () => {
  const hostile = {
    toString() {
      throw new Error('no');
    },
  };
  expect([messageOf(hostile), messageOf(Object.create(null))]).toEqual(
    Array.from({ length: 2 }, () => 'a value without a text (object)'),
  );
});

test('cutText keeps no half of a character', () => {
  expect(cutText('ab', 2)).toBe('ab');
  expect(cutText('abc', 2)).toBe('ab');
  expect(cutText('a🚀c', 2)).toBe('a');
  expect(cutText('a🚀c', 3)).toBe('a🚀');
  expect(cutText('🚀🚀', 3)).toBe('🚀');
});

test('an error of another realm, as test runners make them, has its code and its text', () => {
  const error: unknown = runInNewContext("Object.assign(new Error('no such file'), { code: 'ENOENT' })");
  expect(error).not.toBeInstanceOf(Error);
  expect([systemCode(error), messageOf(error)]).toEqual(['ENOENT', 'no such file']);
  expect([undefined, null, 'ENOENT', new Error('x'), { code: 7 }].map(systemCode)).toEqual(['', '', '', '', '']);
});
