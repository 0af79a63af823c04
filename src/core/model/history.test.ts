import { describe, expect, test } from 'vitest';
import { eraNumberOf, formatHistory, history, logIdOf, originOf, parseEra, parseHistory } from './history.ts';

const text = '8f3c1d2e4b5a6978.1764281400.a1b2c3d4';

describe('a history', () => {
  test('is read and written as one word', () => {
    const parts = { logId: '8f3c1d2e4b5a6978', number: 1764281400, random: 'a1b2c3d4' };
    expect(parseHistory(text)).toEqual(parts);
    expect(formatHistory(parts)).toBe(text);
    expect(logIdOf(text)).toBe(parts.logId);
    expect(eraNumberOf(text)).toBe(parts.number);
    expect(parseEra('1764281400.a1b2c3d4')).toEqual({ number: 1764281400, random: 'a1b2c3d4' });
  });

  test('of token 0 of a whole stream is older than every era', () => {
    expect(parseHistory(originOf('8f3c1d2e4b5a6978'))).toEqual({
      logId: '8f3c1d2e4b5a6978',
      number: 0,
      random: '00000000',
    });
  });

  test.each([
    '',
    'x',
    '8f3c1d2e4b5a6978',
    '8f3c1d2e4b5a6978.1',
    '8f3c1d2e4b5a697.1.a1b2c3d4',
    '8F3C1D2E4B5A6978.1.a1b2c3d4',
    '8f3c1d2e4b5a6978.01.a1b2c3d4',
    '8f3c1d2e4b5a6978.-1.a1b2c3d4',
    '8f3c1d2e4b5a6978.1.a1b2c3d',
    '8f3c1d2e4b5a6978.9999999999999999.a1b2c3d4',
    '8f3c1d2e4b5a6978.1.a1b2c3d4 ',
    '8f3c1d2e4b5a6978.1.a1b2c3d4\n',
  ])('is not %j', (wrong) => {
    expect(parseHistory(wrong)).toBeUndefined();
    expect(() => history(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_POSITION' }));
  });
});
