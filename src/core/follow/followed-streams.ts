/**
 * Every stream that a worker follows: which of them to request, where their lines go, what APPLIED
 * has to tell. Knows no connection but through its Link.
 */

import { assertNever } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import { PeerError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf, originOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import { DURABLE_CATALOG, type StreamName, VOLATILE_CATALOG } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText, StreamCommand, StreamLines } from '../sessions/worker-session.ts';
import type { SubscribeCommand } from '../wire/command.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';
import { Backoff } from './backoff.ts';
import { Catalog } from './catalog.ts';
import { UnfinishedRows } from './row-cost.ts';
import { SeedRules } from './seed-rules.ts';
import { Subscription, type SubscriptionHost, type SubscriptionSpec } from './subscription.ts';

/** How to follow every stream that is not followed by name. */
export interface AllSpec extends Pick<SubscriptionSpec, 'onReset' | 'readWithinMs'> {
  readonly from: 'start' | 'now';
  /** The positions of a checkpoint: where streams were left, and the boundaries of the catalogs. */
  readonly positions: ReadonlyMap<string, Position>;
}

/** What the streams tell the application. */
export type StreamOutput =
  /** Something waits in the delivery, or the subscription became live or ceased to be. */
  | { readonly kind: 'ready'; readonly subscription: Subscription }
  /** One more stream, found because every stream is followed. */
  | { readonly kind: 'discovered'; readonly subscription: Subscription }
  | { readonly kind: 'ended'; readonly subscription: Subscription; readonly error: PeerError }
  /** `boundaries` has changed. */
  | { readonly kind: 'event'; readonly event: { readonly kind: 'boundary' } };

/** What the streams need of the connection that they are on. */
export interface Link {
  send(command: SubscribeCommand): void;
  /** Ends the connection, so that the next one can ask anew. */
  reconnect(why: string): void;
  /** Something of this cost waits for the application. */
  handleQueued(cost: number): void;
  /** Something of this cost does not wait any more. */
  handleGivenBack(cost: number): void;
  /** Whether every stream is live may have changed. */
  handleLiveChanged(): void;
  emit(output: StreamOutput): void;
}

export interface FollowedStreamsOptions {
  /** Sends neither RELEASE nor APPLIED. */
  readonly isObserver: boolean;
  readonly wantsAttributes: boolean;
  readonly limits: WorkerLimits;
  readonly random: Random;
  readonly link: Link;
}

export class FollowedStreams implements SubscriptionHost, StreamLines {
  readonly #options: FollowedStreamsOptions;
  readonly #link: Link;
  readonly #subscriptions = new Map<StreamName, Subscription>();
  readonly tally: SubscriptionHost['tally'] = { wanted: 0, live: 0 };
  /** Streams that were given up. Following all streams does not bring them back. */
  readonly #givenUp = new Set<StreamName>();
  #all: AllSpec | undefined;
  /**
   * Where `$streams` of each log stood when every stream began to be followed. Outlives the
   * catalogs.
   */
  readonly #boundaries = new Map<StreamName, Position>();
  #catalogs: Catalog[] = [];
  /** The primary has greeted: it may be asked. */
  #isConnected = false;
  /** The eras of the present connection. */
  #eras: PrimaryEras | undefined;
  #seedRules: SeedRules | undefined;
  #unfinished: UnfinishedRows;
  /**
   * Streams that were requested on this connection and cannot be released. Their lines are dropped.
   */
  readonly #dropped = new Set<StreamName>();
  /** The time of the last input. */
  now: Millis = 0;
  /** Subscriptions that will ask again by themselves. */
  readonly #waitingAhead = new Set<Subscription>();
  /** When the first of them asks. */
  #askAt: Millis = Infinity;
  /** Subscriptions that may have an APPLIED to send, and when it is due. */
  #toAcknowledge: Subscription[] = [];
  #acknowledgeAt: Millis = Infinity;
  /** Subscriptions that may be late unnoticed for a limited time only. */
  readonly #urgent = new Set<Subscription>();

  constructor(options: FollowedStreamsOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#unfinished = new UnfinishedRows(options.limits.maxBatchBytes);
  }

  /** Every subscription has reached the primary's position on this connection. */
  get isLive(): boolean {
    if (!this.#isConnected || this.tally.live < this.tally.wanted) return false;
    return this.#seedRules?.isSettled ?? true;
  }

  /** Boundaries of the catalogs, to be stored in a checkpoint. */
  get boundaries(): Iterable<Position> {
    return this.#boundaries.values();
  }

  /** When something is due: a stream asks again, or APPLIED is sent. */
  get nextTimeout(): Millis {
    return Math.min(this.#acknowledgeAt, this.#askAt);
  }

  /** The live subscription that may be late unnoticed for the shortest time. */
  get mostUrgent(): SubscriptionSpec | undefined {
    let urgent: SubscriptionSpec | undefined;
    for (const { state, spec } of this.#urgent) {
      if (state.kind === 'live' && spec.readWithinMs! < (urgent?.readWithinMs ?? Infinity)) urgent = spec;
    }
    return urgent;
  }

  /** Follows one more stream. */
  handleSubscribe(now: Millis, spec: SubscriptionSpec): Subscription {
    this.now = now;
    this.#givenUp.delete(spec.stream);
    return this.#add(spec);
  }

  /** Follows every stream of the primary that is not followed by name. */
  handleSubscribeAll(now: Millis, spec: AllSpec): void {
    this.now = now;
    this.#all = spec;
    for (const name of [DURABLE_CATALOG, VOLATILE_CATALOG]) {
      const boundary = spec.positions.get(name);
      if (boundary !== undefined) this.#boundaries.set(name, boundary);
    }
    for (const stream of spec.positions.keys()) this.#discover(stream, undefined);
    if (!this.#isConnected) return;
    if (this.#eras === undefined) this.#link.reconnect(' to ask for every stream');
    else this.#askCatalogs();
  }

  /** Keeps a stream that is not followed yet from being followed with all others. */
  handleGivenUp(stream: StreamName): void {
    this.#givenUp.add(stream);
  }

  /** Stops following a stream. */
  handleUnsubscribe(now: Millis, subscription: Subscription): void {
    this.now = now;
    const { stream } = subscription;
    this.#givenUp.add(stream);
    if (this.#subscriptions.get(stream) !== subscription) return;
    const wasAsked = subscription.state.kind !== 'idle' && subscription.state.kind !== 'ahead';
    if (this.#eras !== undefined && !this.#options.isObserver) subscription.release();
    else {
      // The seed has no command that ends a stream.
      if (wasAsked) this.#dropped.add(stream);
      subscription.end();
    }
    if (subscription.state.kind === 'ended') this.#forget(subscription);
    this.#link.handleLiveChanged();
  }

  /** A checkpoint holds this position. `lineage` is the delivery's when the position was read. */
  handleSaved(now: Millis, subscription: Subscription, position: Position, lineage: number): void {
    this.now = now;
    subscription.delivery.handleSaved(position, lineage);
    this.noteMoved(subscription);
  }

  /** The primary said who it is. `eras` is undefined when it is not Rowcast. */
  handleGreeted(eras: PrimaryEras | undefined): void {
    this.#isConnected = true;
    this.#eras = eras;
    if (eras === undefined) {
      this.#dropCatalogs();
      this.#seedRules = new SeedRules({
        find: (stream) => this.#subscriptions.get(stream),
        discover: (stream) => this.#discover(stream, undefined),
        reconnect: (stream) => this.#link.reconnect(` to ask for stream ${stream} anew`),
      });
    }
    this.#askAll();
  }

  /** Forgets everything that this connection told. */
  handleCut(): void {
    this.#isConnected = false;
    for (const subscription of this.#subscriptions.values()) {
      subscription.handleCut();
      if (subscription.state.kind === 'ended') this.#forget(subscription);
    }
    this.#eras = undefined;
    this.#seedRules = undefined;
    this.#unfinished = new UnfinishedRows(this.#options.limits.maxBatchBytes);
    this.#dropped.clear();
    this.#waitingAhead.clear();
    this.#askAt = Infinity;
    for (const subscription of this.#toAcknowledge) subscription.isToAcknowledge = false;
    this.#toAcknowledge = [];
    this.#acknowledgeAt = Infinity;
  }

  /** A primary that is not Rowcast refuses a stream by ERROR. */
  handlePeerError(text: string): void {
    if (this.#eras !== undefined) return;
    const refusal = parseRefusal(text);
    const subscription = this.#subscriptions.get(refusal?.stream ?? '');
    if (refusal === undefined || subscription === undefined || subscription.isEnded) return;
    const { stream } = subscription;
    switch (refusal.kind) {
      case 'unknown-stream': {
        const error = new PeerError('UNKNOWN_STREAM', `the primary has no stream ${stream}: check the name`, {
          facts: { stream },
        });
        subscription.end();
        return this.handleEnded(subscription, error);
      }
      case 'too-far-behind':
        return subscription.handleFarBehind(tooFarBehind(stream));
      default:
        return assertNever(refusal);
    }
  }

  handleTimeout(now: Millis): void {
    this.now = now;
    this.#askAhead(now);
    this.acknowledge(now);
  }

  /** Tells what was applied, when that is due. `Infinity`: what there is to tell, now. */
  acknowledge(now: Millis): void {
    if (this.#acknowledgeAt === Infinity || now < this.#acknowledgeAt) return;
    this.#acknowledgeAt = Infinity;
    const moved = this.#toAcknowledge;
    this.#toAcknowledge = [];
    for (const subscription of moved) {
      subscription.isToAcknowledge = false;
      const told = subscription.takeAcknowledgement();
      if (told !== undefined) this.send({ name: 'APPLIED', stream: subscription.stream, ...told });
    }
  }

  /** Whether a position of a followed stream was reached (Delivery.judgeWait). */
  judgeWait(subscription: Subscription, position: Position): 'reached' | 'not-yet' | 'other-log' {
    const verdict = subscription.delivery.judgeWait(position);
    if (verdict !== 'other-log') return verdict;
    const { history } = position;
    if (!this.#isConnected || this.#eras === undefined || history === undefined) return 'not-yet';
    // The log may be a new one of the primary, and the stream has not heard of it yet.
    const isServed = Object.values(this.#eras).some((era) => logIdOf(era) === logIdOf(history));
    return isServed && subscription.state.kind !== 'live' ? 'not-yet' : 'other-log';
  }

  // --- what the subscriptions need ---

  get eras(): PrimaryEras | undefined {
    return this.#eras;
  }

  get unfinished(): UnfinishedRows {
    return this.#unfinished;
  }

  send(command: SubscribeCommand): void {
    this.#link.send(command);
  }

  notify(subscription: Subscription): void {
    const { nextTimeout } = subscription;
    if (nextTimeout !== undefined) {
      this.#waitingAhead.add(subscription);
      this.#askAt = Math.min(this.#askAt, nextTimeout);
    }
    for (const catalog of this.#catalogs) {
      if (catalog.subscription === subscription) return this.#handleCatalog(catalog);
    }
    this.#link.emit(subscription.ready);
  }

  handleQueued(cost: number): void {
    this.#link.handleQueued(cost);
  }

  noteMoved(subscription: Subscription): void {
    if (this.#eras === undefined || this.#options.isObserver) return;
    if (subscription.isToAcknowledge) return;
    subscription.isToAcknowledge = true;
    this.#toAcknowledge.push(subscription);
    if (this.#acknowledgeAt === Infinity) this.#acknowledgeAt = this.now + this.#options.limits.appliedIntervalMs;
  }

  /** @throws PeerError when the primary has no stream of its streams */
  handleEnded(subscription: Subscription, error: PeerError): void {
    const { stream } = subscription;
    this.#forget(subscription);
    if (this.#catalogs.some((catalog) => catalog.subscription === subscription)) {
      // Every Rowcast primary has it. Without it nobody would know which streams are missed.
      this.#dropCatalogs();
      throw error;
    }
    this.#givenUp.add(stream);
    this.#link.emit({ kind: 'ended', subscription, error });
  }

  makeBackoff(): Backoff {
    return new Backoff(this.#options.limits, this.#options.random);
  }

  // --- lines about streams ---

  takeRow(stream: StreamName, token: Token | undefined, row: unknown, line: LineInText): void {
    // Nothing was requested yet.
    if (!this.#isConnected) return;
    if (this.#seedRules !== undefined) return this.#seedRules.takeRow(stream, token, row, line);
    const subscription = this.#subscriptions.get(stream);
    if (subscription !== undefined) subscription.handleRow(token, row, line);
    else this.#refuseUnasked(stream, 'RDATA');
  }

  takeCommand(now: Millis, command: StreamCommand, line: LineInText): void {
    this.now = now;
    if (!this.#isConnected) return;
    if (command.name === 'ERA') return this.#handleEra(command.era);
    const { stream } = command;
    if (this.#seedRules !== undefined) {
      if (command.name === 'POSITION') this.#seedRules.takePosition(stream, command.token);
      return;
    }
    const subscription = this.#subscriptions.get(stream);
    if (subscription === undefined) return this.#refuseUnasked(stream, command.name);
    switch (command.name) {
      case 'HISTORY':
        return subscription.handleHistory(command.after, command.history);
      case 'POSITION':
        return subscription.handlePosition(command.token, command.history!);
      case 'REFUSED':
        return subscription.handleRefused(now, command.code, command.facts);
      case 'ATTR':
        if (!this.#options.wantsAttributes) this.#refuseUnasked(stream, 'ATTR');
        return subscription.handleAttributes(command.token, command.attributes, line);
      case 'RELEASED':
        subscription.handleReleased();
        if (subscription.state.kind === 'ended') this.#forget(subscription);
        return;
    }
  }

  endRun(): void {
    this.#seedRules?.endRun();
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  #refuseUnasked(stream: StreamName, what: string): void {
    if (this.#dropped.has(stream)) return;
    throw new PeerError('UNEXPECTED_COMMAND', `${what} came for stream ${stream}, and was not asked for`, {
      facts: { stream },
    });
  }

  /** @throws PeerError UNEXPECTED_COMMAND */
  #handleEra(era: History): void {
    const eras = this.#eras!;
    const name = (['durable', 'volatile'] as const).find((of) => logIdOf(eras[of]) === logIdOf(era));
    if (name === undefined || eraNumberOf(era) <= eraNumberOf(eras[name])) {
      const text = `ERA ${era} came: it is of no log that the primary has named, or no later than the one before`;
      throw new PeerError('UNEXPECTED_COMMAND', text, { facts: { era } });
    }
    this.#eras = { ...eras, [name]: era };
  }

  // --- what is asked for ---

  /** Requests everything that is followed, on a new connection. */
  #askAll(): void {
    if (this.#eras === undefined) {
      // A primary that is not Rowcast names its streams in its answer to ALL. Each is then
      // requested by a line of its own.
      if (this.#all !== undefined) {
        this.send({ name: 'REPLICATE', stream: 'ALL', from: 'NOW', history: undefined });
        this.#seedRules!.handleAllAsked();
      }
      for (const subscription of this.#subscriptions.values()) this.#askSeed(subscription);
      return;
    }
    this.#askCatalogs();
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state.kind === 'idle') subscription.ask();
    }
  }

  #askCatalogs(): void {
    if (this.#all === undefined || this.#catalogs.length > 0) return;
    this.#catalogs = [DURABLE_CATALOG, VOLATILE_CATALOG].map((name) => {
      const catalog: Catalog = new Catalog({
        name,
        boundary: this.#boundaries.get(name),
        canRelease: !this.#options.isObserver,
        host: this,
        keep: (boundary) => {
          this.#boundaries.set(name, boundary);
          this.#link.emit({ kind: 'event', event: { kind: 'boundary' } });
        },
        discover: (stream, isNew) => void this.#discover(stream, isNew ? this.#originOf(name) : undefined),
      });
      this.#subscriptions.set(name, catalog.subscription);
      return catalog;
    });
    for (const { subscription } of this.#catalogs) subscription.ask();
  }

  /** @throws PeerError INVALID_ROW, TOO_MANY_STREAMS */
  #handleCatalog(catalog: Catalog): void {
    try {
      catalog.handleItems((cost) => this.#link.handleGivenBack(cost));
    } catch (thrown) {
      // The row that was refused must come again, so the next connection reads the whole list.
      this.#dropCatalogs();
      throw thrown;
    }
  }

  #originOf(catalog: StreamName): History {
    return originOf(logIdOf(catalog === DURABLE_CATALOG ? this.#eras!.durable : this.#eras!.volatile));
  }

  /** Stops following the stream of streams of each log. */
  #dropCatalogs(): void {
    const catalogs = this.#catalogs;
    this.#catalogs = [];
    for (const { subscription } of catalogs) {
      subscription.end();
      this.#forget(subscription);
    }
  }

  /**
   * Follows one more stream, because every stream is followed.
   * @param origin set for a new stream: it is followed from its first row
   * @throws PeerError TOO_MANY_STREAMS
   */
  #discover(stream: StreamName, origin: History | undefined): Subscription | undefined {
    const all = this.#all;
    const known = this.#subscriptions.get(stream);
    // The stream is back, or was listed before the primary had it again.
    if (known?.state.kind === 'absent' && this.#isConnected) known.ask();
    if (all === undefined || known !== undefined || this.#givenUp.has(stream)) return undefined;
    // These names are the logs' own streams. A primary that is not Rowcast has none.
    if (stream.startsWith('$')) return undefined;
    const { maxStreams } = this.#options.limits;
    if (this.#subscriptions.size >= maxStreams) {
      throw new PeerError('TOO_MANY_STREAMS', `the primary has more streams than maxStreams ${maxStreams}`, {
        facts: { maxStreams },
      });
    }
    const applied = all.positions.get(stream);
    const first: Position | undefined = origin === undefined ? undefined : { stream, token: 0, history: origin };
    const { onReset, readWithinMs } = all;
    const from = applied ?? first ?? all.from;
    const subscription = this.#add({
      stream,
      from,
      applied,
      saved: applied,
      onReset,
      readWithinMs,
      isDiscovered: true,
    });
    this.#link.emit({ kind: 'discovered', subscription });
    return subscription;
  }

  #add(spec: SubscriptionSpec): Subscription {
    const { stream } = spec;
    const pending = this.#subscriptions.get(stream)?.pendingReleases ?? 0;
    const subscription = new Subscription(spec, this, pending);
    this.#subscriptions.set(stream, subscription);
    if (spec.readWithinMs !== undefined) this.#urgent.add(subscription);
    if (!this.#isConnected || pending > 0) return subscription;
    // Rows of the old request may still come, and nothing on the wire tells them from rows of a new
    // one.
    if (this.#dropped.has(stream)) this.#link.reconnect(` to ask for stream ${stream} anew`);
    else if (this.#seedRules !== undefined) this.#askSeed(subscription);
    else subscription.ask();
    this.#link.handleLiveChanged();
    return subscription;
  }

  /** Beside ALL, a stream is requested once the answer to ALL says where it stands. */
  #askSeed(subscription: Subscription): void {
    if (this.#all === undefined) subscription.ask();
    else subscription.askBesideAll();
  }

  #askAhead(now: Millis): void {
    if (now < this.#askAt) return;
    this.#askAt = Infinity;
    for (const subscription of this.#waitingAhead) {
      const { nextTimeout } = subscription;
      if (nextTimeout !== undefined && nextTimeout > now) {
        this.#askAt = Math.min(this.#askAt, nextTimeout);
        continue;
      }
      this.#waitingAhead.delete(subscription);
      if (nextTimeout !== undefined && this.#isConnected) subscription.ask();
    }
  }

  #forget(subscription: Subscription): void {
    this.#subscriptions.delete(subscription.stream);
    this.#urgent.delete(subscription);
  }
}
