import { describe, expect, test } from 'vitest';
import {
  type Fields,
  flag,
  integer,
  isTrue,
  jsonObject,
  objectOf,
  only,
  rowOf,
  text,
  textOrNull,
  texts,
  textsOrNull,
  typedRow,
  type UnknownKind,
  type UnknownRow,
} from './fields.ts';

interface Door {
  readonly name: string;
  readonly width?: number;
  readonly colour?: string | null;
}
type DoorRow =
  | readonly [name: string]
  | readonly [name: string, width: number]
  | readonly [name: string, colour: string | null, width: number];
const door = rowOf<DoorRow, Door>(
  [['name', text]],
  [
    ['name', text],
    ['width', integer],
  ],
  [
    ['name', text],
    ['colour', textOrNull],
    ['width', integer],
  ],
);

describe('a field', () => {
  const kinds = { text, textOrNull, integer, flag, texts, textsOrNull, jsonObject };
  const values: readonly unknown[] = [
    '',
    'a',
    null,
    0,
    1,
    -7,
    1.5,
    2 ** 53,
    true,
    false,
    [],
    ['a'],
    ['a', 5],
    {},
    { a: 1 },
    undefined,
  ];

  test.each<[keyof typeof kinds, readonly unknown[]]>([
    ['text', ['', 'a']],
    ['textOrNull', ['', 'a', null]],
    ['integer', [0, 1, -7]],
    ['flag', [0, 1, true, false]],
    ['texts', [[], ['a']]],
    ['textsOrNull', [null, [], ['a']]],
    ['jsonObject', [{}, { a: 1 }]],
  ])('%s takes just that', (kind, taken) => {
    expect(values.filter((value) => kinds[kind].faultOf(value, 'x') === undefined)).toEqual(taken);
  });

  test('that does not fit is told by its name, what came and what was expected', () => {
    expect(integer.faultOf('5', 'lastActiveTs')).toBe('lastActiveTs is "5", expected an integer');
    expect(flag.faultOf(2, 'deleted')).toBe('deleted is 2, expected true, false, 1 or 0');
    expect(text.faultOf(undefined, 'userId')).toBe('userId is undefined, expected a string');
    expect(text.faultOf(5n, 'userId')).toMatch(/^userId is .*BigInt.*, expected a string$/);
    expect(text.faultOf(['x'.repeat(200)], 'userId')).toHaveLength('userId is …, expected a string'.length + 100);
  });

  test('that is true or 1 is true', () => {
    expect([true, 1, false, 0].filter((value) => isTrue(value as 0))).toEqual([true, 1]);
  });
});

describe('a row', () => {
  test.each<[DoorRow, Door]>([
    [['oak'], { name: 'oak' }],
    [['oak', 90], { name: 'oak', width: 90 }],
    [['oak', null, 90], { name: 'oak', colour: null, width: 90 }],
  ])('%j is known by its length, and has no fields of other lengths', (row, named) => {
    expect(door.faultOf(row, '')).toBeUndefined();
    expect(door.parse(row)).toStrictEqual(named);
    expect(door.format(named)).toStrictEqual(row);
  });

  test.each<[unknown, string]>([
    [null, 'the row is null, expected a list of 1 (name) or 2 (name, width) or 3 (name, colour, width)'],
    [{ length: 1 }, 'the row is {"length":1}, expected a list of 1 (name) or'],
    [[], 'the row is [], expected'],
    [['oak', null, 90, 1], 'the row is ["oak",null,90,1], expected'],
    [['oak', null], 'width is null, expected an integer'],
    [['oak', 5, 5], 'colour is 5, expected a string or null'],
    // oxlint-disable-next-line no-sparse-arrays -- this is what it is about
    [[, 5], 'name is undefined, expected a string'],
  ])('%j is refused', (row, fault) => {
    expect(door.faultOf(row, '')).toContain(fault);
  });

  test('is not made of names that no length has together; other names than the fields do not matter', () => {
    expect(() => door.format({ name: 'oak', colour: 'red' })).toThrow(
      'the fields are name, colour, expected a list of 1 (name) or',
    );
    expect(() => door.format(undefined as unknown as Door)).toThrow('the fields are none, expected');
    expect(door.format({ name: 'oak', kind: 'door' } as Door)).toEqual(['oak']);
    expect(door.format({ name: 'oak', width: undefined } as unknown as Door)).toEqual(['oak']);
  });

  test('has a table whose names and types the compiler checks', () => {
    const wrong = [
      // @ts-expect-error -- no such name
      [['title', text]] satisfies Fields<readonly [string], Door>,
      // @ts-expect-error -- not of that type
      [['name', integer]] satisfies Fields<readonly [string], Door>,
      // @ts-expect-error -- would take what the row may not have
      [['name', textOrNull]] satisfies Fields<readonly [string], Door>,
      // @ts-expect-error -- one is missing
      [['name', text]] satisfies Fields<readonly [string, number], Door>,
    ];
    expect(wrong).toHaveLength(4);
  });
});

describe('an object', () => {
  const frame = objectOf<{ door_row: DoorRow; made_of: string }, { door: Door; madeOf: string }>(
    ['door', 'door_row', door],
    ['madeOf', 'made_of', text],
  );

  test('has other names in TypeScript than on the wire', () => {
    expect(frame.parse({ made_of: 'steel', door_row: ['oak'] })).toStrictEqual({
      madeOf: 'steel',
      door: { name: 'oak' },
    });
    expect(frame.format({ madeOf: 'steel', door: { name: 'oak' } })).toStrictEqual({
      made_of: 'steel',
      door_row: ['oak'],
    });
  });

  test.each<[unknown, string]>([
    [[], 'frame is [], expected an object of door_row, made_of'],
    [null, 'frame is null, expected an object'],
    [{ made_of: 'steel' }, 'frame.door_row is undefined, expected a list of 1 (name)'],
    [{ made_of: 'steel', door_row: [5] }, 'frame.door_row.name is 5, expected a string'],
    [
      { made_of: 'steel', door_row: ['oak'], wide: true },
      'frame is {"made_of":"steel","door_row":["oak"],"wide":true}, expected',
    ],
    [Object.create({ made_of: 'steel', door_row: ['oak'] }), 'frame.door_row is undefined'],
  ])('%j is refused', (value, fault) => {
    expect(frame.faultOf(value, 'frame')).toContain(fault);
  });
});

describe('a row of a type', () => {
  type Row = readonly ['door', DoorRow] | readonly ['wall', number] | UnknownRow;
  type Named = ({ readonly kind: 'door' } & Door) | { readonly kind: 'wall'; readonly height: number };
  const part = typedRow<Row, Named>({ door, wall: only('height', integer) });

  test.each<[unknown, Named | UnknownKind]>([
    [['door', ['oak', 90]], { kind: 'door', name: 'oak', width: 90 }],
    [['wall', 250], { kind: 'wall', height: 250 }],
    [['roof', { tiles: [1, null] }], { kind: 'unknown', type: 'roof', data: { tiles: [1, null] } }],
    [['constructor', null], { kind: 'unknown', type: 'constructor', data: null }],
    [['unknown', 5], { kind: 'unknown', type: 'unknown', data: 5 }],
  ])('%j is told by its kind, and kept as it came where that is not known', (row, named) => {
    expect(part.faultOf(row, '')).toBeUndefined();
    expect(part.parse(row as Row)).toStrictEqual(named);
    expect(part.format(named)).toStrictEqual(row);
  });

  test.each<[unknown, string]>([
    [['door'], 'the row is ["door"], expected [type, data]'],
    [['roof', 1, 2], 'the row is ["roof",1,2], expected [type, data]'],
    [[5, 'oak'], 'the row is [5,"oak"], expected [type, data]'],
    [['roof', undefined], 'the row is ["roof",null], expected [type, data]'],
    ['door', 'the row is "door", expected [type, data]'],
    [['door', ['oak', 'wide']], 'door.width is "wide", expected an integer'],
    [['wall', null], 'wall is null, expected an integer'],
  ])('%j is refused', (row, fault) => {
    expect(part.faultOf(row, '')).toBe(fault);
  });

  test('is held by the compiler to what its type says', () => {
    // @ts-expect-error -- a wall is a number
    const wrong: Row = ['wall', 'high'];
    expect(part.faultOf(wrong, '')).toBe('wall is "high", expected an integer');
  });

  test('is not made of a kind that does not exist, nor of a known type that claims to be unknown', () => {
    expect(() => part.format({ kind: 'roof' } as unknown as Named)).toThrow(
      'kind is "roof", expected door, wall or unknown',
    );
    expect(() => part.format({ kind: 'unknown', type: 'wall', data: 5 })).toThrow(
      'kind is "unknown", expected "wall": that type is known',
    );
  });
});
