import { expect, test } from 'vitest';
import { UsageError } from './errors.ts';
import { defineStream, streamName, streamNameFault } from './stream.ts';

test.each(['events', 'a', 'all', 'größe', '日本', 'a,b=c/d', 'x'.repeat(255), `${'é'.repeat(127)}x`])(
  '%s is the name of a stream',
  (name) => {
    expect(streamName(name)).toBe(name);
  },
);

test.each([
  ['', 'is empty'],
  ['ALL', 'is reserved'],
  ['a b', 'space or control'],
  ['a\tb', 'space or control'],
  ['a\nb', 'space or control'],
  ['a\u0000b', 'space or control'],
  ['a\u007fb', 'space or control'],
  ['a\u009fb', 'space or control'],
  ['a\u00a0b', 'space or control'],
  ['a\u3000b', 'space or control'],
  ['a\ud800', 'half a character'],
  ['x'.repeat(256), 'over 255 bytes'],
  ['é'.repeat(128), 'over 255 bytes'],
])('%j is none', (name, why) => {
  expect(streamNameFault(name)).toContain(why);
  expect(() => streamName(name)).toThrow(expect.objectContaining({ code: 'INVALID_STREAM_NAME' }));
});

test.each(['$streams', '$', 'room:*', '*'])('%s may be named but not declared', (name) => {
  expect(streamNameFault(name)).toBeUndefined();
  expect(() => defineStream(name)).toThrow(expect.objectContaining({ code: 'INVALID_STREAM_NAME' }));
});

test('a stream is durable and keeps everything unless told otherwise', () => {
  expect(defineStream('events')).toEqual({ name: 'events', durable: true, retain: {} });
  expect(defineStream('typing', { durable: false, retain: { rows: 1_000, ageMs: 60_000 } })).toEqual({
    name: 'typing',
    durable: false,
    retain: { rows: 1_000, ageMs: 60_000 },
  });
});

test('its validator goes with it', () => {
  const row = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const;
  expect(defineStream('events', { row }).row).toBe(row);
});

test.each([null, 5, 'zod', {}, { '~standard': {} }])('a validator that is none is refused: %o', (row) => {
  expect(() => defineStream('events', { row: row as never })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining('Standard Schema') as string }),
  );
});

test.each([0, -1, 1.5, Number.NaN])('what is kept is a positive integer, not %o', (rows) => {
  expect(() => defineStream('events', { retain: { rows } })).toThrow(UsageError);
  expect(() => defineStream('events', { retain: { rows } })).toThrow(
    `option retain.rows of defineStream is an integer from 1, not ${rows}`,
  );
});

test.each(['reader-1', 'a worker, with: any text', 'reader-*', '*', 'eu:*:mail', '日本', 'x'.repeat(255)])(
  'rows may be kept until worker %s has saved them',
  (name) => expect(defineStream('events', { retain: { untilSavedBy: [name] } }).retain.untilSavedBy).toEqual([name]),
);

test.each([
  [[], 'a list of at least one name'],
  ['reader-1', 'a list of at least one name'],
  [[''], 'it is no name'],
  [[1], 'it is no name'],
  [['a\nb'], 'does not fit on a line'],
  [['a\ud800'], 'does not fit on a line'],
  [['x'.repeat(256)], 'over 255 characters'],
  [['a**'], 'a * stands beside another *'],
  [['$*'], 'no pattern matches names with $'],
  [['a', 'a'], 'has a name twice'],
])('but not until %j have saved them', (names, why) => {
  const declare = (): unknown => defineStream('events', { retain: { untilSavedBy: names as string[] } });
  expect(declare).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  expect(declare).toThrow(why);
});

test('a name that is none is refused', () => {
  expect(() => defineStream('a b')).toThrow(expect.objectContaining({ code: 'INVALID_STREAM_NAME' }));
});

// SPEC L25
test('a stream that is not durable keeps its newest 10,000 rows and 16 MiB of them, unless it says what it keeps', () => {
  expect(defineStream('typing', { durable: false }).retain).toEqual({ rows: 10_000, maxBytes: 16_777_216 });
  expect(defineStream('typing', { durable: false, retain: {} }).retain).toEqual({});
  expect(defineStream('typing', { durable: false, retain: { ageMs: 1 } }).retain).toEqual({ ageMs: 1 });
});

test('retain.maxBytes is for streams that are not durable', () => {
  expect(defineStream('typing', { durable: false, retain: { maxBytes: 5 } }).retain).toEqual({ maxBytes: 5 });
  expect(() => defineStream('orders', { retain: { maxBytes: 5 } })).toThrow(
    /retain\.maxBytes of defineStream is for streams with durable: false/,
  );
});
