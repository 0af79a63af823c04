import { expect, expectTypeOf, test } from 'vitest';
import type { UsageError } from './errors.ts';
import {
  aFunction,
  boolean,
  integerFrom,
  listOf,
  msFromZero,
  nested,
  oneLine,
  oneOf,
  positiveMs,
  required,
  withMethods,
} from './option-kinds.ts';
import { nearestName } from './nearest-name.ts';
import { checkArgument, checkOptions, type OptionTable } from './options.ts';

interface Keeping {
  readonly rows?: number;
}

interface Store {
  load(): void;
  save(): void;
}

interface ReaderOptions {
  readonly name: string;
  readonly timeoutMs?: number;
  readonly onReset?: 'fail' | 'now';
  readonly store?: Store;
  readonly keep?: Keeping;
  readonly isLoud?: boolean;
}

const keeping: OptionTable<Keeping> = { rows: integerFrom(1) };

const table: OptionTable<ReaderOptions> = {
  name: required(oneLine),
  timeoutMs: positiveMs,
  onReset: oneOf('fail', 'now'),
  store: withMethods('load', 'save'),
  keep: nested(keeping),
  isLoud: boolean,
};

const read = (options: unknown): ReaderOptions => checkOptions('createReader', options as ReaderOptions, table);

function refusalOf(options: unknown): UsageError {
  try {
    read(options);
  } catch (error) {
    expect(error).toMatchObject({ name: 'UsageError', code: 'INVALID_OPTION' });
    return error as UsageError;
  }
  throw new Error(`${JSON.stringify(options)} was taken`);
}

test('options come back as they were given, without those that are undefined', () => {
  const store: Store = { load() {}, save() {} };
  const given = { name: 'a', timeoutMs: 5, onReset: undefined, store, keep: { rows: 3 }, isLoud: false };
  expect(read(given)).toStrictEqual({ name: 'a', timeoutMs: 5, store, keep: { rows: 3 }, isLoud: false });
  expect(read(given).store).toBe(store);
});

test('options that are all optional may be left out', () => {
  expect(checkOptions('keep', undefined, keeping)).toStrictEqual({});
});

test('an unknown option is refused with the name that is nearest, also within an option', () => {
  const error = refusalOf({ name: 'a', timoutMs: 5 });
  expect(error.message).toBe('unknown option timoutMs of createReader: did you mean timeoutMs?');
  expect(error.facts).toEqual({ option: 'timoutMs', of: 'createReader', nearest: 'timeoutMs' });
  const inner = refusalOf({ name: 'a', keep: { rowz: 5 } });
  expect(inner.message).toBe('unknown option keep.rowz of createReader: did you mean keep.rows?');
  expect(inner.facts).toEqual({ option: 'keep.rowz', of: 'createReader', nearest: 'keep.rows' });
});

test('an unknown option that is near to none is refused with all names that there are', () => {
  const error = refusalOf({ name: 'a', compression: true });
  expect(error.message).toBe(
    'unknown option compression of createReader: there are name, timeoutMs, onReset, store, keep, isLoud',
  );
  expect(error.facts).toEqual({ option: 'compression', of: 'createReader' });
});

test.each([
  ['chekpoint', 'checkpoint'],
  ['whenSuspectt', 'whenSuspect'],
  ['prot', 'port'],
  ['CHECKPOINT', 'checkpoint'],
  ['timeout', 'timeoutMs'],
  ['keepAlive', 'keepAliveIntervalMs'],
  ['ip', 'id'],
  ['toString', undefined],
  ['__proto__', undefined],
  ['', undefined],
  ['x'.repeat(1_000_000), undefined],
])('the name nearest to %s', (name, nearest) => {
  const known = ['checkpoint', 'whenSuspect', 'port', 'timeoutMs', 'keepAliveIntervalMs', 'id'];
  expect(nearestName(name, known)).toBe(nearest);
});

test('a missing option is named, with what it is', () => {
  for (const options of [{}, { name: undefined }]) {
    const error = refusalOf(options);
    expect(error.message).toBe('option name of createReader is missing: it is one line of text that is not empty');
    expect(error.facts).toEqual({ option: 'name', of: 'createReader', type: 'undefined' });
  }
});

test.each([
  [undefined, 'there are none', 'undefined'],
  [null, 'came null', 'null'],
  ['postgres://me:secret@db', 'came a string', 'string'],
  [[], 'came a list', 'list'],
  [() => {}, 'came a function', 'function'],
  [Promise.resolve({ name: 'a' }), 'came a Promise', 'object'],
  [new Map([['name', 'a']]), 'came a Map', 'object'],
  [new AbortController().signal, 'came an AbortSignal', 'object'],
])('what is no object of options is refused: %s', (options, came, type) => {
  const error = refusalOf(options);
  expect(error.message).toBe(`the options of createReader are an object with name: ${came}`);
  expect(error.facts).toEqual({ of: 'createReader', type });
});

test.each<[string, unknown, string]>([
  ['timeoutMs', Number.NaN, 'is a positive number of ms, not NaN'],
  ['timeoutMs', Number.POSITIVE_INFINITY, 'is a positive number of ms, not Infinity'],
  ['timeoutMs', -1, 'is a positive number of ms, not -1'],
  ['timeoutMs', 0, 'is a positive number of ms, not 0'],
  ['timeoutMs', '5', `is a positive number of ms, not '5'`],
  ['timeoutMs', 5n, 'is a positive number of ms, not a bigint'],
  ['timeoutMs', null, 'is a positive number of ms, not null'],
  ['name', 'a\nb', `is one line of text that is not empty, not 'a\\u000ab'`],
  ['name', '', `is one line of text that is not empty, not ''`],
  ['onReset', 'later', `is 'fail' or 'now', not 'later'`],
  ['isLoud', 1, 'is true or false, not 1'],
  ['keep', 5, 'is an object of options, not 5'],
  ['keep', [], 'is an object of options, not a list'],
  ['keep.rows', 1.5, 'is an integer from 1, not 1.5'],
  ['store', { load() {} }, 'is an object with the methods load, save, not an object without save'],
  ['store', null, 'is an object with the methods load, save, not null'],
])('a wrong value of %s is refused: %s', (option, value, why) => {
  const [outer, inner] = option.split('.') as [string, string?];
  const error = refusalOf({ name: 'a', [outer]: inner === undefined ? value : { [inner]: value } });
  expect(error.message).toBe(`option ${option} of createReader ${why}`);
  expect(error.facts).toMatchObject({ option, of: 'createReader' });
});

test('an error shows no text where an object was expected, and little of any other', () => {
  const password = 'postgres://me:secret@db';
  expect(refusalOf({ name: 'a', store: password }).message).not.toContain('secret');
  expect(refusalOf({ name: 'a', keep: password }).message).not.toContain('secret');
  expect(refusalOf({ name: 'a', store: { load: 'secret' } }).message).not.toContain('secret');
  expect(refusalOf({ name: 'a', onReset: 'x'.repeat(1e6) }).message.length).toBeLessThan(200);
  expect(refusalOf({ name: 'a', ['x'.repeat(1e6)]: 1 }).message.length).toBeLessThan(300);
});

test('options may be an instance of a class, have getters, or be another object’s child', () => {
  let reads = 0;
  class Settings {
    timeoutMs = 5;
    get name(): string {
      reads++;
      return 'a';
    }
    explain(): void {}
  }
  expect(read(new Settings())).toStrictEqual({ name: 'a', timeoutMs: 5 });
  expect(reads, 'each option is read once').toBe(1);
  expect(read(Object.create({ name: 'a' }))).toStrictEqual({ name: 'a' });
  expect(read(Object.freeze(Object.assign(Object.create(null), { name: 'a' })))).toStrictEqual({ name: 'a' });
});

test('a symbol among the names is ignored', () => {
  expect(read({ name: 'a', [Symbol('mine')]: 1 })).toStrictEqual({ name: 'a' });
});

test('what all objects inherit is no option', () => {
  expect(refusalOf({ name: 'a', toString: 1 }).facts).toMatchObject({ option: 'toString' });
  expect(refusalOf(JSON.parse('{"name":"a","__proto__":{}}')).facts).toMatchObject({ option: '__proto__' });
});

test('an argument that is no option is refused in the same way', () => {
  expect(() => checkArgument('read', 'handler', 'x', aFunction())).toThrow(
    'handler of read is a function, not a string',
  );
  checkArgument('read', 'handler', () => {}, aFunction());
});

test('what is no list is no list, and a time may be none where that means something', () => {
  const names = listOf<string>('a list of names');
  expect(names.accepts(['a'])).toBe(true);
  expect(names.accepts('a')).toBe(false);
  expect(msFromZero.accepts(0)).toBe(true);
  expect(msFromZero.accepts(-1)).toBe(false);
});

test('a table without an option, with a wrong kind or without `required` does not compile', () => {
  expectTypeOf<OptionTable<{ readonly a?: string }>>().not.toExtend<OptionTable<{ a?: string; b?: string }>>();
  expectTypeOf<{ readonly rows: typeof boolean }>().not.toExtend<OptionTable<Keeping>>();
  expectTypeOf<{ readonly name: typeof oneLine }>().not.toExtend<OptionTable<{ name: string }>>();
  const name = required(oneLine);
  expectTypeOf<{ readonly name: typeof name }>().toExtend<OptionTable<{ name: string }>>();
  expectTypeOf<{ readonly name: typeof name }>().not.toExtend<OptionTable<{ name?: string }>>();
});
