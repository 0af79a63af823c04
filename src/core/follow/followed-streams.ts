/**
 * Every stream that a worker follows: which of them to request, where their lines go, what APPLIED
 * has to tell. Knows no connection but through its Link.
 */

import { assertNever } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import { PeerError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../model/history.ts';
import type { NamePattern } from '../model/pattern.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { LineInText, StreamCommand, StreamLines } from '../sessions/worker-session.ts';
import type { SubscribeCommand } from '../wire/command.ts';
import { eraOf, type PrimaryEras, withEra } from '../wire/greeting.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';
import { Backoff } from './backoff.ts';
import { Catalogs, type CatalogsHost, type PatternSpec } from './catalogs.ts';
import { DueStreams } from './due-streams.ts';
import type { Link } from './stream-output.ts';
import { UnfinishedRows } from './row-cost.ts';
import { SeedRules } from './seed-rules.ts';
import { Subscription, type SubscriptionHost, type Tally } from './subscription.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';

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
  readonly tally: Tally = { wanted: 0, live: 0, applied: 0 };
  readonly #catalogs: Catalogs;
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
  readonly #due: DueStreams;
  /** The live subscriptions that may be late unnoticed for this time only. */
  readonly #urgent = new Map<Millis, Set<Subscription>>();

  constructor(options: FollowedStreamsOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#due = new DueStreams(options.limits.appliedIntervalMs);
    this.#unfinished = new UnfinishedRows(options.limits.maxBatchBytes);
    this.#catalogs = new Catalogs(this.#catalogsHost());
  }

  /** Every subscription has reached the primary's position on this connection. */
  get isLive(): boolean {
    return this.tally.live >= this.tally.wanted && this.#isSettled;
  }

  /** Every subscription is live, and the application has applied everything that came before. */
  get isApplied(): boolean {
    return this.tally.applied >= this.tally.wanted && this.#isSettled;
  }

  get #isSettled(): boolean {
    return this.#isConnected && (this.#seedRules?.isSettled ?? true);
  }

  /** Where the catalogs stood when each pattern began, under the keys of a checkpoint. */
  get boundaries(): Iterable<Position> {
    return this.#catalogs.boundaries;
  }

  /** When something is due: a stream asks again, or APPLIED is sent. */
  get nextTimeout(): Millis {
    return this.#due.nextTimeout;
  }

  /** The live subscription that may be late unnoticed for the shortest time. */
  get mostUrgent(): SubscriptionSpec | undefined {
    let shortest: Millis = Infinity;
    for (const readWithinMs of this.#urgent.keys()) shortest = Math.min(shortest, readWithinMs);
    for (const { spec } of this.#urgent.get(shortest) ?? []) return spec;
    return undefined;
  }

  /** Follows one more stream. */
  handleSubscribe(now: Millis, spec: SubscriptionSpec): Subscription {
    this.now = now;
    this.#catalogs.take(spec.stream);
    return this.#add(spec);
  }

  /** Takes the boundaries out of a checkpoint. Comes before the first pattern. */
  handleStored(positions: Iterable<Position>): void {
    this.#catalogs.load(positions);
  }

  /**
   * Follows every stream of a pattern that is not followed by name.
   * @throws PeerError TOO_MANY_STREAMS
   */
  handlePattern(now: Millis, spec: PatternSpec): void {
    this.now = now;
    this.#catalogs.follow(spec, this.#isConnected ? this.#eras : undefined);
    if (this.#seedRules !== undefined) this.#link.reconnect(` to ask for the streams of ${spec.pattern}`);
    this.#link.handleLiveChanged();
  }

  /** Stops following a pattern, and every stream that is followed through it. */
  handlePatternGivenUp(now: Millis, pattern: NamePattern): void {
    this.now = now;
    this.#catalogs.unfollow(pattern);
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.spec.pattern === pattern) this.#leave(subscription);
    }
    this.#link.handleLiveChanged();
  }

  /** Whether a stream that is not followed yet will be, once the primary has it. */
  isAwaited(stream: StreamName): boolean {
    return this.#catalogs.specOf(stream) !== undefined;
  }

  /** Keeps a stream that is not followed yet from being followed through a pattern. */
  handleGivenUp(stream: StreamName): void {
    this.#catalogs.giveUp(stream, true);
  }

  /** Undoes handleGivenUp. */
  handleTaken(stream: StreamName): void {
    this.#catalogs.take(stream);
  }

  /** Stops following a stream. */
  handleUnsubscribe(now: Millis, subscription: Subscription): void {
    this.now = now;
    if (this.#subscriptions.get(subscription.stream) !== subscription) return;
    if (!subscription.isEnded) this.#giveUp(subscription);
    this.#leave(subscription);
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
      this.#catalogs.end();
      this.#seedRules = new SeedRules({
        find: (stream) => this.#subscriptions.get(stream),
        discover: (stream) => {
          this.#catalogs.discoverAtSeed(stream);
          return this.#subscriptions.get(stream);
        },
        reconnect: (stream) => this.#link.reconnect(` to ask for stream ${stream} anew`),
      });
    }
    this.#askAll();
  }

  /** Forgets everything that this connection told. */
  handleCut(): void {
    this.#isConnected = false;
    this.#catalogs.handleCut();
    for (const subscription of this.#subscriptions.values()) {
      subscription.handleCut();
      if (subscription.state.kind === 'ended') this.#forget(subscription);
    }
    this.#eras = undefined;
    this.#seedRules = undefined;
    this.#unfinished = new UnfinishedRows(this.#options.limits.maxBatchBytes);
    this.#dropped.clear();
    this.#due.clear();
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
        return subscription.fail(error);
      }
      case 'too-far-behind':
        return subscription.seed.handleFarBehind(tooFarBehind(stream));
      default:
        return assertNever(refusal);
    }
  }

  handleTimeout(now: Millis): void {
    this.now = now;
    for (const subscription of this.#due.takeAhead(now)) if (this.#isConnected) subscription.ask();
    this.acknowledge(now);
  }

  /** Tells what was applied, when that is due. `Infinity`: what there is to tell, now. */
  acknowledge(now: Millis): void {
    for (const subscription of this.#due.takeMoved(now)) {
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
    const isServed = eraOf(this.#eras, logIdOf(history)) !== undefined;
    return isServed && subscription.state.kind !== 'live' ? 'not-yet' : 'other-log';
  }

  /** The same for a stream that is awaited: where the log does not have it, its rows are void. */
  judgeAwaited(position: Position): 'reached' | 'not-yet' | 'other-log' {
    const { history } = position;
    if (!this.#isConnected || this.#eras === undefined || history === undefined) return 'not-yet';
    if (eraOf(this.#eras, logIdOf(history)) === undefined) return 'other-log';
    return this.#catalogs.isVoid(position) ? 'reached' : 'not-yet';
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
    this.#due.noteAhead(subscription);
    if (this.#catalogs.isCatalog(subscription)) this.#catalogs.handleReady(subscription);
    else this.#link.emit(subscription.ready);
  }

  handleQueued(cost: number): void {
    this.#link.handleQueued(cost);
  }

  noteMoved(subscription: Subscription): void {
    if (this.#eras === undefined || this.#options.isObserver) return;
    this.#due.noteMoved(this.now, subscription);
  }

  /** @throws PeerError when the primary has no stream of its streams */
  handleEnded(subscription: Subscription, error: PeerError): void {
    this.#forget(subscription);
    if (this.#catalogs.isCatalog(subscription)) {
      // Every Rowcast primary has it. Without it nobody would know which streams are missed.
      this.#catalogs.end();
      throw error;
    }
    this.#giveUp(subscription);
    this.#link.emit({ kind: 'ended', subscription });
  }

  handleDeleted(subscription: Subscription): void {
    this.#delete(subscription);
  }

  handleUrgent(subscription: Subscription): void {
    const readWithinMs = subscription.spec.readWithinMs!;
    const live = this.#urgent.get(readWithinMs) ?? new Set();
    if (subscription.state.kind === 'live') this.#urgent.set(readWithinMs, live.add(subscription));
    else if (live.delete(subscription) && live.size === 0) this.#urgent.delete(readWithinMs);
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
    if (subscription === undefined) {
      this.#refuseUnasked(stream, command.name);
      // Nothing more of the old replication will come.
      if (command.name === 'REFUSED') this.#dropped.delete(stream);
      return;
    }
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
    const before = eraOf(eras, logIdOf(era));
    if (before === undefined || eraNumberOf(era) <= eraNumberOf(before)) {
      const text = `ERA ${era} came: it is of no log that the primary has named, or no later than the one before`;
      throw new PeerError('UNEXPECTED_COMMAND', text, { facts: { era } });
    }
    this.#eras = withEra(eras, era);
  }

  // --- what is asked for ---

  /** Requests everything that is followed, on a new connection. */
  #askAll(): void {
    if (this.#eras === undefined) {
      // A primary that is not Rowcast names its streams in its answer to ALL. Each is then
      // requested by a line of its own.
      if (this.#catalogs.isNeeded) {
        this.send({ name: 'REPLICATE', stream: 'ALL', from: 'NOW', history: undefined });
        this.#seedRules!.handleAllAsked();
      }
      for (const subscription of this.#subscriptions.values()) this.#askSeed(subscription);
      return;
    }
    this.#catalogs.begin(this.#eras);
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.state.kind === 'idle' && this.#catalogs.mayAsk(subscription)) subscription.ask();
    }
  }

  /** What the catalogs need. */
  #catalogsHost(): CatalogsHost {
    const { isObserver, limits } = this.#options;
    const size = (): number => this.#subscriptions.size;
    return {
      subscriptionHost: this,
      canRelease: !isObserver,
      maxStreams: limits.maxStreams,
      get size() {
        return size();
      },
      find: (stream) => this.#subscriptions.get(stream),
      all: () => this.#subscriptions.values(),
      discover: (spec, listedIn) => {
        const subscription = this.#add(spec, listedIn);
        this.#link.emit({ kind: 'discovered', subscription });
      },
      ask: (subscription) => subscription.ask(),
      hold: (subscription) => void this.#subscriptions.set(subscription.stream, subscription),
      delete: (subscription) => this.#delete(subscription),
      drop: (subscription) => {
        subscription.end();
        this.#forget(subscription);
      },
      release: (subscription) => this.#leave(subscription),
      reconnect: (why) => this.#link.reconnect(why),
      handleGivenBack: (cost) => this.#link.handleGivenBack(cost),
      handleBoundary: (change) => this.#link.emit({ kind: 'boundary', ...change }),
      handleGone: (gone) => this.#link.emit({ kind: 'gone', ...gone }),
      handleListed: () => this.#link.emit({ kind: 'listed' }),
    };
  }

  #add(spec: SubscriptionSpec, listedIn?: StreamName): Subscription {
    const { stream } = spec;
    const pending = this.#subscriptions.get(stream)?.pendingReleases ?? 0;
    const subscription = new Subscription(spec, this, pending);
    subscription.listedIn = listedIn;
    this.#subscriptions.set(stream, subscription);
    if (!this.#isConnected || pending > 0) return subscription;
    // Rows of the old request may still come, and nothing on the wire tells them from rows of a new
    // one.
    if (this.#dropped.has(stream)) this.#link.reconnect(` to ask for stream ${stream} anew`);
    else if (this.#seedRules !== undefined) this.#askSeed(subscription);
    else if (this.#catalogs.mayAsk(subscription)) subscription.ask();
    this.#link.handleLiveChanged();
    return subscription;
  }

  /** Beside ALL, a stream is requested once the answer to ALL says where it stands. */
  #askSeed(subscription: Subscription): void {
    if (!this.#catalogs.isNeeded) subscription.ask();
    else subscription.askBesideAll();
  }

  #giveUp({ stream, spec }: Subscription): void {
    this.#catalogs.giveUp(stream, spec.pattern === undefined);
  }

  /** Ends a subscription, and tells the primary where that is possible. */
  #leave(subscription: Subscription): void {
    if (this.#canRelease) subscription.release();
    else {
      this.#dropLines(subscription);
      subscription.end();
    }
    if (subscription.state.kind === 'ended') this.#forget(subscription);
  }

  /** Ends a subscription because its stream was deleted. */
  #delete(subscription: Subscription): void {
    if (!this.#canRelease) this.#dropLines(subscription);
    subscription.delete(this.#canRelease);
    if (subscription.state.kind === 'ended') this.#forget(subscription);
    this.#link.handleLiveChanged();
  }

  get #canRelease(): boolean {
    return this.#eras !== undefined && !this.#options.isObserver;
  }

  /** The seed has no command that ends a stream, and an observer may not send one. */
  #dropLines({ stream, state }: Subscription): void {
    if (this.#isConnected && state.kind !== 'idle' && state.kind !== 'ahead') this.#dropped.add(stream);
  }

  #forget(subscription: Subscription): void {
    const { stream } = subscription;
    if (this.#subscriptions.get(stream) === subscription) this.#subscriptions.delete(stream);
  }
}
