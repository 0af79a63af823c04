import { expect, test } from 'vitest';
import { EVERY_NAME } from './pattern.ts';
import { PatternTable } from './pattern-table.ts';

test('a pattern wins over all, in whatever order they were set; a name of a log is of none', () => {
  const table = new PatternTable<string>();
  table.set(EVERY_NAME, 'all');
  table.set('room:*', 'rooms');
  table.set('*:log', 'logs');
  expect(['room:1', 'a:log', 'room', '$streams'].map((name) => table.find(name))).toEqual([
    'rooms',
    'logs',
    'all',
    undefined,
  ]);
});

test('the names of a pattern that was given up do not fall to all, until it is set again', () => {
  const table = new PatternTable<string>();
  table.set(EVERY_NAME, 'all');
  table.giveUp('room:*');
  expect(table.find('room:1'), 'it was not there').toBe('all');
  table.set('room:*', 'rooms');
  table.giveUp('room:*');
  expect([table.find('room:1'), table.find('other')]).toEqual([undefined, 'all']);
  table.set('room:*', 'again');
  expect(table.find('room:1')).toBe('again');
  table.giveUp(EVERY_NAME);
  expect([table.find('room:1'), table.find('other'), table.size]).toEqual(['again', undefined, 1]);
});
