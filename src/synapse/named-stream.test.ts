import { describe, expect, test } from 'vitest';
import { validateRows } from '../core/model/row.ts';
import { defineStream } from '../core/model/stream.ts';
import { flag, integer, objectOf, rowOf, type SynapseBoolean, text } from './fields.ts';
import { namedStream } from './named-stream.ts';

type Row = readonly [name: string, size: { readonly width: number; readonly is_open: SynapseBoolean }];
interface Named {
  readonly name: string;
  readonly size: { readonly width: number; readonly isOpen: SynapseBoolean };
}
const size = objectOf<Row[1], Named['size']>(['width', 'width', integer], ['isOpen', 'is_open', flag]);
const doors = namedStream(
  defineStream<Row>('doors', { durable: false, retain: { rows: 5 } }),
  rowOf<Row, Named>([
    ['name', text],
    ['size', size],
  ]),
);

test('is the stream that it was made of, with a validator and names', () => {
  expect(doors).toMatchObject({ name: 'doors', durable: false, retain: { rows: 5 } });
  expect(doors.parse(['oak', { width: 90, is_open: 1 }])).toEqual({ name: 'oak', size: { width: 90, isOpen: 1 } });
  expect(doors.format({ name: 'oak', size: { width: 90, isOpen: 1 } })).toEqual(['oak', { width: 90, is_open: 1 }]);
});

test('the validator gives the very row that it was given', () => {
  const row: Row = ['oak', { width: 90, is_open: 1 }];
  expect((validateRows('doors', doors.row!, [row]) as Row[])[0]).toBe(row);
});

describe('a row that does not fit', () => {
  const row = ['oak', { width: '90', is_open: 1 }];

  test('is refused where it is appended', () => {
    expect(() => validateRows('doors', doors.row!, [row])).toThrow(
      expect.objectContaining({
        name: 'UsageError',
        code: 'INVALID_ROW',
        message: 'row 0 of the batch is not a row of stream doors: size.width is "90", expected an integer',
      }),
    );
  });

  test('is the fault of the other side where it is parsed', () => {
    expect(() => doors.parse(row)).toThrow(
      expect.objectContaining({
        name: 'PeerError',
        code: 'INVALID_ROW',
        message: 'a row of stream doors does not fit: size.width is "90", expected an integer',
      }),
    );
  });
});

test.each<[unknown, string]>([
  [{ name: 'oak', size: { width: '90', isOpen: 1 } }, 'size.width is "90", expected an integer'],
  [{ name: 'oak', size: { width: 90 } }, 'size.is_open is undefined, expected true, false, 1 or 0'],
  [{ name: 'oak' }, 'the fields are name, expected a list of 2 (name, size)'],
  [null, 'the fields are none, expected a list of 2 (name, size)'],
])('%j is no row, and the fault of whoever named it', (named, why) => {
  expect(() => doors.format(named as Named)).toThrow(
    expect.objectContaining({
      name: 'UsageError',
      code: 'INVALID_ROW',
      message: `what is named is no row of stream doors: ${why}`,
    }),
  );
});
