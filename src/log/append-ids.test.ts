import { expect, test } from 'vitest';

import { RememberedIds, type RememberedId } from './append-ids.ts';

const HISTORY = '0123456789abcdef.1764281400.a1b2c3d4';

function remembered(stream: string, id: string, { token = 1, atMs = 0 } = {}): RememberedId {
  return { stream, id, token, atMs, hash: '', history: HISTORY };
}

test('the deletion of one of very many streams does not look at the ids of the others', () => {
  const ids = new RememberedIds(1_000, 1_000_000);
  for (let i = 0; i < 200_000; i++) ids.add(remembered(`room:${i % 20_000}`, `${i}`));
  for (let i = 0; i < 20_000; i++) ids.forget(`room:${i}`);
  expect([...ids.all()]).toEqual([]);
});

test('an id that is forgotten and comes again is remembered as long as a new one', () => {
  const ids = new RememberedIds(1_000, 3);
  ids.add(remembered('a', 'x'));
  ids.forget('a');
  const again = remembered('a', 'x', { atMs: 500 });
  ids.add(again);
  ids.add(remembered('b', 'y', { atMs: 1_400 }));
  expect(ids.find('a', 'x', 1_400)).toBe(again);
  expect(ids.find('a', 'x', 1_500)).toBeUndefined();
  ids.add(remembered('b', 'z', { atMs: 1_500 }));
  expect([...ids.all()].map(({ id }) => id)).toEqual(['y', 'z']);
});

test('what is taken back is forgotten, and over the limit the oldest', () => {
  const ids = new RememberedIds(1_000, 3);
  for (const token of [1, 2, 3]) ids.add(remembered('a', `${token}`, { token }));
  ids.forget('a', 2);
  expect([...ids.all()].map(({ id }) => id)).toEqual(['1', '2']);
  ids.add(remembered('a', '4', { token: 3 }));
  expect([...ids.all()].map(({ id }) => id)).toEqual(['2', '4']);
});
