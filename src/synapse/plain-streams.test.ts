import { describe, expect, test } from 'vitest';
import { defineCachesStream } from '../cache/index.ts';
import type { SynapseStream } from './named-stream.ts';
import {
  backfill,
  caches,
  deviceLists,
  groups,
  presence,
  publicRooms,
  pushers,
  pushRules,
  receipts,
  toDevice,
  typing,
} from './plain-streams.ts';

test.each<[SynapseStream, unknown, object]>([
  [
    backfill,
    ['$a', '!r', 'm.room.message', null, null, '$b'],
    { eventId: '$a', roomId: '!r', type: 'm.room.message', stateKey: null, redacts: null, relatesTo: '$b' },
  ],
  [
    presence,
    ['@a:b', 'online', 3, 2, 0, 'working ☃', 1],
    {
      userId: '@a:b',
      state: 'online',
      lastActiveTs: 3,
      lastFederationUpdateTs: 2,
      lastUserSyncTs: 0,
      statusMsg: 'working ☃',
      currentlyActive: 1,
    },
  ],
  [
    presence,
    ['@a:b', 'offline', 3, 2, 0, null, false],
    {
      userId: '@a:b',
      state: 'offline',
      lastActiveTs: 3,
      lastFederationUpdateTs: 2,
      lastUserSyncTs: 0,
      statusMsg: null,
      currentlyActive: false,
    },
  ],
  [typing, ['!r', []], { roomId: '!r', userIds: [] }],
  [typing, ['!r', ['@a:b', '@c:d']], { roomId: '!r', userIds: ['@a:b', '@c:d'] }],
  [
    receipts,
    ['!r', 'm.read', '@a:b', '$a', { ts: 1 }],
    { roomId: '!r', receiptType: 'm.read', userId: '@a:b', eventId: '$a', data: { ts: 1 } },
  ],
  [
    receipts,
    ['!r', 'm.read', '@a:b', '$a', null, { ts: 1 }],
    { roomId: '!r', receiptType: 'm.read', userId: '@a:b', eventId: '$a', threadId: null, data: { ts: 1 } },
  ],
  [pushRules, ['@a:b'], { userId: '@a:b' }],
  [pushers, ['@a:b', 'org.app', 'key/1', true], { userId: '@a:b', appId: 'org.app', pushkey: 'key/1', deleted: true }],
  [caches, ['get_user_by_id', ['@a:b'], 5], { cacheName: 'get_user_by_id', keys: ['@a:b'], invalidationTs: 5 }],
  [caches, ['get_monthly_active_count', [], 5], { cacheName: 'get_monthly_active_count', keys: [], invalidationTs: 5 }],
  [caches, ['get_user_by_id', null, 5], { cacheName: 'get_user_by_id', keys: null, invalidationTs: 5 }],
  [publicRooms, ['!r', 1, null, null], { roomId: '!r', visibility: 1, appserviceId: null, networkId: null }],
  [
    publicRooms,
    ['!r', false, 'irc', 'net'],
    { roomId: '!r', visibility: false, appserviceId: 'irc', networkId: 'net' },
  ],
  [deviceLists, ['@a:b', null], { userId: '@a:b', destination: null }],
  [deviceLists, ['@a:b', 'c'], { userId: '@a:b', destination: 'c' }],
  [deviceLists, ['@a:b'], { entity: '@a:b' }],
  [deviceLists, ['@a:b', false, 1], { userId: '@a:b', isSignature: false, hostsCalculated: 1 }],
  [toDevice, ['c'], { entity: 'c' }],
  [
    groups,
    ['+g:b', '@a:b', 'membership', { membership: 'join', content: {} }],
    { groupId: '+g:b', userId: '@a:b', type: 'membership', content: { membership: 'join', content: {} } },
  ],
])('$0.name: %j has names, and comes back as it was', (stream, row, named) => {
  expect(stream.parse(row)).toStrictEqual(named);
  expect(stream.format(named)).toStrictEqual(row);
});

test.each<[SynapseStream, unknown, string]>([
  [
    backfill,
    ['$a', '!r', 'm.room.message', null, null],
    'expected a list of 6 (eventId, roomId, type, stateKey, redacts, relatesTo)',
  ],
  [backfill, ['$a', '!r', 'm.room.message', null, null, {}], 'relatesTo is {}, expected a string or null'],
  [presence, ['@a:b', 'online', '3', 2, 0, null, 1], 'lastActiveTs is "3", expected an integer'],
  [presence, ['@a:b', 'online', 3, 2.5, 0, null, 1], 'lastFederationUpdateTs is 2.5, expected an integer'],
  [presence, ['@a:b', 'online', 3, 2, 0, null, 2], 'currentlyActive is 2, expected true, false, 1 or 0'],
  [
    presence,
    ['@a:b', 'online', 3, 2, 0, null],
    'the row is ["@a:b","online",3,2,0,null], expected a list of 7 (userId, state',
  ],
  [typing, ['!r', '@a:b'], 'userIds is "@a:b", expected a list of strings'],
  [receipts, ['!r', 'm.read', '@a:b', '$a', '{"ts":1}'], 'data is "{\\"ts\\":1}", expected an object'],
  [receipts, ['!r', 'm.read', '@a:b', '$a', { ts: 1 }, null], 'threadId is {"ts":1}, expected a string or null'],
  [pushRules, '@a:b', 'the row is "@a:b", expected a list of 1 (userId)'],
  [pushers, ['@a:b', 'org.app', 'key/1', 'true'], 'deleted is "true", expected true, false, 1 or 0'],
  [publicRooms, ['!r', null, null, null], 'visibility is null, expected true, false, 1 or 0'],
  [deviceLists, ['@a:b', 'c', true], 'isSignature is "c", expected true, false, 1 or 0'],
  [deviceLists, ['@a:b', true], 'destination is true, expected a string or null'],
  [
    deviceLists,
    [],
    'the row is [], expected a list of 2 (userId, destination) or 1 (entity) or 3 (userId, isSignature, hostsCalculated)',
  ],
  [toDevice, [null], 'entity is null, expected a string'],
  [groups, ['+g:b', '@a:b', 'membership', null], 'content is null, expected an object'],
  [caches, ['get_user_by_id', [5], 5], 'keys is [5], expected a list of strings or null'],
])('$0.name: %j is no row', (stream, row, fault) => {
  expect(() => stream.parse(row)).toThrow(`a row of stream ${stream.name} does not fit: `);
  expect(() => stream.parse(row)).toThrow(fault);
});

describe('caches', () => {
  test('is the stream of defineCachesStream', () => {
    const { name, durable, retain } = defineCachesStream();
    expect(caches).toMatchObject({ name, durable, retain });
  });

  test.each([
    [['c', ['k'], 1]],
    [['c', [], 0]],
    [['c', null, -1]],
    [[]],
    [['c', [5], 1]],
    [['c', 'k', 1]],
    [['c', [], 1.5]],
    [['c', [], 1, 2]],
    [null],
  ])('takes %j where that stream does, and only there', async (row) => {
    const verdicts = await Promise.all(
      [caches, defineCachesStream()].map(async (stream) => stream.row!['~standard'].validate(row)),
    );
    expect(verdicts[0]!.issues === undefined).toBe(verdicts[1]!.issues === undefined);
  });
});

test('typing is worth nothing after a restart, and little is kept of it', () => {
  expect(typing).toMatchObject({ durable: false, retain: { rows: 10_000 } });
});
