/**
 * One stream on the worker: where it is requested from, what came, how far the application has
 * applied it. The table in subscription-state.ts has all its states.
 *
 * With a Rowcast primary the rules of docs/protocol.md, "Between Rowcast peers", hold. With any
 * other primary seed-reading.ts reads the lines.
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { PeerError } from '../model/errors.ts';
import { type History, logIdOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import type { Batch } from '../model/batch.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText } from '../sessions/worker-session.ts';
import type { RefusalCode, RefusalFacts, SubscribeCommand } from '../wire/command.ts';
import { eraOf, type PrimaryEras } from '../wire/greeting.ts';
import { type Acknowledgement, Acknowledging } from './acknowledging.ts';
import type { Backoff } from './backoff.ts';
import { CollectedRows, type WholeBatch } from './collected-rows.ts';
import { Delivery, type Item, MARK_COST } from './delivery.ts';
import { deletedError, foreignError, refusalError, unexpected } from './reset-errors.ts';
import type { UnfinishedRows } from './row-cost.ts';
import { SeedReading } from './seed-reading.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';
import {
  isWanted,
  type Reading,
  type Resume,
  type SubscriptionInput,
  type SubscriptionState,
  subscriptionTransitions,
} from './subscription-state.ts';

/** Of all subscriptions of a worker. */
export interface Tally {
  wanted: number;
  /** Those of them that have received everything. */
  live: number;
  /** Those of them whose handlers are finished with it. */
  applied: number;
}

/** What a subscription needs from its connection and from its neighbours. */
export interface SubscriptionHost {
  /**
   * The eras of the present connection. Undefined while there is none, and with a primary that is
   * not Rowcast.
   */
  readonly eras: PrimaryEras | undefined;
  readonly unfinished: UnfinishedRows;
  readonly tally: Tally;
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
  /** The primary has refused the stream because it was deleted. */
  handleDeleted(subscription: Subscription): void;
  /** A subscription that may not be late unnoticed became live, or is no longer. */
  handleUrgent(subscription: Subscription): void;
  makeBackoff(): Backoff;
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
  /** The catalog that lists the stream. Undefined while none is known to. */
  listedIn: StreamName | undefined;
  /** It was asked for at NOW: in whatever stream of this name there was by then. */
  hasBegunBlind = false;
  readonly #host: SubscriptionHost;
  readonly #rows: CollectedRows;
  #state: SubscriptionState;
  #backoff: Backoff | undefined;
  readonly #acknowledging: Acknowledging;
  #seed: SeedReading | undefined;
  /** After START: every row after this token is kept. Undefined before HISTORY. */
  #startsAfter: Token | undefined;
  /** It counts among the applied of the tally. */
  #isCounted = false;

  /** @param pending how many RELEASEs of the stream are unanswered on the present connection */
  constructor(spec: SubscriptionSpec, host: SubscriptionHost, pending: number = 0) {
    this.stream = spec.stream;
    this.spec = spec;
    this.#host = host;
    this.#rows = new CollectedRows(spec.stream, host, spec.keepsTexts ?? false);
    this.delivery = new Delivery(spec);
    this.#acknowledging = new Acknowledging(this.delivery);
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

  /** The item that was taken last from the delivery is finished. */
  finish(item: Item, isApplied: boolean): void {
    this.delivery.finish(item, isApplied);
    this.#count();
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
    if (state.kind !== 'live') this.#tellTrimmed(state.next, after);
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
    this.#startsAfter ??= after;
    this.#acknowledging.handleBegan(after);
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
    if (state.kind !== 'live') this.#tellTrimmed(state.next, token);
    this.#acknowledging.handleBegan(token);
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
        if (this.spec.pattern !== undefined) return this.#move('not-there', { kind: 'absent', next: wasAt });
        return this.fail(
          new PeerError(code, `the primary has no stream ${this.stream}: declare it there, or check the name`, {
            facts: { stream: this.stream },
          }),
        );
      case 'AHEAD':
      case 'UNAVAILABLE':
        return this.#waitToAsk(now, wasAt, code);
      case 'GAP':
      case 'RESET': {
        if (facts.deleted === true && this.spec.pattern !== undefined) {
          this.#move('refused', { kind: 'idle', next: wasAt });
          return this.#host.handleDeleted(this);
        }
        // No row has come yet, so none was missed.
        if (typeof wasAt !== 'object') return this.#waitToAsk(now, wasAt, code);
        const isEnd = this.#endsAtReset(facts.history);
        const error = refusalError(this.stream, code, { wasAt, told: facts, isEnd });
        this.#move('refused', { kind: 'idle', next: wasAt });
        const next = this.reset(error, facts.history);
        if (next === undefined) return;
        this.#send(next);
        return this.#move('ask', this.#asked(next));
      }
    }
  }

  /** The same request would be refused again now. Later it may not. */
  #waitToAsk(now: Millis, next: Resume, why: RefusalCode): void {
    this.#backoff ??= this.#host.makeBackoff();
    this.#move('wait', { kind: 'ahead', next, until: now + this.#backoff.nextDelayMs(), why });
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
    if (this.#endsAtReset(history)) {
      this.fail(error);
      return undefined;
    }
    this.#deliver({ kind: 'reset', error, cost: MARK_COST });
    this.#acknowledging.handleReset();
    return this.spec.onReset === 'now' ? 'now' : 'start';
  }

  /** @param history that of the stream now, if it is known */
  #endsAtReset(history: History | undefined): boolean {
    const { onReset } = this.spec;
    if (onReset !== 'by-durability') return onReset === 'fail';
    const { eras } = this.#host;
    const isVolatile = eras !== undefined && history !== undefined && logIdOf(history) === logIdOf(eras.volatile);
    return !isVolatile;
  }

  /** The stream is live at this position. Later rows have higher tokens. */
  goLive(position: Position, history: History | undefined, era: History | undefined): void {
    const mark = this.#state.kind === 'live' ? this.#state.mark : this.delivery.pushed + 1;
    this.#move('position', { kind: 'live', received: position, history, mark });
    this.#backoff?.reset();
    this.#host.noteMoved(this);
    this.#deliver({ kind: 'position', position, era, cost: MARK_COST });
  }

  /** The first row or POSITION after START has come. Without HISTORY nothing is kept up to `after`. */
  #tellTrimmed(next: Resume, after: Token): void {
    const earliest = (this.#startsAfter ?? after) + 1;
    if (next === 'start' && earliest > 1) this.#deliver({ kind: 'trimmed', earliest, cost: MARK_COST });
  }

  /** Queues one more item for the application. */
  #deliver(item: Item): void {
    this.delivery.push(item);
    this.#host.handleQueued(item.cost);
    this.#host.notify(this);
  }

  /** Delivers the collected rows as a whole batch. */
  #pushBatch(whole: WholeBatch, token: Token, of: Position, position: Position | undefined): void {
    const { rows, texts, isUnreadable, attributes, cost } = whole;
    if (attributes !== undefined && attributes.token !== token) {
      throw unexpected(this.stream, `ATTR came of token ${attributes.token}, and a batch of token ${token} after it`);
    }
    const plain = { stream: this.stream, token, position: of, rows };
    const batch =
      attributes === undefined
        ? plain
        : { ...plain, attributes: attributes.attributes as NonNullable<Batch['attributes']> };
    this.#deliver({ kind: 'batch', batch, texts, isUnreadable, cost, position });
  }

  /** The lines of a primary that is not Rowcast. */
  get seed(): SeedReading {
    this.#seed ??= new SeedReading({
      subscription: this,
      rows: this.#rows,
      move: (input, state) => this.#move(input, state),
      rewindTo: (next) => this.#rewindTo(next),
      deliver: (item) => this.#deliver(item),
      pushBatch: (whole, token, of, position) => this.#pushBatch(whole, token, of, position),
      resetForeign: () => this.#resetForeign(),
    });
    return this.#seed;
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

  /**
   * The stream was deleted. The application is told so after everything that came before.
   * @param canRelease false: nothing is sent, and what still comes is not for this subscription
   */
  delete(canRelease: boolean): void {
    const { next, stream } = this;
    // Token 0 is before the rows of whichever stream has the name, but not in another log.
    const isVoid = typeof next === 'object' && (next.token > 0 || this.#isOfAnotherLog(next));
    this.#deliver({ kind: 'deleted', isVoid, error: deletedError(stream, next), cost: MARK_COST });
    if (canRelease) this.release();
    else this.end();
  }

  /** Ends by itself. The application is told so after everything that came before. */
  fail(error: PeerError): void {
    this.end();
    this.#host.handleEnded(this, error);
    this.#deliver({ kind: 'failed', error, cost: MARK_COST });
  }

  /** Like release, when the primary cannot or need not be told. */
  end(): void {
    this.#rows.drop();
    this.#move('end', { kind: 'ended' });
  }

  /** The APPLIED to send now. Undefined when there is nothing new, or nothing that may be told. */
  takeAcknowledgement(): Acknowledgement | undefined {
    const { kind } = this.#state;
    return kind === 'catching-up' || kind === 'live' ? this.#acknowledging.take() : undefined;
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
    return this.reset(foreignError(this.stream, this.next!), undefined);
  }

  /** Sends the line that asks for the stream. */
  #send(next: Resume): void {
    if (next === 'now') this.hasBegunBlind = true;
    else if (next === 'start' || next.token === 0) this.hasBegunBlind = false;
    const { stream } = this;
    const isSeed = this.#host.eras === undefined;
    this.#startsAfter = undefined;
    this.#acknowledging.handleAsked(typeof next === 'object' ? next.token : undefined);
    if (typeof next === 'object') {
      const history = isSeed ? undefined : next.history;
      return this.#host.send({ name: 'REPLICATE', stream, from: next.token, history });
    }
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

  #isOfAnotherLog({ history }: Position): boolean {
    return this.#host.eras !== undefined && history !== undefined && this.#eraOf(history) === undefined;
  }

  /** The present era of the log that a history belongs to. */
  #eraOf(history: History): History | undefined {
    const { eras } = this.#host;
    return eras === undefined ? undefined : eraOf(eras, logIdOf(history));
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  #move(input: SubscriptionInput, state: SubscriptionState): void {
    const before = this.#state;
    const next = subscriptionTransitions[before.kind][input];
    if (next === 'fault') throw unexpected(this.stream, `${input} came while it was ${before.kind}`);
    assert(next === state.kind, `${input} to lead from ${before.kind} to ${next}, not to ${state.kind}`);
    this.#state = state;
    const { tally } = this.#host;
    tally.wanted += Number(isWanted(state)) - Number(isWanted(before));
    if ((before.kind === 'live') !== (state.kind === 'live')) this.#handleLiveChanged(state.kind === 'live');
  }

  #handleLiveChanged(isLive: boolean): void {
    this.#host.tally.live += isLive ? 1 : -1;
    if (this.spec.readWithinMs !== undefined) this.#host.handleUrgent(this);
    this.#count();
    if (!isLive) this.#host.notify(this);
  }

  #count(): void {
    const { isLive } = this;
    if (isLive === this.#isCounted) return;
    this.#isCounted = isLive;
    this.#host.tally.applied += isLive ? 1 : -1;
  }
}
