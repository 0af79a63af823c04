import { expect, test } from 'vitest';
import { validateRows } from '../core/model/row.ts';
import { defineCachesStream, parseInvalidation } from './invalidation.ts';

const good: unknown[] = [
  ['get_user_by_id', ['@bob:localhost:8823'], 1550574873251],
  ['get_monthly_active_count', [], 0],
  ['get_user_by_id', null, 1550574873251],
  ['', ['', ' '], -1],
];

const bad: [unknown, string][] = [
  [null, 'null'],
  ['get_user_by_id', '"get_user_by_id"'],
  [{ name: 'c', keys: [] }, '{"name":"c","keys":[]}'],
  [[], '[]'],
  [['c', []], '["c",[]]'],
  [['c', [], 1, 2], '["c",[],1,2]'],
  [[5, [], 1], '[5,[],1]'],
  [['c', [5], 1], '["c",[5],1]'],
  [['c', [null], 1], '["c",[null],1]'],
  [['c', 'key', 1], '["c","key",1]'],
  [['c', {}, 1], '["c",{},1]'],
  [['c', [], 1.5], '["c",[],1.5]'],
  [['c', [], '1'], '["c",[],"1"]'],
  [['c', []].concat([[]]), '["c",[],[]]'],
];

test.each(good)('%j is an invalidation', (...row) => {
  const [name, keys] = row;
  expect(parseInvalidation('caches', row)).toEqual([name, keys]);
  expect(validateRows('caches', defineCachesStream().row!, [row])).toEqual([row]);
});

test.each(bad)('%j is none, for who receives it and for who appends it', (row, text) => {
  expect(() => parseInvalidation('caches', row)).toThrow(
    expect.objectContaining({ name: 'PeerError', code: 'INVALID_ROW' }),
  );
  expect(() => parseInvalidation('caches', row)).toThrow(
    `a row of stream caches is ${text}, expected [cache_name, list of strings or null, ms since 1970]`,
  );
  expect(() => validateRows('caches', defineCachesStream().row!, [row])).toThrow(
    expect.objectContaining({ name: 'UsageError', code: 'INVALID_ROW' }),
  );
});

test('the stream is called caches, durable, and keeps a million rows, unless told otherwise', () => {
  expect(defineCachesStream()).toMatchObject({ name: 'caches', durable: true, retain: { rows: 1_000_000 } });
  expect(defineCachesStream({ name: 'drops', durable: false, retain: { rows: 5 } })).toMatchObject({
    name: 'drops',
    durable: false,
    retain: { rows: 5 },
  });
});
