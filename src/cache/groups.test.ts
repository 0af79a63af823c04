import { describe, expect, test } from 'vitest';
import { cutKeys, type Expand, expandGroup } from './groups.ts';

const members = (count: number): string[] => Array.from({ length: count }, (_, i) => `@user${i}:example.com`);

describe('keys that are too many for one row are cut', () => {
  test("with Synapse's numbers: the room in each row, and at most 50 members", () => {
    const rows = cutKeys(['!room', ...members(120)], { head: 1, size: 50 }, Infinity);
    expect(rows.map((row) => row.length)).toEqual([51, 51, 21]);
    expect(rows.map(([room]) => room)).toEqual(['!room', '!room', '!room']);
    expect(rows.flatMap((row) => row.slice(1))).toEqual(members(120));
  });

  test('as many as fit a line, where no size is given', () => {
    const keys = ['!room', ...members(100).map((member) => `${member}ü"\n`)];
    const rows = cutKeys(keys, { head: 1 }, 500);
    expect(rows.length).toBeGreaterThan(5);
    for (const row of rows) expect(Buffer.byteLength(JSON.stringify(row))).toBeLessThanOrEqual(500);
    // The next key would not have fitted.
    for (const [i, row] of rows.slice(0, -1).entries())
      expect(Buffer.byteLength(JSON.stringify([...row, rows[i + 1]![1]]))).toBeGreaterThan(500);
    expect(rows.flatMap((row) => row.slice(1))).toEqual(keys.slice(1));
  });

  test('without a head, and down to one key a row', () => {
    expect(cutKeys(['a', 'b', 'c'], { head: 0, size: 1 }, Infinity)).toEqual([['a'], ['b'], ['c']]);
    expect(cutKeys(['head', 'a long key', 'another one'], { head: 1 }, 5)).toEqual([
      ['head', 'a long key'],
      ['head', 'another one'],
    ]);
  });

  test('into one row where they are few, also when there is only the head', () => {
    expect(cutKeys(['!room', '@a:b'], { head: 1, size: 50 }, 500)).toEqual([['!room', '@a:b']]);
    expect(cutKeys(['!room'], { head: 1, size: 50 }, 500)).toEqual([['!room']]);
  });
});

describe('a row of a group', () => {
  const group = (expand: Expand) => ({ name: 'g', expand, chunk: undefined });

  test('stands for what its function gives, keys as text', () => {
    const expand: Expand = ([room, ...rest]) => [
      ['get_users_in_room', [room]],
      ['everything', null],
      ...rest.map((member) => ['is_joined', [room, member, 5]] as const),
    ];
    expect(expandGroup(group(expand), ['!r', '@a:b'])).toEqual([
      ['get_users_in_room', ['!r']],
      ['everything', null],
      ['is_joined', ['!r', '@a:b', '5']],
    ]);
  });

  test.each<[string, Expand, readonly string[], string]>([
    [
      'whose function throws',
      () => {
        throw new Error('oops');
      },
      ['a'],
      'group g failed at keys ["a"]: oops',
    ],
    ['whose function gives no list', () => 5 as unknown as [], ['a'], 'group g failed at keys ["a"]:'],
    [
      'whose function gives no keys',
      () => [['c', [undefined as unknown as string]]],
      ['a'],
      'a key is a string, a number, a bigint or a boolean, not undefined',
    ],
    ['without a key', () => [], [], 'group g came without a key, expected at least one'],
  ])('%s fails with the name of the group', (_what, expand, keys, text) => {
    expect(() => expandGroup(group(expand), keys)).toThrow(
      expect.objectContaining({ name: 'HandlerError', code: 'GROUP_FAILED' }),
    );
    expect(() => expandGroup(group(expand), keys)).toThrow(text);
  });
});
