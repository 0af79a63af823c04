import { expect, test } from 'vitest';
import { captureNames, readCapture } from '../../test/support/captures.ts';
import { describeRow } from './describe.ts';

test.each<[string, unknown, string]>([
  ['events', ['ev', ['$149', '!AFDC', 'm.room.guest_access', '', null, null]], 'ev $149: m.room.guest_access in !AFDC'],
  ['events', ['ev', ['$149', '!AFDC', 'm.room.member', '@a:b', null, null]], 'ev $149: m.room.member @a:b in !AFDC'],
  ['events', ['state', ['!AFDC', 'm.room.topic', '', '$149']], 'state m.room.topic in !AFDC is $149'],
  ['events', ['state', ['!AFDC', 'm.room.topic', '', null]], 'state m.room.topic in !AFDC is gone'],
  ['events', ['state-all', ['!AFDC']], 'state-all in !AFDC'],
  ['events', ['new kind', { a: 1 }], '["new kind",{"a":1}]'],
  ['backfill', ['$1', '!r', 'm.room.message', null, null, null], '$1: m.room.message in !r'],
  [
    'presence',
    ['@a:b', 'online', 1795434978318, 0, 0, 'fed', 1],
    '@a:b is online and active, last active 2026-11-23T11:56:18.318Z: fed',
  ],
  ['presence', ['@a:b', 'offline', 0, 0, 0, null, false], '@a:b is offline, last active never'],
  ['typing', ['!r', ['@a:b', '@c:d']], 'in !r: @a:b, @c:d'],
  ['typing', ['!r', []], 'in !r: nobody'],
  ['receipts', ['!r', 'm.read', '@a:b', '$1', { ts: 1 }], '@a:b m.read up to $1 in !r'],
  ['push_rules', ['@a:b'], 'of @a:b changed'],
  ['pushers', ['@a:b', 'org.app', 'key', true], 'org.app key of @a:b is deleted'],
  ['caches', ['get_user_by_id', ['@a:b'], 1550574873251], 'get_user_by_id [@a:b] at 2019-02-19T11:14:33.251Z'],
  ['caches', ['get_user_by_id', null, 0], 'get_user_by_id (all of it) at never'],
  ['public_rooms', ['!r', 1, null, null], '!r is public'],
  ['public_rooms', ['!r', false, 'irc', 'freenode'], '!r is not public for irc on freenode'],
  ['device_lists', ['@a:b', null], 'of @a:b changed'],
  ['device_lists', ['@a:b', 'c.org'], 'of @a:b changed: tell c.org'],
  ['to_device', ['@a:b'], 'messages for @a:b'],
  [
    'federation',
    ['pd', { state: { user_id: '@a:b', state: 'offline' }, dests: ['c.org'] }],
    'pd @a:b is offline to [c.org]',
  ],
  ['federation', ['p', { user_id: '@a:b', state: 'online' }], 'p @a:b is online'],
  ['federation', ['k', { key: ['a'], edu: { edu_type: 'm.receipt', destination: 'c.org' } }], 'k m.receipt to c.org'],
  ['federation', ['e', { edu_type: 'm.typing', destination: 'c.org' }], 'e m.typing to c.org'],
  ['federation', ['d', { destination: 'c.org' }], 'd c.org'],
  ['tag_account_data', ['@a:b', '!r', '{}'], 'tags of @a:b in !r: {}'],
  ['account_data', ['@a:b', null, 'm.push', '{}'], 'm.push of @a:b: {}'],
  ['account_data', ['@a:b', '!r', 'm.tag'], 'm.tag of @a:b in !r'],
  ['groups', ['+g', '@a:b', 'membership', { membership: 'join' }], 'membership of @a:b in +g: {"membership":"join"}'],
  ['orders', ['@a:b'], '["@a:b"]'],
  ['events', 'no list', '"no list"'],
  ['typing', ['!r'], '["!r"]'],
  ['__proto__', [1], '[1]'],
])('of %s: %j', (stream, row, description) => {
  expect(describeRow(stream, row)).toBe(description);
});

test('every recorded row is told in words', () => {
  for (const name of captureNames) {
    for (const output of readCapture(name).expected) {
      if (!('stream' in output)) continue;
      for (const row of output.rows)
        expect(describeRow(output.stream, row), `${output.stream} ${JSON.stringify(row)}`).toMatch(/^[^[{]/);
    }
  }
});
