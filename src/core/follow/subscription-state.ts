/**
 * The states of one stream on the worker, and the moves between them. ARCHITECTURE.md draws the
 * table, and a test compares.
 */

import type { Millis } from '../../base/clock.ts';
import type { History } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import type { Token } from '../model/token.ts';
import type { RefusalCode } from '../wire/command.ts';

/**
 * From where a stream is requested: after a position, from the earliest row kept, or new rows only.
 */
export type Resume = Position | 'start' | 'now';

/**
 * How far a replication was read. Every later row has a higher token than `after` and is of
 * `history`.
 */
export interface Reading {
  readonly kind: 'asked' | 'catching-up';
  next: Resume;
  /** Undefined before HISTORY, and with a primary that is not Rowcast. */
  after: Token | undefined;
  history: History | undefined;
}

export interface Live {
  readonly kind: 'live';
  received: Position;
  history: History | undefined;
  /** The stream is live for the application once this many items are finished. */
  readonly mark: number;
}

export type SubscriptionState =
  | { readonly kind: 'idle'; readonly next: Resume }
  /**
   * Waits until the answer to ALL says where the stream stands. Only with a primary that is not
   * Rowcast.
   */
  | { readonly kind: 'beside-all'; readonly next: Resume }
  | Reading
  | Live
  /**
   * Lines that come belong to an earlier replication. `next` undefined: the stream is not wanted
   * any more.
   */
  | { readonly kind: 'releasing'; readonly pending: number; readonly next: Resume | undefined }
  | { readonly kind: 'ahead'; readonly next: Resume; readonly until: Millis; readonly why: RefusalCode }
  /**
   * The primary does not have the stream. Only for a stream that is followed because every stream
   * is.
   */
  | { readonly kind: 'absent'; readonly next: Resume }
  | { readonly kind: 'ended' };

type Kind = SubscriptionState['kind'];

export type SubscriptionInput =
  | 'ask'
  | 'ask-beside-all'
  | 'rows'
  | 'position'
  | 'rewound'
  | 'refused'
  | 'wait'
  | 'not-there'
  | 'release'
  | 'ask-again'
  | 'released'
  | 'freed'
  | 'cut'
  | 'end';

/** `fault`: the primary broke the protocol. `never`: we did. */
type Row = Readonly<Record<SubscriptionInput, Kind | 'fault' | 'never'>>;

/** No request waits for an answer. */
const unasked: Row = {
  ask: 'never',
  'ask-beside-all': 'never',
  rows: 'fault',
  position: 'fault',
  rewound: 'never',
  refused: 'fault',
  wait: 'fault',
  'not-there': 'fault',
  release: 'ended',
  'ask-again': 'never',
  released: 'fault',
  freed: 'fault',
  cut: 'idle',
  end: 'ended',
};

const replicated: Row = {
  ...unasked,
  rows: 'catching-up',
  position: 'live',
  rewound: 'catching-up',
  refused: 'idle',
  wait: 'ahead',
  'not-there': 'absent',
  release: 'releasing',
  'ask-again': 'releasing',
};

export const subscriptionTransitions: Readonly<Record<Kind, Row>> = Object.freeze({
  idle: { ...unasked, ask: 'asked', 'ask-beside-all': 'beside-all', 'ask-again': 'releasing' },
  // A primary that is not Rowcast sends none of the lines that would be a fault here.
  'beside-all': {
    ...unasked,
    ask: 'asked',
    rows: 'never',
    position: 'live',
    refused: 'never',
    wait: 'never',
    'not-there': 'never',
    released: 'never',
    freed: 'never',
  },
  asked: replicated,
  'catching-up': replicated,
  live: { ...replicated, rows: 'live' },
  releasing: {
    ...unasked,
    rows: 'releasing',
    position: 'releasing',
    refused: 'releasing',
    wait: 'releasing',
    'not-there': 'releasing',
    release: 'releasing',
    'ask-again': 'releasing',
    released: 'asked',
    freed: 'ended',
  },
  ahead: { ...unasked, ask: 'asked' },
  absent: { ...unasked, ask: 'asked' },
  ended: { ...unasked, cut: 'ended' },
});

/** The stream is followed, and the primary has it as far as is known. */
export function isWanted(state: SubscriptionState): boolean {
  return state.kind !== 'ended' && state.kind !== 'absent' && (state.kind !== 'releasing' || state.next !== undefined);
}
