/**
 * One stream on the worker: where it is requested from, what came, how far the application has
 * applied it. The table in subscription-state.ts has all its states.
 *
 * With a Rowcast primary the rules of docs/protocol.md, "Between Rowcast peers", hold. With any
 * other primary the rules of seed-rules.ts hold.
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { PeerError } from '../model/errors.ts';
import { type History, logIdOf } from '../model/history.ts';
import { formatPosition, type Position } from '../model/position.ts';
import type { Batch } from '../model/batch.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import type { RefusalCode, RefusalFacts, SubscribeCommand } from '../wire/command.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import type { Backoff } from './backoff.ts';
import { CollectedRows, type WholeBatch } from './collected-rows.ts';
import { Delivery, type Item, MARK_COST } from './delivery.ts';
import type { UnfinishedRows } from './row-cost.ts';
import {
  isWanted,
  type Reading,
  type Resume,
  type SubscriptionInput,
  type SubscriptionState,
  subscriptionTransitions,
} from './subscription-state.ts';

export interface SubscriptionSpec {
  readonly stream: StreamName;
  readonly from: Resume;
  /** The position that was applied before, by a checkpoint or a person's word. */
  readonly applied?: Position | undefined;
  /** The position that a checkpoint is known to hold. */
  readonly saved?: Position | undefined;
  /**
   * After GAP or RESET: end with the error, go on at the earliest row kept, or go on with new rows.
   * `by-durability`: earliest for a stream that is volatile at the primary, fail for any other.
   */
  readonly onReset: 'fail' | 'earliest' | 'now' | 'by-durability';
  /** How long slow handlers may keep a live subscription unread. Without end when left out. */
  readonly readWithinMs?: Millis | undefined;
  /** Followed because every stream is. A primary that no longer has the stream is no failure. */
  readonly isDiscovered?: boolean;
}

/** What a subscription needs from its connection and from its neighbours. */
export interface SubscriptionHost {
  /**
   * The eras of the present connection. Undefined while there is none, and with a primary that is
   * not Rowcast.
   */
  readonly eras: PrimaryEras | undefined;
  readonly unfinished: UnfinishedRows;
  /** How many subscriptions are wanted, and how many of them are live. */
  readonly tally: { wanted: number; live: number };
  send(command: SubscribeCommand): void;
  /**
   * An item waits for the application, or the subscription is no longer live, or it waits to ask
   * again.
   */
  notify(subscription: Subscription): void;
  /** An item of this cost waits for the application. */
  handleQueued(cost: number): void;
  /** The subscription may have something to acknowledge. */
  noteMoved(subscription: Subscription): void;
  /** The subscription ended by itself. */
  handleEnded(subscription: Subscription, error: PeerError): void;
  makeBackoff(): Backoff;
}

interface Acknowledgement {
  readonly applied: Token;
  readonly saved: Token | undefined;
}

export class Subscription {
  readonly stream: StreamName;
  readonly spec: SubscriptionSpec;
  readonly delivery: Delivery;
  /** The output that tells of waiting items, made once. */
  readonly ready: { readonly kind: 'ready'; readonly subscription: Subscription } = {
    kind: 'ready',
    subscription: this,
  };
  /** It stands among those that may have an APPLIED to send. */
  isToAcknowledge = false;
  readonly #host: SubscriptionHost;
  readonly #rows: CollectedRows;
  #state: SubscriptionState;
  #backoff: Backoff | undefined;
  /** Where the present replication began. Undefined until the primary has told. */
  #began: Token | undefined;
  /** The first items, up to this count, came before the last reset. */
  #resetMark = 0;
  /** Once this many items are finished, the applied position belongs to the present replication. */
  #ownFrom = 0;
  /** The last APPLIED of the present replication. */
  #told: Acknowledgement | undefined;

  /** @param pending how many RELEASEs of the stream are unanswered on the present connection */
  constructor(spec: SubscriptionSpec, host: SubscriptionHost, pending: number = 0) {
    this.stream = spec.stream;
    this.spec = spec;
    this.#host = host;
    this.#rows = new CollectedRows(spec.stream, host);
    this.delivery = new Delivery(spec);
    this.#state = { kind: 'idle', next: spec.from };
    host.tally.wanted++;
    if (pending === 0) return;
    this.#send(spec.from);
    this.#move('ask-again', { kind: 'releasing', pending, next: spec.from });
  }

  get state(): SubscriptionState {
    return this.#state;
  }

  /** The primary's position on this connection was reached, and everything up to it is applied. */
  get isLive(): boolean {
    return this.#state.kind === 'live' && this.delivery.done >= this.#state.mark;
  }

  /** No more of the stream is wanted. */
  get isEnded(): boolean {
    const state = this.#state;
    return state.kind === 'ended' || (state.kind === 'releasing' && state.next === undefined);
  }

  /** The stream is followed, and the primary has it. */
  get isWanted(): boolean {
    return isWanted(this.#state);
  }

  /** From where the next connection would request the stream. */
  get next(): Resume | undefined {
    const state = this.#state;
    if (state.kind === 'live') return state.received;
    return state.kind === 'ended' ? undefined : state.next;
  }

  get pendingReleases(): number {
    return this.#state.kind === 'releasing' ? this.#state.pending : 0;
  }

  /** When the subscription asks again by itself. */
  get nextTimeout(): Millis | undefined {
    return this.#state.kind === 'ahead' ? this.#state.until : undefined;
  }

  /** Requests the stream on the present connection. */
  ask(): void {
    const { next } = this;
    assert(next !== undefined, 'a subscription that is asked for to be wanted');
    const from = this.#isForeign(next) ? this.#resetForeign() : next;
    if (from === undefined) return;
    this.#send(from);
    this.#move('ask', this.#asked(from));
  }

  /**
   * ALL was requested. The stream is requested by its own line once the answer to ALL says where it
   * stands.
   */
  askBesideAll(): void {
    if (this.#state.kind === 'idle') this.#move('ask-beside-all', { kind: 'beside-all', next: this.#state.next });
  }

  /** Ends the present replication and requests another one, without waiting for RELEASED. */
  askAgain(next: Resume): void {
    const pending = this.pendingReleases + 1;
    this.#rows.drop();
    this.#host.send({ name: 'RELEASE', stream: this.stream });
    this.#send(next);
    this.#move('ask-again', { kind: 'releasing', pending, next });
  }

  /**
   * Takes a row from a Rowcast primary. `token` undefined: more rows of its batch follow.
   * @throws PeerError UNEXPECTED_COMMAND, TOKEN_FELL, BATCH_TOO_LARGE
   */
  handleRow(token: Token | undefined, row: unknown, line: LineInText): void {
    const state = this.#state;
    if (state.kind === 'releasing') return;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') {
      throw unexpected(this.stream, 'a row came, and the stream is not replicated');
    }
    const { history } = state;
    const after = state.kind === 'live' ? state.received.token : state.after;
    if (history === undefined || after === undefined) throw unexpected(this.stream, 'a row came before HISTORY');
    const one = token === undefined ? undefined : this.#rows.takeOne(row, line);
    if (one === undefined) this.#rows.add(row, line);
    if (token === undefined) return;
    if (token <= after) {
      throw new PeerError(
        'TOKEN_FELL',
        `stream ${this.stream} went from token ${after} to ${token}, expected a higher one`,
        { facts: { stream: this.stream, token, after } },
      );
    }
    const position: Position = { stream: this.stream, token, history };
    if (state.kind === 'live') state.received = position;
    else if (state.kind === 'catching-up') {
      state.next = position;
      state.after = token;
    } else this.#move('rows', { kind: 'catching-up', next: position, after: token, history });
    this.#pushBatch(one ?? this.#rows.take(), token, position, position);
  }

  /**
   * Rows after the token have this history.
   * @throws PeerError UNEXPECTED_COMMAND
   */
  handleHistory(after: Token, history: History): void {
    const state = this.#state;
    if (state.kind === 'releasing') return;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') {
      throw unexpected(this.stream, 'HISTORY came, and the stream is not replicated');
    }
    this.#checkLog(history);
    const known = state.kind === 'live' ? state.received.token : state.after;
    // `after` may be higher, when the tokens in between have no rows.
    if (known !== undefined && after < known) {
      throw unexpected(this.stream, `HISTORY came for rows after ${after}, and rows up to ${known} have come`);
    }
    if (!this.#rows.isEmpty) throw unexpected(this.stream, 'HISTORY came within a batch');
    if (state.kind === 'live') {
      state.history = history;
      return;
    }
    this.#began ??= after;
    this.#move('rows', { kind: 'catching-up', next: state.next, after, history });
  }

  /**
   * Everything up to the token was sent.
   * @throws PeerError UNEXPECTED_COMMAND, TOKEN_FELL
   */
  handlePosition(token: Token, history: History): void {
    const state = this.#state;
    if (state.kind === 'releasing') return;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') {
      throw unexpected(this.stream, 'POSITION came, and the stream is not replicated');
    }
    this.#checkLog(history);
    const after = state.kind === 'live' ? state.received.token : state.after;
    if (!this.#rows.isEmpty) throw unexpected(this.stream, 'POSITION came within a batch');
    if (after !== undefined && token < after) {
      throw new PeerError('TOKEN_FELL', `stream ${this.stream} went from token ${after} to POSITION ${token}`, {
        facts: { stream: this.stream, token, after },
      });
    }
    const position: Position = { stream: this.stream, token, history };
    this.#began ??= token;
    this.goLive(position, history, this.#eraOf(history));
  }

  /**
   * The primary does not replicate the stream, or no longer does.
   * @throws PeerError UNEXPECTED_COMMAND
   */
  handleRefused(now: Millis, code: RefusalCode, facts: RefusalFacts): void {
    const state = this.#state;
    if (state.kind === 'releasing') return;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') {
      throw unexpected(this.stream, 'REFUSED came, and the stream is not replicated');
    }
    const wasAt = this.next!;
    this.#rows.drop();
    switch (code) {
      case 'UNKNOWN_STREAM':
        // The stream was removed, or is not declared again yet: the next connection asks anew.
        if (this.spec.isDiscovered === true) return this.#move('not-there', { kind: 'absent', next: wasAt });
        this.end();
        return this.#host.handleEnded(
          this,
          new PeerError(code, `the primary has no stream ${this.stream}: declare it there, or check the name`, {
            facts: { stream: this.stream },
          }),
        );
      case 'AHEAD':
      case 'UNAVAILABLE':
        return this.#waitToAsk(now, wasAt);
      case 'GAP':
      case 'RESET': {
        // No row has come yet, so none was missed.
        if (typeof wasAt !== 'object') return this.#waitToAsk(now, wasAt);
        const error = refusalError(this.stream, code, wasAt, facts);
        this.#move('refused', { kind: 'idle', next: wasAt });
        const next = this.reset(error, facts.history);
        if (next === undefined) return;
        this.#send(next);
        return this.#move('ask', this.#asked(next));
      }
    }
  }

  /** The same request would be refused again now. Later it may not. */
  #waitToAsk(now: Millis, next: Resume): void {
    this.#backoff ??= this.#host.makeBackoff();
    this.#move('wait', { kind: 'ahead', next, until: now + this.#backoff.nextDelayMs() });
    this.#host.notify(this);
  }

  /**
   * A RELEASE was answered.
   * @throws PeerError UNEXPECTED_COMMAND
   */
  handleReleased(): void {
    const state = this.#state;
    if (state.kind !== 'releasing') throw unexpected(this.stream, 'RELEASED came, and nothing was released');
    const pending = state.pending - 1;
    if (pending > 0) this.#state = { ...state, pending };
    else if (state.next === undefined) this.#move('freed', { kind: 'ended' });
    else this.#move('released', this.#asked(state.next));
  }

  /**
   * Takes the attributes of the batch that comes next.
   * @throws PeerError UNEXPECTED_COMMAND, BATCH_TOO_LARGE
   */
  handleAttributes(token: Token, attributes: object, line: LineInText): void {
    const state = this.#state;
    if (state.kind === 'releasing') return;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') {
      throw unexpected(this.stream, 'ATTR came, and the stream is not replicated');
    }
    if (!this.#rows.isEmpty) throw unexpected(this.stream, 'ATTR came within a batch');
    this.#rows.addAttributes({ token, attributes }, line);
  }

  /**
   * The history under the position is gone, or the rows after it are.
   * @param history the stream's present history at the primary, if the primary told
   * @returns from where to go on; undefined when the subscription has ended
   */
  reset(error: PeerError, history: History | undefined): 'start' | 'now' | undefined {
    const { onReset } = this.spec;
    const { eras } = this.#host;
    const isVolatile = eras !== undefined && history !== undefined && logIdOf(history) === logIdOf(eras.volatile);
    const isFailure = onReset === 'fail' || (onReset === 'by-durability' && !isVolatile);
    if (isFailure) {
      this.end();
      this.#host.handleEnded(this, error);
      return undefined;
    }
    this.#deliver({ kind: 'reset', error, cost: MARK_COST });
    this.#resetMark = this.delivery.pushed;
    return onReset === 'now' ? 'now' : 'start';
  }

  /** The stream is live at this position. Later rows have higher tokens. */
  goLive(position: Position, history: History | undefined, era: History | undefined): void {
    const mark = this.#state.kind === 'live' ? this.#state.mark : this.delivery.pushed + 1;
    this.#move('position', { kind: 'live', received: position, history, mark });
    this.#backoff?.reset();
    this.#host.noteMoved(this);
    this.#deliver({ kind: 'position', position, era, cost: MARK_COST });
  }

  /** Queues one more item for the application. */
  #deliver(item: Item): void {
    this.delivery.push(item);
    this.#host.handleQueued(item.cost);
    this.#host.notify(this);
  }

  /** Delivers the collected rows as a whole batch. */
  #pushBatch({ rows, attributes, cost }: WholeBatch, token: Token, of: Position, position: Position | undefined): void {
    if (attributes !== undefined && attributes.token !== token) {
      throw unexpected(this.stream, `ATTR came of token ${attributes.token}, and a batch of token ${token} after it`);
    }
    const plain = { stream: this.stream, token, position: of, rows };
    const batch =
      attributes === undefined
        ? plain
        : { ...plain, attributes: attributes.attributes as NonNullable<Batch['attributes']> };
    this.#deliver({ kind: 'batch', batch, cost, position });
  }

  /**
   * Takes a row from a primary that is not Rowcast (seed-rules.ts has the rules).
   * @returns `live` when the row is of a run; `reconnect` when the stream must be requested on
   *   another connection
   * @throws PeerError BATCH_TOO_LARGE
   */
  handleSeedRow(
    token: Token | undefined,
    row: unknown,
    line: LineInText,
    isBesideAll: boolean,
  ): 'live' | 'reconnect' | undefined {
    const state = this.#state;
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') return undefined;
    if (hasHistory(this.next)) return this.#leaveHistory();
    this.#rows.add(row, line);
    if (token === undefined) return undefined;
    if (state.kind !== 'live') {
      const after = askedAfter(state.next);
      // We asked for rows after our position and got an older one, so the stream started afresh.
      // Beside ALL the row may be a live one.
      if (!isBesideAll && after !== undefined && token <= after) {
        if (this.#rewind(`row ${token} came`) !== 'goes-on') return this.isEnded ? undefined : 'reconnect';
      } else if (state.kind === 'asked') {
        this.#move('rows', { ...state, kind: 'catching-up' });
      }
    }
    this.#pushBatch(this.#rows.take(), token, { stream: this.stream, token, history: undefined }, undefined);
    return state.kind === 'live' ? 'live' : undefined;
  }

  /**
   * Takes POSITION from a primary that is not Rowcast.
   * @returns `reconnect` when the stream must be requested on another connection
   */
  handleSeedPosition(token: Token): 'reconnect' | undefined {
    const state = this.#state;
    const position: Position = { stream: this.stream, token, history: undefined };
    if (state.kind === 'beside-all') {
      if (state.next === 'now') this.goLive(position, undefined, undefined);
      else this.ask();
      return undefined;
    }
    if (state.kind !== 'live' && state.kind !== 'catching-up' && state.kind !== 'asked') return undefined;
    if (hasHistory(this.next)) return this.#leaveHistory();
    const before = state.kind === 'live' ? state.received.token : askedAfter(state.next);
    if (before !== undefined && token < before) {
      // Unfinished rows belong to the history that ended.
      this.#rows.drop();
      if (this.#rewind(`POSITION ${token} came`) !== 'goes-on') return this.isEnded ? undefined : 'reconnect';
    }
    this.goLive(position, undefined, undefined);
    return undefined;
  }

  /** All live rows up to the token have come. */
  handleSeedRun(token: Token): void {
    const state = this.#state;
    if (state.kind !== 'live' || token <= state.received.token) return;
    state.received = { stream: this.stream, token, history: undefined };
    this.#deliver({ kind: 'position', position: state.received, era: undefined, cost: MARK_COST });
  }

  /** The primary will never serve what is requested. Goes on with new rows, if onReset is `now`. */
  handleFarBehind(error: PeerError): void {
    if (this.isEnded) return;
    if (this.spec.onReset !== 'now') {
      this.end();
      return this.#host.handleEnded(this, error);
    }
    this.reset(error, undefined);
    this.#rewindTo('now');
  }

  /** The primary that answers has no histories, and our position has one. */
  #leaveHistory(): 'reconnect' | undefined {
    const next = this.#resetForeign();
    if (next === undefined) return undefined;
    this.#rewindTo(next);
    return 'reconnect';
  }

  /** The history ended below our position. Unfinished rows belong to the old one. */
  #rewind(what: string): 'goes-on' | 'reconnect' | 'ended' {
    const at = describe(this.next!);
    const error = new PeerError('RESET', `Stream ${this.stream} started afresh: ${what}, and our position was ${at}.`, {
      facts: { stream: this.stream },
    });
    const next = this.reset(error, undefined);
    if (next === undefined) return 'ended';
    this.#rewindTo(next);
    return next === 'now' ? 'reconnect' : 'goes-on';
  }

  #rewindTo(next: Resume): void {
    const { kind } = this.#state;
    if (kind === 'idle' || kind === 'beside-all') this.#state = { kind, next };
    else this.#move('rewound', { kind: 'catching-up', next, after: undefined, history: undefined });
  }

  /** The connection is gone. Unfinished rows will come again. */
  handleCut(): void {
    const { next } = this;
    this.#rows.drop();
    this.delivery.handleCut();
    if (this.isEnded || next === undefined) this.#move('end', { kind: 'ended' });
    else this.#move('cut', { kind: 'idle', next });
  }

  /** The application wants no more of the stream. */
  release(): void {
    const state = this.#state;
    this.#rows.drop();
    switch (state.kind) {
      case 'asked':
      case 'catching-up':
      case 'live':
        this.#host.send({ name: 'RELEASE', stream: this.stream });
        return this.#move('release', { kind: 'releasing', pending: 1, next: undefined });
      case 'releasing':
        if (state.next === undefined) return;
        this.#host.send({ name: 'RELEASE', stream: this.stream });
        return this.#move('release', { kind: 'releasing', pending: state.pending + 1, next: undefined });
      default:
        return this.#move('release', { kind: 'ended' });
    }
  }

  /** Like release, when the primary cannot or need not be told. */
  end(): void {
    this.#rows.drop();
    this.#move('end', { kind: 'ended' });
  }

  /** The APPLIED to send now. Undefined when there is nothing new, or nothing that may be told. */
  takeAcknowledgement(): Acknowledgement | undefined {
    const { applied, saved, done } = this.delivery;
    const { kind } = this.#state;
    if (kind !== 'catching-up' && kind !== 'live') return undefined;
    if (this.#began === undefined || applied === undefined || done < this.#ownFrom) return undefined;
    if (applied.token < this.#began) return undefined;
    const told = this.#told;
    if (told?.applied === applied.token && told.saved === saved?.token) return undefined;
    this.#told = { applied: applied.token, saved: saved?.token };
    return this.#told;
  }

  /**
   * Whether our position says nothing to this primary. A token from a primary without histories
   * says nothing to one that has them, and a position with a history says nothing to one without. A
   * token from a person is taken at the person's word. Only an answer proves that a primary has no
   * histories: until then it may be a Rowcast primary that is late to say so.
   */
  #isForeign(next: Resume): next is Position {
    if (typeof next !== 'object' || next.token === 0) return false;
    const isVouched = next === this.spec.from && this.spec.applied === undefined;
    return this.#host.eras !== undefined && next.history === undefined && !isVouched;
  }

  /** @returns from where to go on; undefined when the subscription has ended */
  #resetForeign(): 'start' | 'now' | undefined {
    const { stream } = this;
    const text = `Stream ${stream} is followed at a primary of another kind now: position ${describe(this.next!)} says nothing there.`;
    return this.reset(new PeerError('RESET', text, { facts: { stream, position: this.next } }), undefined);
  }

  /** Sends the line that asks for the stream. */
  #send(next: Resume): void {
    const { stream } = this;
    const isSeed = this.#host.eras === undefined;
    this.#told = undefined;
    if (typeof next === 'object') {
      this.#began = next.token;
      this.#ownFrom = this.#resetMark;
      const history = isSeed ? undefined : next.history;
      return this.#host.send({ name: 'REPLICATE', stream, from: next.token, history });
    }
    this.#began = undefined;
    this.#ownFrom = this.delivery.pushed + 1;
    // The seed has no START. After token 0 come the same rows.
    const start = isSeed ? 0 : 'START';
    this.#host.send({ name: 'REPLICATE', stream, from: next === 'now' ? 'NOW' : start, history: undefined });
  }

  #asked(next: Resume): Reading {
    const after = typeof next === 'object' ? next.token : undefined;
    const history = typeof next === 'object' ? next.history : undefined;
    return { kind: 'asked', next, after, history };
  }

  /**
   * Every stream is in one of the primary's logs.
   * @throws PeerError UNEXPECTED_COMMAND
   */
  #checkLog(history: History): void {
    if (this.#eraOf(history) === undefined) {
      throw unexpected(this.stream, `history ${history} is of no log that the primary has named`);
    }
  }

  /** The present era of the log that a history belongs to. */
  #eraOf(history: History): History | undefined {
    const { eras } = this.#host;
    if (eras === undefined) return undefined;
    const logId = logIdOf(history);
    if (logId === logIdOf(eras.durable)) return eras.durable;
    return logId === logIdOf(eras.volatile) ? eras.volatile : undefined;
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  #move(input: SubscriptionInput, state: SubscriptionState): void {
    const before = this.#state;
    const next = subscriptionTransitions[before.kind][input];
    if (next === 'fault') throw unexpected(this.stream, `${input} came while it was ${before.kind}`);
    assert(next === state.kind, `${input} to lead from ${before.kind} to ${next}, not to ${state.kind}`);
    this.#state = state;
    const { tally } = this.#host;
    tally.live += Number(state.kind === 'live') - Number(before.kind === 'live');
    tally.wanted += Number(isWanted(state)) - Number(isWanted(before));
    if (before.kind === 'live' && state.kind !== 'live') this.#host.notify(this);
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

function describe(next: Resume): string {
  return typeof next === 'object' ? formatPosition(next) : next;
}

function refusalError(stream: StreamName, code: 'GAP' | 'RESET', wasAt: Position, told: RefusalFacts): PeerError {
  const facts = { stream, position: wasAt, ...told };
  const { earliest, latest, history } = told;
  const text =
    code === 'GAP'
      ? `Rows of stream ${stream} after ${describe(wasAt)} are no longer kept: it starts at ${earliest ?? 'a later token'}.`
      : `Stream ${stream} started afresh: position ${describe(wasAt)} is not on its history` +
        (history === undefined ? '.' : `, which reaches to ${latest ?? '?'} of ${history}.`);
  return new PeerError(code, `${text} Use onReset: 'earliest' or 'now' to go on by itself.`, { facts });
}

function unexpected(stream: StreamName, what: string): PeerError {
  return new PeerError('UNEXPECTED_COMMAND', `stream ${stream}: ${what}`, { facts: { stream } });
}
