import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { captureNames, readCapture } from '../../test/support/captures.ts';
import { deploy } from '../../test/support/deployment.ts';
import { validateRows } from '../core/model/row.ts';
import type { AccountData, TagAccountData } from './account-data.ts';
import type { EventsChange } from './events.ts';
import type { FederationItem } from './federation.ts';
import type { JsonObject, SynapseBoolean } from './fields.ts';
import {
  type Backfill,
  type CacheInvalidation,
  type DeviceListChange,
  type GroupChange,
  type Presence,
  type PublicRoomChange,
  type PusherChange,
  pushRules,
  type Receipt,
  toDevice,
  type Typing,
} from './plain-streams.ts';
import { synapseStream, synapseStreams } from './streams.ts';

const namesOf = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);

describe('a primary offers', () => {
  // The sentence of docs/protocol.md: "Streams that `rowcast serve` offers by default: …;
  // federation only when asked for …"
  const [, documented] =
    /by default: ([^;]+); federation only/.exec(
      readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8'),
    ) ?? [];

  test('the 14 streams that docs/protocol.md lists', () => {
    expect(namesOf(synapseStreams())).toEqual(documented!.split(/,\s+/));
    expect(synapseStreams()).toHaveLength(14);
  });

  test('federation only when it is asked for', () => {
    expect(namesOf(synapseStreams({ federation: true }))).toEqual([...namesOf(synapseStreams()), 'federation']);
    expect(namesOf(synapseStreams({ federation: false }))).not.toContain('federation');
  });

  test('all but typing and federation durably', () => {
    expect(namesOf(synapseStreams({ federation: true }).filter(({ durable }) => !durable))).toEqual([
      'typing',
      'federation',
    ]);
  });

  test('rows that fit alone', async () => {
    const primary = await deploy().primary({ streams: synapseStreams() });
    expect(await primary.append(toDevice, [['@a:b'], ['c']])).toMatchObject({ stream: 'to_device', token: 1 });
    await expect(primary.append('to_device', [['@a:b'], [5]])).rejects.toThrow(
      'row 1 of the batch is not a row of stream to_device: entity is 5, expected a string',
    );
  });
});

test('a stream is found by its name on the wire, federation too', () => {
  for (const stream of synapseStreams({ federation: true })) expect(synapseStream(stream.name)).toBe(stream);
  expect(synapseStream('push_rules')).toBe(pushRules);
  expect(synapseStream('pushRules')).toBeUndefined();
  expect(synapseStream('constructor')).toBeUndefined();
});

describe('every row that a real Synapse 1.4.0 sent', () => {
  test.each(captureNames)('in %s fits, is known, and comes back as the same JSON value', (name) => {
    for (const expected of readCapture(name).expected) {
      if (!('rows' in expected)) continue;
      const stream = synapseStream(expected.stream)!;
      expect(validateRows(stream.name, stream.row!, expected.rows)).toEqual(expected.rows);
      for (const row of expected.rows) {
        const named = stream.parse(row) as { readonly kind?: string; readonly content?: unknown };
        expect(named.kind).not.toBe('unknown');
        expect(() => named.content).not.toThrow();
        expect(JSON.parse(JSON.stringify(stream.format(named)))).toStrictEqual(row);
      }
    }
  });

  test('is of all 15 streams but caches, which has rows on PostgreSQL alone', () => {
    const seen = new Set(
      captureNames.flatMap((name) =>
        readCapture(name).expected.flatMap((expected) => ('rows' in expected ? [expected.stream] : [])),
      ),
    );
    expect([...seen].sort()).toEqual(
      namesOf(synapseStreams({ federation: true }))
        .filter((name) => name !== 'caches')
        .sort(),
    );
  });
});

const text = fc.string({ unit: 'grapheme' });
const orNull = fc.option(text, { nil: null });
const texts = fc.array(text, { maxLength: 3 });
const integer = fc.maxSafeInteger();
const flag = fc.constantFrom<SynapseBoolean[]>(true, false, 0, 1);
// JSON has no negative zero.
const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const object: fc.Arbitrary<JsonObject> = fc
  .dictionary(text, json, { maxKeys: 3, noNullPrototype: true })
  .map((value) => JSON.parse(JSON.stringify(value)));
const unknownRow = fc.record({
  kind: fc.constant('unknown' as const),
  type: text.filter((type) => !['ev', 'state', 'state-all', 'p', 'pd', 'k', 'e', 'd'].includes(type)),
  data: json,
});

const backfill: fc.Arbitrary<Backfill> = fc.record({
  eventId: text,
  roomId: text,
  type: text,
  stateKey: orNull,
  redacts: orNull,
  relatesTo: orNull,
});
const { relatesTo, ...five } = {
  eventId: text,
  roomId: text,
  type: text,
  stateKey: orNull,
  redacts: orNull,
  relatesTo: orNull,
};
const ev = { kind: fc.constant('ev' as const), ...five };
const presence: fc.Arbitrary<Presence> = fc.record({
  userId: text,
  state: text,
  lastActiveTs: integer,
  lastFederationUpdateTs: integer,
  lastUserSyncTs: integer,
  statusMsg: orNull,
  currentlyActive: flag,
});
const receipt = { roomId: text, receiptType: text, userId: text, eventId: text, data: object };
const edu = fc.record({ eduType: text, content: object, origin: text, destination: text });
const userId = fc.record({ userId: text });
const entity = fc.record({ entity: text });

const named = {
  events: fc.oneof<fc.Arbitrary<EventsChange>[]>(
    fc.record(ev),
    fc.record({ ...ev, isBare: fc.constant(true as const) }),
    fc.record({ ...ev, relatesTo }),
    fc.record({ ...ev, relatesTo, membership: orNull, rejected: flag }),
    fc.record({ ...ev, relatesTo, membership: orNull, rejected: flag, outlier: flag }),
    fc.record({ kind: fc.constant('state' as const), roomId: text, type: text, stateKey: text, eventId: orNull }),
    fc.record({ kind: fc.constant('state-all' as const), roomId: text }),
    unknownRow,
  ),
  backfill,
  presence,
  typing: fc.record({ roomId: text, userIds: texts }) satisfies fc.Arbitrary<Typing>,
  receipts: fc.oneof<fc.Arbitrary<Receipt>[]>(fc.record(receipt), fc.record({ ...receipt, threadId: orNull })),
  push_rules: userId,
  pushers: fc.record({ userId: text, appId: text, pushkey: text, deleted: flag }) satisfies fc.Arbitrary<PusherChange>,
  caches: fc.record({
    cacheName: text,
    keys: fc.option(texts, { nil: null }),
    invalidationTs: integer,
  }) satisfies fc.Arbitrary<CacheInvalidation>,
  public_rooms: fc.record({
    roomId: text,
    visibility: flag,
    appserviceId: orNull,
    networkId: orNull,
  }) satisfies fc.Arbitrary<PublicRoomChange>,
  device_lists: fc.oneof<fc.Arbitrary<DeviceListChange>[]>(
    fc.record({ userId: text, destination: orNull }),
    entity,
    fc.record({ userId: text, isSignature: flag, hostsCalculated: flag }),
  ),
  to_device: entity,
  federation: fc.oneof<fc.Arbitrary<FederationItem>[]>(
    fc.record({ kind: fc.constant('p' as const), presence }),
    fc.record({ kind: fc.constant('pd' as const), presence, destinations: texts }),
    fc.record({ kind: fc.constant('k' as const), key: texts, edu }),
    fc.record({ kind: fc.constant('e' as const), edu }),
    fc.record({ kind: fc.constant('d' as const), destination: text }),
    unknownRow,
  ),
  tag_account_data: fc.record({ userId: text, roomId: text, json: text }) satisfies fc.Arbitrary<TagAccountData>,
  account_data: fc.oneof<fc.Arbitrary<AccountData>[]>(
    fc.record({ userId: text, roomId: orNull, type: text }),
    fc.record({ userId: text, roomId: orNull, type: text, json: text }),
  ),
  groups: fc.record({ groupId: text, userId: text, type: text, content: object }) satisfies fc.Arbitrary<GroupChange>,
};

describe('whatever is named comes back from the wire as it was named', () => {
  test('in each stream', () => {
    expect(Object.keys(named).sort()).toEqual(namesOf(synapseStreams({ federation: true })).sort());
  });

  test.each(Object.entries<fc.Arbitrary<unknown>>(named))('%s', (name, arbitrary) => {
    const stream = synapseStream(name)!;
    fc.assert(
      fc.property(arbitrary, (generated) => {
        // With the prototype of a literal.
        const value = structuredClone(generated);
        const row: unknown = JSON.parse(JSON.stringify(stream.format(value)));
        expect(stream.parse(row)).toStrictEqual(value);
        expect(stream.format(stream.parse(row))).toStrictEqual(row);
      }),
    );
  });

  test.each(Object.keys(named))('%s refuses any other JSON with a text, and never throws anything else', (name) => {
    const stream = synapseStream(name)!;
    const anything = fc.oneof(json, fc.array(fc.oneof(text, orNull, integer, flag, texts, object), { maxLength: 9 }));
    fc.assert(
      fc.property(anything, (value) => {
        const verdict = stream.row!['~standard'].validate(value);
        if ('issues' in verdict && verdict.issues !== undefined) {
          expect(verdict.issues[0]!.message).toMatch(/ is .*, expected /s);
          expect(() => stream.parse(value)).toThrow(
            expect.objectContaining({ name: 'PeerError', code: 'INVALID_ROW' }),
          );
        } else expect(stream.format(stream.parse(value))).toStrictEqual(value);
      }),
    );
  });
});
