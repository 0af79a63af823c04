/** The stream `events`: persisted events (`ev`), and changes of the state of rooms (`state`). */

import { UsageError } from '../core/model/errors.ts';
import { defineStream } from '../core/model/stream.ts';
import {
  type Codec,
  type Fields,
  flag,
  rowOf,
  type SynapseBoolean,
  text,
  textOrNull,
  typedRow,
  type UnknownKind,
  type UnknownRow,
} from './fields.ts';
import { namedStream, type SynapseStream } from './named-stream.ts';

type Ev5 = readonly [eventId: string, roomId: string, type: string, stateKey: string | null, redacts: string | null];
type Ev6 = readonly [...Ev5, relatesTo: string | null];
type Ev8 = readonly [...Ev6, membership: string | null, rejected: SynapseBoolean];
type Ev9 = readonly [...Ev8, outlier: SynapseBoolean];

/** 6 fields in Synapse 1.0 to 1.22; 5 before; 8 from 1.23, 9 from 1.64. */
export type EvFields = Ev5 | Ev6 | Ev8 | Ev9;
/** The fields of a `state` row, as they are on the wire. */
export type StateFields = readonly [roomId: string, type: string, stateKey: string, eventId: string | null];
/** The fields of a `state-all` row, as they are on the wire. */
export type StateAllFields = readonly [roomId: string];

/** A row of the stream `events`, as it is on the wire. */
export type EventsRow =
  | readonly [type: 'ev', data: EvFields]
  | readonly [type: 'state', data: StateFields]
  | readonly [type: 'state-all', data: StateAllFields]
  | UnknownRow
  // As in the example of docs/tcp_replication.rst, from before rows had a type.
  | Ev5;

/** An event was persisted. */
export interface PersistedEvent {
  readonly kind: 'ev';
  readonly eventId: string;
  readonly roomId: string;
  readonly type: string;
  /** Null when the event is no state event. */
  readonly stateKey: string | null;
  /** The event that this one redacts. */
  readonly redacts: string | null;
  /** The event that this one relates to. */
  readonly relatesTo?: string | null;
  readonly membership?: string | null;
  readonly rejected?: SynapseBoolean;
  readonly outlier?: SynapseBoolean;
  /** The row had no `"ev"` around its five fields. */
  readonly isBare?: true;
}

/** An entry of a room's current state changed. */
export interface StateChange {
  readonly kind: 'state';
  readonly roomId: string;
  readonly type: string;
  readonly stateKey: string;
  /** Null: the entry is gone. */
  readonly eventId: string | null;
}

/**
 * So much of a room's state changed that single changes are not listed (Synapse 1.96 and later).
 */
export interface StateOverhaul {
  readonly kind: 'state-all';
  readonly roomId: string;
}

/** A row of the stream `events` with names. */
export type EventsChange = PersistedEvent | StateChange | StateOverhaul | UnknownKind;

type Ev = Omit<PersistedEvent, 'kind'>;
const ev5: Fields<Ev5, Ev> = [
  ['eventId', text],
  ['roomId', text],
  ['type', text],
  ['stateKey', textOrNull],
  ['redacts', textOrNull],
];
const ev6: Fields<Ev6, Ev> = [...ev5, ['relatesTo', textOrNull]];
const ev8: Fields<Ev8, Ev> = [...ev6, ['membership', textOrNull], ['rejected', flag]];
const ev9: Fields<Ev9, Ev> = [...ev8, ['outlier', flag]];

type TypedRow = Exclude<EventsRow, Ev5>;
const typed = typedRow<TypedRow, Exclude<EventsChange, UnknownKind>>({
  ev: rowOf<EvFields, Ev>(ev5, ev6, ev8, ev9),
  state: rowOf<StateFields, Omit<StateChange, 'kind'>>([
    ['roomId', text],
    ['type', text],
    ['stateKey', text],
    ['eventId', textOrNull],
  ]),
  'state-all': rowOf<StateAllFields, Omit<StateOverhaul, 'kind'>>([['roomId', text]]),
});

const bare = rowOf<Ev5, Ev>(ev5);
const isBareRow = (row: unknown): row is Ev5 => Array.isArray(row) && row.length === ev5.length;

const codec: Codec<EventsRow, EventsChange> = {
  faultOf: (row, at) => (isBareRow(row) ? bare : typed).faultOf(row, at),
  parse: (row) => (isBareRow(row) ? { kind: 'ev', ...bare.parse(row), isBare: true } : typed.parse(row)),
  format: (change) => {
    const row = typed.format(change);
    if (change.kind !== 'ev' || change.isBare !== true) return row;
    if (isBareRow(row[1])) return row[1];
    throw new UsageError(
      'INVALID_ROW',
      `isBare is true, expected ${ev5.length} fields (${ev5.map(([name]) => name).join(', ')})`,
    );
  },
};

/** The stream `events`. */
export const events: SynapseStream<EventsRow, EventsChange> = namedStream(defineStream<EventsRow>('events'), codec);
