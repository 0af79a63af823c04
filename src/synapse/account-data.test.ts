import { expect, test } from 'vitest';
import { accountData, tagAccountData } from './account-data.ts';

const json = '{"k": "v \\u2603", "n": [1, 2, {"z": null}]}';
const content = { k: 'v ☃', n: [1, 2, { z: null }] };

test('the JSON text of a row stays text, whatever its spacing and escapes', () => {
  const row = ['@a:b', null, 'org.lab.global', json] as const;
  expect(accountData.parse(row)).toEqual({ userId: '@a:b', roomId: null, type: 'org.lab.global', json });
  expect(accountData.format(accountData.parse(row))).toEqual(row);
  expect(tagAccountData.format(tagAccountData.parse(['@a:b', '!r', json]))).toEqual(['@a:b', '!r', json]);
});

test('content is what the text says, decoded once and only when it is read', () => {
  const tags = tagAccountData.parse(['@a:b', '!r', json]);
  expect(tags.content).toEqual(content);
  expect(tags.content).toBe(tags.content);
  expect(accountData.parse(['@a:b', '!r', 'm.tag', 'null']).content).toBeNull();
});

test('content is not printed, copied or compared beside the text', () => {
  const tags = tagAccountData.parse(['@a:b', '!r', json]);
  expect(JSON.parse(JSON.stringify(tags))).toEqual({ userId: '@a:b', roomId: '!r', json });
  expect(Object.keys({ ...tags })).toEqual(['userId', 'roomId', 'json']);
  expect(tags).toStrictEqual({ userId: '@a:b', roomId: '!r', json });
});

test('a text that is not JSON is a fault only for who reads what it says', () => {
  const tags = tagAccountData.parse(['@a:b', '!r', '{"m.favourite": NaN}']);
  expect(tagAccountData.format(tags)).toEqual(['@a:b', '!r', '{"m.favourite": NaN}']);
  for (let i = 0; i < 2; i++) {
    expect(() => tags.content).toThrow(expect.objectContaining({ name: 'PeerError', code: 'INVALID_ROW' }));
  }
  expect(() => tags.content).toThrow(
    'json of a row of stream tag_account_data is "{\\"m.favourite\\": NaN}", expected JSON: ',
  );
});

test('a row of Synapse 1.7 and later has no text, and so no content', () => {
  const data = accountData.parse(['@a:b', '!r', 'm.fully_read']);
  expect(data).toStrictEqual({ userId: '@a:b', roomId: '!r', type: 'm.fully_read' });
  expect('content' in data).toBe(false);
  expect(accountData.format(data)).toEqual(['@a:b', '!r', 'm.fully_read']);
});

test.each<[typeof accountData | typeof tagAccountData, unknown, string]>([
  [accountData, ['@a:b', '!r', 'm.fully_read', { event_id: '$a' }], 'json is {"event_id":"$a"}, expected a string'],
  [accountData, ['@a:b', 5, 'm.fully_read'], 'roomId is 5, expected a string or null'],
  [
    accountData,
    ['@a:b', '!r'],
    'the row is ["@a:b","!r"], expected a list of 3 (userId, roomId, type) or 4 (userId, roomId, type, json)',
  ],
  [tagAccountData, ['@a:b', null, '{}'], 'roomId is null, expected a string'],
  [tagAccountData, ['@a:b', '!r', null], 'json is null, expected a string'],
])('$0.name: %j is no row', (stream, row, fault) => {
  expect(() => stream.parse(row)).toThrow(fault);
});
