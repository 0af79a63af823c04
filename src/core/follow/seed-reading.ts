/**
 * How one stream reads the lines of a primary that is not Rowcast (docs/protocol.md, "Any other
 * primary"). The rules that span streams are in seed-rules.ts.
 */

import type { History } from '../model/history.ts';
import { PeerError } from '../model/errors.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import type { CollectedRows, WholeBatch } from './collected-rows.ts';
import { type Item, MARK_COST } from './delivery.ts';
import { describePlace } from './reset-errors.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';
import type { Resume, SubscriptionInput, SubscriptionState } from './subscription-state.ts';

/** The subscription whose lines are read. */
interface Machine {
  readonly stream: StreamName;
  readonly spec: SubscriptionSpec;
  readonly state: SubscriptionState;
  readonly next: Resume | undefined;
  readonly isEnded: boolean;
  ask(): void;
  fail(error: PeerError): void;
  reset(error: PeerError, history: History | undefined): 'start' | 'now' | undefined;
  goLive(position: Position, history: History | undefined, era: History | undefined): void;
}

/** What only this reading may do with its subscription. */
export interface SeedReadingHost {
  readonly subscription: Machine;
  readonly rows: CollectedRows;
  readonly move: (input: SubscriptionInput, state: SubscriptionState) => void;
  readonly rewindTo: (next: Resume) => void;
  readonly deliver: (item: Item) => void;
  readonly pushBatch: (whole: WholeBatch, token: Token, of: Position, position: Position | undefined) => void;
  readonly resetForeign: () => 'start' | 'now' | undefined;
}

export class SeedReading {
  readonly #host: SeedReadingHost;
  readonly #of: Machine;

  constructor(host: SeedReadingHost) {
    this.#host = host;
    this.#of = host.subscription;
  }

  /**
   * Takes a row from a primary that is not Rowcast (seed-rules.ts has the rules).
   * @returns `live` when the row is of a run; `reconnect` when the stream must be requested on
   *   another connection
   * @throws PeerError BATCH_TOO_LARGE
   */
  handleRow(
    token: Token | undefined,
    row: unknown,
    line: LineInText,
    isBesideAll: boolean,
  ): 'live' | 'reconnect' | undefined {
    const state = this.#of.state;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') return undefined;
    if (hasHistory(this.#of.next)) return this.#leaveHistory();
    this.#host.rows.add(row, line);
    if (token === undefined) return undefined;
    if (state.kind !== 'live') {
      const after = askedAfter(state.next);
      // We asked for rows after our position and got an older one, so the stream started afresh.
      // Beside ALL the row may be a live one.
      if (!isBesideAll && after !== undefined && token <= after) {
        if (this.#rewind(`row ${token} came`) !== 'goes-on') return this.#of.isEnded ? undefined : 'reconnect';
      } else if (state.kind === 'asked') {
        this.#host.move('rows', { ...state, kind: 'catching-up' });
      }
    }
    this.#host.pushBatch(
      this.#host.rows.take(),
      token,
      { stream: this.#of.stream, token, history: undefined },
      undefined,
    );
    return state.kind === 'live' ? 'live' : undefined;
  }

  /**
   * Takes POSITION from a primary that is not Rowcast.
   * @returns `reconnect` when the stream must be requested on another connection
   */
  handlePosition(token: Token): 'reconnect' | undefined {
    const state = this.#of.state;
    const position: Position = { stream: this.#of.stream, token, history: undefined };
    if (state.kind === 'beside-all') {
      if (state.next === 'now') this.#of.goLive(position, undefined, undefined);
      else this.#of.ask();
      return undefined;
    }
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') return undefined;
    if (hasHistory(this.#of.next)) return this.#leaveHistory();
    const before = state.kind === 'live' ? state.received.token : askedAfter(state.next);
    if (before !== undefined && token < before) {
      // Unfinished rows belong to the history that ended.
      this.#host.rows.drop();
      if (this.#rewind(`POSITION ${token} came`) !== 'goes-on') return this.#of.isEnded ? undefined : 'reconnect';
    }
    this.#of.goLive(position, undefined, undefined);
    return undefined;
  }

  /** All live rows up to the token have come. */
  handleRun(token: Token): void {
    const state = this.#of.state;
    if (state.kind !== 'live' || token <= state.received.token) return;
    state.received = { stream: this.#of.stream, token, history: undefined };
    this.#host.deliver({ kind: 'position', position: state.received, era: undefined, cost: MARK_COST });
  }

  /** The primary will never serve what is requested. Goes on with new rows, if onReset is `now`. */
  handleFarBehind(error: PeerError): void {
    if (this.#of.isEnded) return;
    if (this.#of.spec.onReset !== 'now') return this.#of.fail(error);
    this.#of.reset(error, undefined);
    this.#host.rewindTo('now');
  }

  /** The primary that answers has no histories, and our position has one. */
  #leaveHistory(): 'reconnect' | undefined {
    const next = this.#host.resetForeign();
    if (next === undefined) return undefined;
    this.#host.rewindTo(next);
    return 'reconnect';
  }

  /** The history ended below our position. Unfinished rows belong to the old one. */
  #rewind(what: string): 'goes-on' | 'reconnect' | 'ended' {
    const at = describePlace(this.#of.next!);
    const error = new PeerError(
      'RESET',
      `Stream ${this.#of.stream} started afresh: ${what}, and our position was ${at}.`,
      {
        facts: { stream: this.#of.stream },
      },
    );
    const next = this.#of.reset(error, undefined);
    if (next === undefined) return 'ended';
    this.#host.rewindTo(next);
    return next === 'now' ? 'reconnect' : 'goes-on';
  }
}

/** The token after which rows were requested. Undefined when only new rows were. */
function askedAfter(next: Resume): Token | undefined {
  if (next === 'now') return undefined;
  return next === 'start' ? 0 : next.token;
}

function hasHistory(next: Resume | undefined): boolean {
  return typeof next === 'object' && next.history !== undefined && next.token > 0;
}
