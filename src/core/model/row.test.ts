import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { LogError } from './errors.ts';
import {
  encodeRow,
  keepText,
  keepTexts,
  MAX_ROW_DEPTH,
  type RowValidator,
  type RowVerdict,
  rowTextFault,
  validateRows,
} from './row.ts';

describe('a row as text', () => {
  test('is JSON without a line end, whatever is in it', () => {
    expect(encodeRow('events', { a: 'x\ny\r\u2028', b: ['ü', null] })).toBe('{"a":"x\\ny\\r\u2028","b":["ü",null]}');
    expect(encodeRow('events', 'half \ud800')).toBe('"half \\ud800"');
    expect(encodeRow('events', null)).toBe('null');
  });

  test.each([
    ['a function', () => 1, 'a row of stream events is function, which JSON cannot say'],
    ['nothing', undefined, 'a row of stream events is undefined, which JSON cannot say'],
    ['a symbol', Symbol('x'), 'a row of stream events is symbol, which JSON cannot say'],
    ['a BigInt', { a: 1n }, 'a row of stream events is not JSON: Do not know how to serialize a BigInt'],
  ])('%s is refused', (_what, row, text) => {
    expect(() => encodeRow('events', row)).toThrow(expect.objectContaining({ code: 'INVALID_ROW', message: text }));
  });

  test('a cycle is refused, with its cause', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(() => encodeRow('events', cycle)).toThrow(
      expect.objectContaining({ code: 'INVALID_ROW', cause: expect.any(TypeError) as unknown }),
    );
  });
});

function nested(depth: number, [open, close]: readonly [string, string] = ['[', ']']): string {
  return `${open.repeat(depth)}${close.repeat(depth)}`;
}

describe('a row that comes as text', () => {
  test.each([
    '9007199254740993',
    '1e400',
    '-0',
    '1.10',
    '{"a":1,"a":2}',
    '{"b":1,"a":2,"1":3}',
    String.raw`"\u00e9 \/ \ud800"`,
    '{ "a" : [ 1 , 2 ] }',
    '"\u2028\u2029\ufeff\u0085\u00a0"',
    '"🚀"',
    String.raw`"a\tb\nc\\"`,
    'null',
  ])('%s stays as it is', (text) => {
    expect(rowTextFault(text)).toBeUndefined();
    expect(keepText(text)).toBe(text);
  });

  test('has its tabs and line ends between tokens made spaces, and the white space around it cut off', () => {
    const text = ' \t{\n\t"a":\r\n1,"b\\t":"c  d"}\r\n';
    expect(rowTextFault(text)).toBeUndefined();
    expect(keepText(text)).toBe('{  "a":  1,"b\\t":"c  d"}');
  });

  test.each([
    ['', 'is not JSON: '],
    ['{"a":1', 'is not JSON: '],
    ['1 2', 'is not JSON: '],
    ['01', 'is not JSON: '],
    ['NaN', 'is not JSON: '],
    ['\ufeff1', 'is not JSON: '],
    ['1\u00a0', 'is not JSON: '],
    ['"a\tb"', 'is not JSON: '],
    ['"a\nb"', 'is not JSON: '],
    ['"\ud800"', 'has half a character (a lone surrogate)'],
  ])('%j is refused', (text, why) => expect(rowTextFault(text)).toContain(why));

  test('is refused where it is nested deeper than readers can follow, and brackets in strings do not count', () => {
    const deep = `has more than ${MAX_ROW_DEPTH} arrays and objects within each other`;
    expect(rowTextFault(nested(MAX_ROW_DEPTH))).toBeUndefined();
    expect(rowTextFault(nested(MAX_ROW_DEPTH + 1))).toBe(deep);
    expect(rowTextFault(`{"a":${nested(MAX_ROW_DEPTH)}}`)).toBe(deep);
    expect(rowTextFault(nested(100_000))).toBe(deep);
    expect(rowTextFault('['.repeat(1_000_000))).toBe(deep);
    expect(rowTextFault(`["\\"${'['.repeat(2_000)}"]`)).toBeUndefined();
    expect(rowTextFault(`[${nested(1).concat(',').repeat(2_000)}1]`)).toBeUndefined();
  });

  test('is named by its place in its batch when it is refused', () => {
    expect(keepTexts('events', [' 1', '2 '])).toEqual(['1', '2']);
    expect(() => keepTexts('events', [1 as unknown as string])).toThrow(
      'row 0 of the batch for stream events is number',
    );
    expect(() => keepTexts('events', ['1', 'x'])).toThrow(
      expect.objectContaining({
        code: 'INVALID_ROW',
        message: expect.stringMatching(/^row 1 of the batch for stream events is not JSON: /) as unknown,
        facts: { stream: 'events', row: 1 },
      }),
    );
  });
});

describe('a validator', () => {
  const validator = (
    validate: (value: unknown) => RowVerdict<number> | Promise<RowVerdict<number>>,
  ): RowValidator<number> => ({
    '~standard': { version: 1, vendor: 'test', validate },
  });
  const whole = validator((value) =>
    Number.isInteger(value) ? { value: (value as number) + 1 } : { issues: [{ message: 'not whole' }] },
  );
  const wholeLater = validator(async (value) => whole['~standard'].validate(value));

  test('gives its own values, at once', () => {
    expect(validateRows('events', whole, [1, 2])).toEqual([2, 3]);
  });

  test('may take its time', async () => {
    await expect(validateRows('events', wholeLater, [1, 2])).resolves.toEqual([2, 3]);
  });

  test('that refuses names the row and the stream', async () => {
    const expected = expect.objectContaining({
      code: 'INVALID_ROW',
      message: 'row 1 of the batch is not a row of stream events: not whole',
    }) as Error;
    expect(() => validateRows('events', whole, [1, 1.5])).toThrow(expected);
    await expect(validateRows('events', wholeLater, [1, 1.5])).rejects.toEqual(expected);
  });

  test('that refuses names the path, also of several faults', () => {
    const schema = z.object({ user: z.object({ age: z.number() }), tags: z.array(z.string()) });
    expect(() => validateRows('events', schema, [{ user: { age: 'x' }, tags: ['a', 5] }])).toThrow(
      /^row 0 of the batch is not a row of stream events: user\.age: .*; tags\.1: .*$/,
    );
    const keyed = validator(() => ({ issues: [{ message: 'bad', path: [{ key: 'a' }, 0, Symbol('s')] }] }));
    expect(() => validateRows('events', keyed, [1])).toThrow('events: a.0.Symbol(s): bad');
  });

  test('that throws at once leaves no refusal of an earlier row unhandled', async () => {
    const refusing = validator((value) => {
      if (value === 'at once') throw new Error('at once');
      return Promise.reject(new Error('later'));
    });
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    expect(() => validateRows('orders', refusing, ['later', 'at once'])).toThrow('at once');
    await new Promise(setImmediate);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  test('that throws is told as one that refuses, at once or later', async () => {
    const text = 'the validator of stream events threw: oops';
    const throwing = validator(() => {
      throw new Error('oops');
    });
    expect(() => validateRows('events', throwing, [1])).toThrow(
      expect.objectContaining({ code: 'INVALID_ROW', message: text }),
    );
    const rejecting = validator(async () => Promise.reject(new Error('oops')));
    await expect(validateRows('events', rejecting, [1, 2])).rejects.toMatchObject({
      code: 'INVALID_ROW',
      message: text,
    });
  });

  test("an error of Rowcast's own goes through", () => {
    const error = new LogError('LOG_FULL', 'the disk is full');
    const throwing = validator(() => {
      throw error;
    });
    expect(() => validateRows('events', throwing, [1])).toThrow(error);
  });
});
