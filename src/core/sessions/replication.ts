/**
 * One stream on one connection, seen from the primary: from REPLICATE to RELEASE or REFUSED.
 * ARCHITECTURE.md draws the table, and a test compares.
 */

import { assert } from '../../base/assert.ts';
import { PeerError } from '../model/errors.ts';
import type { History } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { StreamState } from './stream-table.ts';

/** How far a stream was sent on this connection. */
export interface Sent {
  /** Where this replication began. */
  readonly began: Token;
  readonly token: Token;
  /**
   * The history that REPLICATE, POSITION or HISTORY named last. Rows sent without another HISTORY
   * belong to it.
   */
  readonly named: History | undefined;
}

export type ReplicationState =
  | { readonly kind: 'idle' }
  /**
   * The log is checking whether the position is on its history. `sent`: rows of the stream were
   * taken back, so the position that it was sent to is judged again.
   */
  | { readonly kind: 'judging'; readonly position: Position; readonly sent?: Sent }
  /** Begins at the earliest row, which is looked up when the first page is read. */
  | { readonly kind: 'starting' }
  | { readonly kind: 'catching-up'; readonly sent: Sent }
  /**
   * `rows`: the stream's appendedRows up to what was sent, so that a lag is a difference of two
   * counts.
   */
  | { readonly kind: 'live'; readonly sent: Sent; readonly rows: number };

type Kind = ReplicationState['kind'];

export type ReplicationInput =
  | 'replicate'
  | 'start'
  | 'now'
  | 'on'
  | 'page'
  | 'caught-up'
  | 'rebased'
  | 'refused'
  | 'release';

/** `fault`: the peer broke the protocol. `never`: we did. */
type Row = Readonly<Record<ReplicationInput, Kind | 'fault' | 'never'>>;

/** A running replication cannot be requested again. */
const running: Row = {
  replicate: 'fault',
  start: 'fault',
  now: 'fault',
  on: 'never',
  page: 'catching-up',
  'caught-up': 'live',
  rebased: 'judging',
  refused: 'idle',
  release: 'idle',
};

export const replicationTransitions: Readonly<Record<Kind, Row>> = Object.freeze({
  idle: {
    replicate: 'judging',
    start: 'starting',
    now: 'live',
    on: 'never',
    page: 'never',
    'caught-up': 'never',
    rebased: 'idle',
    refused: 'idle',
    release: 'idle',
  },
  judging: { ...running, on: 'catching-up', page: 'never', 'caught-up': 'never' },
  starting: { ...running, rebased: 'starting' },
  'catching-up': running,
  live: { ...running, page: 'live' },
});

export class Replication {
  readonly served: StreamState;
  state: ReplicationState = { kind: 'idle' };
  /** It waits for its turn to be read. */
  isQueued = false;
  /**
   * A live stream owes POSITION once everything is sent: another era has begun, or rows were
   * trimmed unread.
   */
  owesPosition = false;
  /**
   * Up to where the worker's handlers have applied, as the last APPLIED says. Undefined before the
   * first.
   */
  applied: Token | undefined;
  /** Where the worker would resume after a crash. */
  saved: Token | undefined;

  constructor(served: StreamState) {
    this.served = served;
  }

  get stream(): StreamName {
    return this.served.stream;
  }

  get sent(): Sent | undefined {
    return this.state.kind === 'idle' || this.state.kind === 'starting' ? undefined : this.state.sent;
  }

  /**
   * What was saved of this replication, for retention (docs/protocol.md, "APPLIED"). Undefined
   * while only what lies before its beginning is saved: that may be of an earlier history.
   */
  get acknowledged(): Token | undefined {
    const { saved, sent } = this;
    return saved !== undefined && sent !== undefined && saved >= sent.began ? saved : undefined;
  }

  get isLive(): boolean {
    return this.state.kind === 'live';
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  move(input: ReplicationInput, state: ReplicationState): void {
    const next = replicationTransitions[this.state.kind][input];
    if (next === 'fault') {
      throw new PeerError('UNEXPECTED_COMMAND', `stream ${this.stream} is replicated already: RELEASE it first`, {
        facts: { stream: this.stream },
      });
    }
    assert(next === state.kind, `${input} to lead from ${this.state.kind} to ${next}, not to ${state.kind}`);
    this.state = state;
  }

  /**
   * Takes APPLIED. Its token is between where this replication began and what was sent, and never
   * falls.
   * @throws PeerError UNEXPECTED_COMMAND
   */
  handleApplied(applied: Token, saved: Token | undefined): void {
    const { sent } = this;
    // The stream was refused or released meanwhile, so APPLIED is about the earlier replication.
    if (sent === undefined) return;
    const atLeast = this.applied ?? sent.began;
    if (applied < atLeast || applied > sent.token) {
      throw this.#wrongAcknowledgement(`applied ${applied}`, `${atLeast} to ${sent.token}`);
    }
    if (saved !== undefined && (saved > applied || saved < (this.saved ?? 0))) {
      throw this.#wrongAcknowledgement(`saved ${saved}`, `${this.saved ?? 0} to ${applied}`);
    }
    this.applied = applied;
    this.saved = saved ?? this.saved;
  }

  #wrongAcknowledgement(came: string, expected: string): PeerError {
    const { stream } = this;
    return new PeerError('UNEXPECTED_COMMAND', `APPLIED of stream ${stream} says ${came}, expected ${expected}`, {
      facts: { stream },
    });
  }
}
