import { expect, test } from 'vitest';
import { type EventsChange, events } from './events.ts';

const five = ['$foo1:bar.com', '!AFDCvgApUmpdfVjIXm:localhost:8823', 'm.room.guest_access', '', null] as const;
const named = { eventId: five[0], roomId: five[1], type: five[2], stateKey: '', redacts: null };

test.each<[string, unknown, EventsChange]>([
  ['an event', ['ev', [...five, null]], { kind: 'ev', ...named, relatesTo: null }],
  [
    'an event that is no state, redacts and relates',
    ['ev', ['$a', '!r', 'm.room.redaction', null, '$b', '$c']],
    {
      kind: 'ev',
      eventId: '$a',
      roomId: '!r',
      type: 'm.room.redaction',
      stateKey: null,
      redacts: '$b',
      relatesTo: '$c',
    },
  ],
  ['an event before relations', ['ev', five], { kind: 'ev', ...named }],
  [
    'an event of Synapse 1.23 to 1.63',
    ['ev', [...five, null, 'join', false]],
    { kind: 'ev', ...named, relatesTo: null, membership: 'join', rejected: false },
  ],
  [
    'an event of Synapse 1.64 and later',
    ['ev', [...five, null, null, 0, true]],
    { kind: 'ev', ...named, relatesTo: null, membership: null, rejected: 0, outlier: true },
  ],
  ['an event as in the example of tcp_replication.rst', five, { kind: 'ev', ...named, isBare: true }],
  [
    'an entry of the state',
    ['state', ['!r', 'm.room.name', '', '$a']],
    { kind: 'state', roomId: '!r', type: 'm.room.name', stateKey: '', eventId: '$a' },
  ],
  [
    'an entry that is gone',
    ['state', ['!r', 'm.room.name', '', null]],
    { kind: 'state', roomId: '!r', type: 'm.room.name', stateKey: '', eventId: null },
  ],
  ['all the state', ['state-all', ['!r']], { kind: 'state-all', roomId: '!r' }],
  ['a type that is not known', ['xyz', { any: ['thing'] }], { kind: 'unknown', type: 'xyz', data: { any: ['thing'] } }],
])('%s has names, and comes back as it was', (_, row, change) => {
  expect(events.parse(row)).toStrictEqual(change);
  expect(events.format(change)).toStrictEqual(row);
});

test.each<[unknown, string]>([
  [['ev', [...five, null, null]], 'ev is ["$foo1:bar.com"'],
  [['ev', five.slice(1)], 'expected a list of 5 (eventId, roomId, type, stateKey, redacts) or 6 (eventId, '],
  [['ev', { event_id: '$a' }], 'ev is {"event_id":"$a"}, expected a list'],
  [['ev', [null, ...five]], 'ev.eventId is null, expected a string'],
  [['ev', [...five, 7]], 'ev.relatesTo is 7, expected a string or null'],
  [['ev', [...five, null, 'join', 'no']], 'ev.rejected is "no", expected true, false, 1 or 0'],
  [['state', ['!r', 'm.room.name', null, '$a']], 'state.stateKey is null, expected a string'],
  [
    ['state', ['!r', 'm.room.name', '']],
    'state is ["!r","m.room.name",""], expected a list of 4 (roomId, type, stateKey, eventId)',
  ],
  [['state-all', []], 'state-all is [], expected a list of 1 (roomId)'],
  [[5, ...five.slice(1)], 'eventId is 5, expected a string'],
  [[...five, null], 'the row is ["$foo1:bar.com"'],
  ['ev', 'the row is "ev", expected [type, data]'],
])('%j is no row', (row, fault) => {
  expect(() => events.parse(row)).toThrow(fault);
});

test('a bare event has five fields', () => {
  expect(() => events.format({ kind: 'ev', ...named, relatesTo: null, isBare: true })).toThrow(
    'isBare is true, expected 5 fields (eventId, roomId, type, stateKey, redacts)',
  );
});
