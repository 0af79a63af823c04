import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { LogError } from './errors.ts';
import { encodeRow, type RowValidator, type RowVerdict, validateRows } from './row.ts';

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
