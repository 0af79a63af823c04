import { describe, expect, test } from 'vitest';
import { formatPosition, formatPositions, parsePosition, parsePositions, type Position } from './position.ts';

const history = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';
const other = '8f3c1d2e4b5a6978.1764281400.00000001';
const at = (stream: string, token: number, of: string | undefined = history): Position => ({
  stream,
  token,
  history: of,
});

describe('a position', () => {
  test.each([
    ['events=123@8f3c1d2e4b5a6978.1764281400.a1b2c3d4', at('events', 123)],
    ['room%3A42=0@8f3c1d2e4b5a6978.1764281400.a1b2c3d4', at('room:42', 0)],
    ['a%2Cb%3Dc%40d=7@8f3c1d2e4b5a6978.1764281400.a1b2c3d4', at('a,b=c@d', 7)],
    ['events=123', { stream: 'events', token: 123, history: undefined }],
  ])('is written %s and read back', (text, position) => {
    expect(formatPosition(position)).toBe(text);
    expect(parsePosition(text)).toEqual(position);
  });

  test.each([
    '',
    'events',
    'events=',
    'events=x',
    'events=-1',
    'events=1=2',
    'events=1@',
    'events=1@x',
    '%=1',
    '=1',
    'ALL=1',
    'a b=1',
    'events=1@8f3c',
  ])('is not %j', (text) => {
    expect(() => parsePosition(text)).toThrow(expect.objectContaining({ code: 'INVALID_POSITION' }));
  });
});

describe('a list of positions', () => {
  test('names a history once where it repeats', () => {
    const list = [at('a', 1), at('b', 2), at('c', 3, other), at('d', 4, other)];
    const text = formatPositions(list);
    expect(text).toBe(`a=1@${history},b=2@,c=3@${other},d=4@`);
    expect(parsePositions(text)).toEqual(list);
  });

  test('tells no history from the one before', () => {
    const list: Position[] = [at('a', 1), { stream: 'b', token: 2, history: undefined }, at('c', 3)];
    expect(formatPositions(list)).toBe(`a=1@${history},b=2,c=3@`);
    expect(parsePositions(formatPositions(list))).toEqual(list);
  });

  test('has a bound, which is not read past', () => {
    expect(parsePositions('a=1, b=2', 2)).toHaveLength(2);
    expect(() => parsePositions('a=1,b=2,c=3', 2)).toThrow(expect.objectContaining({ code: 'INVALID_POSITION' }));
  });

  test('does not begin with an empty history', () => {
    expect(() => parsePositions('a=1@')).toThrow(expect.objectContaining({ code: 'INVALID_POSITION' }));
  });

  test('of 64 streams takes 1,315 characters', () => {
    const list = Array.from({ length: 64 }, (_, i) => at(`stream-${String(i).padStart(2, '0')}`, 12_345));
    expect(formatPositions(list).length).toBeLessThan(1_400);
  });
});
