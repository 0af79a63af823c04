import { expect, test } from 'vitest';
import { type FederationItem, federation } from './federation.ts';

const presenceObject = {
  user_id: '@a:b',
  state: 'online',
  last_active_ts: 3,
  last_federation_update_ts: 2,
  last_user_sync_ts: 1,
  status_msg: null,
  currently_active: true,
};
const presence = {
  userId: '@a:b',
  state: 'online',
  lastActiveTs: 3,
  lastFederationUpdateTs: 2,
  lastUserSyncTs: 1,
  statusMsg: null,
  currentlyActive: true,
};
const eduObject = { edu_type: 'm.typing', content: { typing: true }, origin: 'b', destination: 'c' };
const edu = { eduType: 'm.typing', content: { typing: true }, origin: 'b', destination: 'c' };

test.each<[string, unknown, FederationItem]>([
  ['presence', ['p', presenceObject], { kind: 'p', presence }],
  [
    'presence for servers',
    ['pd', { state: presenceObject, dests: ['c', 'd:8448'] }],
    { kind: 'pd', presence, destinations: ['c', 'd:8448'] },
  ],
  ['presence for nobody', ['pd', { state: presenceObject, dests: [] }], { kind: 'pd', presence, destinations: [] }],
  ['a message with a key', ['k', { key: ['!r', '@a:b'], edu: eduObject }], { kind: 'k', key: ['!r', '@a:b'], edu }],
  ['a message', ['e', eduObject], { kind: 'e', edu }],
  ['a server that messages wait for', ['d', { destination: 'c' }], { kind: 'd', destination: 'c' }],
  ['a type that is not known', ['x', [1]], { kind: 'unknown', type: 'x', data: [1] }],
])('%s has names, and comes back as it was', (_, row, item) => {
  expect(federation.parse(row)).toStrictEqual(item);
  expect(federation.format(item)).toStrictEqual(row);
});

test.each<[unknown, string]>([
  [['p', { ...presenceObject, last_active_ts: 'now' }], 'p.last_active_ts is "now", expected an integer'],
  [['p', { ...presenceObject, mood: 'good' }], 'expected an object of user_id, state, last_active_ts'],
  [['pd', { state: presenceObject }], 'pd.dests is undefined, expected a list of strings'],
  [['pd', { state: { ...presenceObject, state: null }, dests: [] }], 'pd.state.state is null, expected a string'],
  [['k', { key: '!r', edu: eduObject }], 'k.key is "!r", expected a list of strings'],
  [['k', { key: [], edu: { ...eduObject, content: 'x' } }], 'k.edu.content is "x", expected an object'],
  [['e', [eduObject]], 'expected an object of edu_type, content, origin, destination'],
  [['d', 'c'], 'd is "c", expected an object of destination'],
  [['d'], 'the row is ["d"], expected [type, data]'],
])('%j is no row', (row, fault) => {
  expect(() => federation.parse(row)).toThrow(fault);
});

test('is worth nothing after a restart', () => {
  expect(federation.durable).toBe(false);
});
