/**
 * The worker's machine that outlives connections: when to connect, which streams to request, when
 * to tell what was applied. Knows no socket, clock or application. Runs one worker session at a
 * time.
 *
 *   waiting ──time──▶ connecting ──handleOpen──▶ following ──handleClosed──▶ waiting …
 *   any of them ──handleStop──▶ stopped
 */

import { assertNever } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import type { Random } from '../../base/random.ts';
import { ConnectionError, PeerError, type RowcastError, UsageError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf, originOf } from '../model/history.ts';
import type { Position } from '../model/position.ts';
import { DURABLE_CATALOG, type StreamName, VOLATILE_CATALOG } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import {
  type LineInText,
  type StreamCommand,
  type StreamLines,
  type WorkerOutput,
  WorkerSession,
} from '../sessions/worker-session.ts';
import { encodeCommandWithin } from '../wire/codec.ts';
import type { SubscribeCommand, UpstreamCommand } from '../wire/command.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';
import { Backoff } from './backoff.ts';
import { BackPressure } from './back-pressure.ts';
import { Catalog } from './catalog.ts';
import { UnfinishedRows } from './row-cost.ts';
import { SeedRules } from './seed-rules.ts';
import { Subscription, type SubscriptionHost, type SubscriptionSpec } from './subscription.ts';

export interface FollowerOptions {
  readonly workerName: string;
  readonly serverName?: string;
  /** Sends nothing but NAME, PING and REPLICATE, whatever happens. */
  readonly isObserver?: boolean;
  readonly wantsAttributes?: boolean;
  readonly limits: WorkerLimits;
  readonly random: Random;
}

/** How to follow every stream that is not followed by name. */
export interface AllSpec extends Pick<SubscriptionSpec, 'onReset' | 'readWithinMs'> {
  readonly from: 'start' | 'now';
  /** The positions of a checkpoint: where streams were left, and the boundaries of the catalogs. */
  readonly positions: ReadonlyMap<string, Position>;
}

export type FollowerOutput =
  /** Open a connection. handleOpen or handleClosed follows. */
  | { readonly kind: 'connect' }
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  | { readonly kind: 'close' }
  | { readonly kind: 'abort' }
  /** Stop and resume reading from the connection. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** An item waits in its delivery, or the subscription became live or stopped being so. */
  | { readonly kind: 'ready'; readonly subscription: Subscription }
  /** One more stream was found, because every stream is followed. */
  | { readonly kind: 'discovered'; readonly subscription: Subscription }
  | { readonly kind: 'ended'; readonly subscription: Subscription; readonly error: PeerError }
  | { readonly kind: 'event'; readonly event: FollowerEvent };

export type FollowerEvent =
  | { readonly kind: 'connected'; readonly isRowcast: boolean }
  /** Every subscription has reached the primary's position on this connection. */
  | { readonly kind: 'live' }
  | { readonly kind: 'disconnected'; readonly error: RowcastError; readonly retryInMs: Millis }
  /** After handleStop: the connection is gone, and nothing follows. */
  | { readonly kind: 'stopped' }
  /** `boundaries` has changed. */
  | { readonly kind: 'boundary' }
  | { readonly kind: 'peer-error'; readonly text: string }
  | { readonly kind: 'sync'; readonly text: string }
  | { readonly kind: 'command-dropped'; readonly line: string };

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly until: Millis }
  | { readonly kind: 'connecting'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'following'; readonly session: WorkerSession; isGreeted: boolean }
  | { readonly kind: 'stopping'; readonly session: WorkerSession | undefined }
  | { readonly kind: 'stopped' };

export class Follower implements SubscriptionHost, StreamLines {
  readonly #options: FollowerOptions;
  readonly #isObserver: boolean;
  readonly #backoff: Backoff;
  readonly #backPressure: BackPressure;
  readonly #outputs = new Queue<FollowerOutput>();
  readonly #subscriptions = new Map<StreamName, Subscription>();
  /** Lines that wait for an established connection. */
  readonly #unsent = new Queue<string>();
  readonly tally = { wanted: 0, live: 0 };
  /** Streams that were given up. Following all streams does not bring them back. */
  readonly #givenUp = new Set<StreamName>();
  #all: AllSpec | undefined;
  /**
   * Where `$streams` of each log stood when every stream began to be followed. Outlives the
   * catalogs.
   */
  readonly #boundaries = new Map<StreamName, Position>();
  #catalogs: Catalog[] = [];
  #state: State = { kind: 'idle' };
  /** The socket is full, so commands wait here, where they are counted. */
  #isBlocked = false;
  /** Why the present connection ends, when we know better than the socket. */
  #endReason: RowcastError | undefined;
  #lastPeerError: string | undefined;
  #greetingTimeoutMs: Millis;
  /** The eras of the present connection. */
  #eras: PrimaryEras | undefined;
  #seedRules: SeedRules | undefined;
  #unfinished: UnfinishedRows;
  /**
   * Streams that were requested on this connection and cannot be released. Their lines are dropped.
   */
  #dropped = new Set<StreamName>();
  #now: Millis = 0;
  /** Subscriptions that will ask again by themselves. */
  readonly #waitingAhead = new Set<Subscription>();
  /** When the first of them asks. */
  #askAt: Millis = Infinity;
  /** Subscriptions that may have an APPLIED to send, and when it is due. */
  readonly #toAcknowledge = new Set<Subscription>();
  #acknowledgeAt: Millis | undefined;
  #wasLive = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#isObserver = options.isObserver ?? false;
    this.#greetingTimeoutMs = options.limits.greetingTimeoutMs;
    this.#backoff = new Backoff(options.limits, options.random);
    this.#backPressure = new BackPressure(options.limits.maxQueuedBytes);
    this.#unfinished = new UnfinishedRows(options.limits.maxBatchBytes);
  }

  get isStopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  get isConnected(): boolean {
    return this.#state.kind === 'following' && this.#state.isGreeted;
  }

  /** Whether the primary is Rowcast. Undefined while there is no connection. */
  get isRowcast(): boolean | undefined {
    return this.isConnected ? this.#eras !== undefined : undefined;
  }

  /** Every subscription has reached the primary's position on this connection. */
  get isLive(): boolean {
    if (!this.isConnected || this.tally.live < this.tally.wanted) return false;
    return this.#seedRules?.isSettled ?? true;
  }

  /** Boundaries of the catalogs, to be stored in a checkpoint. */
  get boundaries(): Iterable<Position> {
    return this.#boundaries.values();
  }

  handleStart(now: Millis): void {
    if (this.#state.kind === 'idle') this.#connect(now);
  }

  /** Follows one more stream. */
  handleSubscribe(now: Millis, spec: SubscriptionSpec): Subscription {
    this.#now = now;
    this.#givenUp.delete(spec.stream);
    return this.#add(spec);
  }

  /** Follows every stream of the primary that is not followed by name. */
  handleSubscribeAll(now: Millis, spec: AllSpec): void {
    this.#now = now;
    this.#all = spec;
    for (const name of [DURABLE_CATALOG, VOLATILE_CATALOG]) {
      const boundary = spec.positions.get(name);
      if (boundary !== undefined) this.#boundaries.set(name, boundary);
    }
    for (const stream of spec.positions.keys()) this.#discover(stream, undefined);
    if (!this.isConnected) return;
    if (this.#eras === undefined) this.#reconnect(now, ' to ask for every stream');
    else this.#askCatalogs();
  }

  /** Keeps a stream that is not followed yet from being followed with all others. */
  handleGivenUp(stream: StreamName): void {
    this.#givenUp.add(stream);
  }

  /** Stops following a stream. */
  handleUnsubscribe(now: Millis, subscription: Subscription): void {
    this.#now = now;
    const { stream } = subscription;
    this.#givenUp.add(stream);
    if (this.#subscriptions.get(stream) !== subscription) return;
    const wasAsked = subscription.state.kind !== 'idle' && subscription.state.kind !== 'ahead';
    if (this.#eras !== undefined && !this.#isObserver) subscription.release();
    else {
      // The seed has no command that ends a stream.
      if (wasAsked) this.#dropped.add(stream);
      subscription.end();
    }
    if (subscription.state.kind === 'ended') this.#subscriptions.delete(stream);
    this.#handleLiveChanged();
  }

  /**
   * Sends a command, or keeps it until a connection takes it.
   * @throws UsageError INVALID_COMMAND, OBSERVER
   */
  handleSend(now: Millis, command: UpstreamCommand): void {
    if (this.#isObserver) {
      throw new UsageError(
        'OBSERVER',
        `an observer sends nothing but NAME, PING and REPLICATE: ${command.name} needs a worker without the option observer`,
      );
    }
    const { maxLineBytes, maxQueuedCommands } = this.#options.limits;
    this.#unsent.push(encodeCommandWithin(maxLineBytes, command));
    this.#sendWaiting(now);
    if (this.#unsent.length > maxQueuedCommands) {
      this.#emit({ kind: 'command-dropped', line: this.#unsent.shift()! });
    }
  }

  handleOpen(now: Millis): void {
    if (this.#state.kind !== 'connecting' || this.#state.isAborted) return;
    const { workerName, serverName, wantsAttributes = false } = this.#options;
    const session = new WorkerSession({
      workerName,
      isObserver: this.#isObserver,
      wantsAttributes,
      limits: { ...this.#options.limits, greetingTimeoutMs: this.#greetingTimeoutMs },
      lines: this,
      ...(serverName !== undefined && { serverName }),
    });
    this.#state = { kind: 'following', session, isGreeted: false };
    this.#isBlocked = false;
    session.handleOpen(now);
    // Rows from before the cut still wait for the application, so the new connection is held back
    // too.
    if (this.#backPressure.isPaused) {
      session.handlePaused();
      this.#outputs.push({ kind: 'pause' });
    }
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    this.#backPressure.handleRead(chunk.length);
    this.#session?.handleBytes(now, chunk);
  }

  /** The socket did not take a write at once. */
  handleBlocked(): void {
    this.#isBlocked = true;
  }

  handleDrained(now: Millis): void {
    this.#isBlocked = false;
    this.#sendWaiting(now);
  }

  /** The connection ended, or could not be made. */
  handleClosed(now: Millis, error?: Error): void {
    const state = this.#state;
    if (state.kind === 'stopped' || state.kind === 'idle' || state.kind === 'waiting') return;
    this.#session?.handleClosed();
    this.#cutAll();
    if (state.kind === 'stopping') {
      this.#stop();
      return;
    }
    this.#backPressure.handleClosed();
    const delayMs = this.#backoff.nextDelayMs();
    this.#state = { kind: 'waiting', until: now + delayMs };
    this.#emit({ kind: 'disconnected', error: this.#explainEnd(error), retryInMs: delayMs });
    this.#endReason = undefined;
    this.#lastPeerError = undefined;
  }

  /** Reading is paused, because too many rows wait for their handlers. */
  get isPaused(): boolean {
    return this.#backPressure.isPaused;
  }

  /**
   * The application has finished rows of this cost. `now` matters only when that ends a pause, and
   * for when the primary is told.
   */
  handleApplied(now: Millis, subscription: Subscription, cost: number): void {
    this.#now = now;
    this.noteMoved(subscription);
    if (!this.#backPressure.handleApplied(cost) || this.#state.kind !== 'following') return;
    this.#state.session.handleResumed(now);
    this.#outputs.push({ kind: 'resume' });
  }

  /** A checkpoint holds this position. `lineage` is the delivery's when the position was read. */
  handleSaved(now: Millis, subscription: Subscription, position: Position, lineage: number): void {
    this.#now = now;
    subscription.delivery.handleSaved(position, lineage);
    this.noteMoved(subscription);
  }

  handleTimeout(now: Millis): void {
    this.#now = now;
    const state = this.#state;
    if (state.kind === 'waiting' && now >= state.until) this.#connect(now);
    else if (state.kind === 'connecting' && now >= state.until && !state.isAborted) {
      state.isAborted = true;
      const { connectTimeoutMs } = this.#options.limits;
      this.#endReason = new ConnectionError('CONNECTION_LOST', `no connection within ${connectTimeoutMs} ms`);
      this.#outputs.push({ kind: 'abort' });
    } else {
      this.#giveUpUnread(now);
      this.#askAhead(now);
      this.#acknowledge(now);
      this.#session?.handleTimeout(now);
    }
  }

  handleStop(now: Millis): void {
    switch (this.#state.kind) {
      case 'following':
        this.#acknowledge(Infinity);
        this.#state.session.handleStop(now);
        this.#state = { kind: 'stopping', session: this.#state.session };
        return;
      case 'connecting':
        if (!this.#state.isAborted) this.#outputs.push({ kind: 'abort' });
        this.#state = { kind: 'stopping', session: undefined };
        return;
      case 'idle':
      case 'waiting':
        this.#stop();
        return;
      case 'stopping':
      case 'stopped':
        return;
      default:
        assertNever(this.#state);
    }
  }

  pollOutput(now: Millis): FollowerOutput | undefined {
    this.#now = now;
    for (;;) {
      const own = this.#outputs.shift();
      if (own !== undefined) return own;
      const session = this.#session;
      if (session === undefined) return undefined;
      const output = session.pollOutput();
      if (output !== undefined) {
        const translated = this.#translate(now, output);
        if (translated !== undefined) return translated;
      } else if (this.#state.kind !== 'following' || !session.takeLine()) {
        return undefined;
      } else if (this.#wasLive !== this.isLive) this.#handleLiveChanged();
    }
  }

  nextTimeout(): Millis | undefined {
    const state = this.#state;
    if (state.kind === 'waiting') return state.until;
    if (state.kind === 'connecting') return state.isAborted ? undefined : state.until;
    let at = this.#session?.nextTimeout() ?? Infinity;
    at = Math.min(at, this.#unread?.until ?? Infinity, this.#acknowledgeAt ?? Infinity, this.#askAt);
    return at === Infinity ? undefined : at;
  }

  /** Whether a position of a followed stream was reached (Delivery.judgeWait). */
  judgeWait(subscription: Subscription, position: Position): 'reached' | 'not-yet' | 'other-log' {
    const verdict = subscription.delivery.judgeWait(position);
    if (verdict !== 'other-log') return verdict;
    const { history } = position;
    if (!this.isConnected || this.#eras === undefined || history === undefined) return 'not-yet';
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
    if (this.#state.kind === 'following') this.#state.session.handleSend(this.#now, command);
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
    this.#outputs.push(subscription.ready);
  }

  handleQueued(cost: number): void {
    if (!this.#backPressure.handleQueued(this.#now, cost)) return;
    this.#session?.handlePaused();
    this.#outputs.push({ kind: 'pause' });
  }

  noteMoved(subscription: Subscription): void {
    if (this.#eras === undefined || this.#isObserver) return;
    this.#toAcknowledge.add(subscription);
    this.#acknowledgeAt ??= this.#now + this.#options.limits.appliedIntervalMs;
  }

  /** @throws PeerError when the primary has no stream of its streams */
  handleEnded(subscription: Subscription, error: PeerError): void {
    const { stream } = subscription;
    this.#subscriptions.delete(stream);
    if (this.#catalogs.some((catalog) => catalog.subscription === subscription)) {
      // Every Rowcast primary has it. Without it nobody would know which streams are missed.
      this.#dropCatalogs();
      throw error;
    }
    this.#givenUp.add(stream);
    this.#outputs.push({ kind: 'ended', subscription, error });
  }

  makeBackoff(): Backoff {
    return new Backoff(this.#options.limits, this.#options.random);
  }

  // --- lines about streams ---

  takeRow(stream: StreamName, token: Token | undefined, row: unknown, line: LineInText): void {
    // Nothing was requested yet.
    if (!this.isConnected) return;
    if (this.#seedRules !== undefined) return this.#seedRules.takeRow(stream, token, row, line);
    const subscription = this.#subscriptions.get(stream);
    if (subscription !== undefined) subscription.handleRow(token, row, line);
    else this.#refuseUnasked(stream, 'RDATA');
  }

  takeCommand(now: Millis, command: StreamCommand, line: LineInText): void {
    this.#now = now;
    if (!this.isConnected) return;
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
        if (this.#options.wantsAttributes !== true) this.#refuseUnasked(stream, 'ATTR');
        return subscription.handleAttributes(command.token, command.attributes, line);
      case 'RELEASED':
        subscription.handleReleased();
        if (subscription.state.kind === 'ended') this.#subscriptions.delete(stream);
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

  // --- connections ---

  get #session(): WorkerSession | undefined {
    return this.#state.kind === 'following' || this.#state.kind === 'stopping' ? this.#state.session : undefined;
  }

  #stop(): void {
    this.#state = { kind: 'stopped' };
    this.#emit({ kind: 'stopped' });
  }

  #connect(now: Millis): void {
    const until = now + this.#options.limits.connectTimeoutMs;
    this.#state = { kind: 'connecting', until, isAborted: false };
    this.#outputs.push({ kind: 'connect' });
  }

  /** Forgets everything that this connection told. */
  #cutAll(): void {
    for (const [stream, subscription] of this.#subscriptions) {
      subscription.handleCut();
      if (subscription.state.kind === 'ended') this.#subscriptions.delete(stream);
    }
    this.#eras = undefined;
    this.#seedRules = undefined;
    this.#unfinished = new UnfinishedRows(this.#options.limits.maxBatchBytes);
    this.#dropped.clear();
    this.#waitingAhead.clear();
    this.#askAt = Infinity;
    this.#toAcknowledge.clear();
    this.#acknowledgeAt = undefined;
    this.#wasLive = false;
  }

  #translate(now: Millis, output: WorkerOutput): FollowerOutput | undefined {
    switch (output.kind) {
      case 'transmit':
      case 'abort':
        return output;
      case 'close':
        this.#endReason ??= output.reason;
        // Nothing is read from here on, so nothing is live, although the connection still exists
        // for a while.
        if (this.#state.kind === 'following') this.#state.isGreeted = false;
        this.#cutAll();
        return { kind: 'close' };
      case 'greeted':
        this.#handleGreeted(now, output.eras);
        return undefined;
      case 'greeted-late':
        // With the same time-out the greeting would come too late again.
        this.#greetingTimeoutMs = Math.min(this.#greetingTimeoutMs * 2, this.#options.limits.idleTimeoutMs);
        this.#reconnect(now, ': the primary said late who it is');
        return undefined;
      case 'peer-error':
        this.#lastPeerError = output.text;
        this.#handlePeerError(output.text);
        this.#emit({ kind: 'peer-error', text: output.text });
        return undefined;
      case 'sync':
        return { kind: 'event', event: output };
      default:
        return assertNever(output);
    }
  }

  #handleGreeted(now: Millis, eras: PrimaryEras | undefined): void {
    if (this.#state.kind !== 'following') return;
    this.#state.isGreeted = true;
    this.#eras = eras;
    if (eras === undefined) {
      this.#dropCatalogs();
      this.#seedRules = new SeedRules({
        find: (stream) => this.#subscriptions.get(stream),
        discover: (stream) => this.#discover(stream, undefined),
        reconnect: (stream) => this.#reconnect(this.#now, ` to ask for stream ${stream} anew`),
      });
    }
    this.#emit({ kind: 'connected', isRowcast: eras !== undefined });
    this.#askAll();
    this.#sendWaiting(now);
    this.#handleLiveChanged();
  }

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
        canRelease: !this.#isObserver,
        host: this,
        keep: (boundary) => {
          this.#boundaries.set(name, boundary);
          this.#emit({ kind: 'boundary' });
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
      catalog.handleItems((cost) => this.handleApplied(this.#now, catalog.subscription, cost));
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
      this.#subscriptions.delete(subscription.stream);
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
    if (known?.state.kind === 'absent' && this.isConnected) known.ask();
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
    this.#outputs.push({ kind: 'discovered', subscription });
    return subscription;
  }

  #add(spec: SubscriptionSpec): Subscription {
    const { stream } = spec;
    const pending = this.#subscriptions.get(stream)?.pendingReleases ?? 0;
    const subscription = new Subscription(spec, this, pending);
    this.#subscriptions.set(stream, subscription);
    if (!this.isConnected || pending > 0) return subscription;
    // Rows of the old request may still come, and nothing on the wire tells them from rows of a new
    // one.
    if (this.#dropped.has(stream)) this.#reconnect(this.#now, ` to ask for stream ${stream} anew`);
    else if (this.#seedRules !== undefined) this.#askSeed(subscription);
    else subscription.ask();
    this.#handleLiveChanged();
    return subscription;
  }

  /** Beside ALL, a stream is requested once the answer to ALL says where it stands. */
  #askSeed(subscription: Subscription): void {
    if (this.#all === undefined) subscription.ask();
    else subscription.askBesideAll();
  }

  /** A primary that is not Rowcast refuses a stream by ERROR. */
  #handlePeerError(text: string): void {
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

  #handleLiveChanged(): void {
    const { isLive } = this;
    if (isLive === this.#wasLive) return;
    this.#wasLive = isLive;
    if (!isLive) return;
    // Now, not at the end of the connection: a stream that is subscribed later does not undo the
    // progress.
    this.#backoff.reset();
    this.#emit({ kind: 'live' });
  }

  // --- time ---

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
      if (nextTimeout !== undefined && this.isConnected) subscription.ask();
    }
  }

  #acknowledge(now: Millis): void {
    if (this.#acknowledgeAt === undefined || now < this.#acknowledgeAt) return;
    this.#acknowledgeAt = undefined;
    for (const subscription of this.#toAcknowledge) {
      const told = subscription.takeAcknowledgement();
      if (told !== undefined) this.send({ name: 'APPLIED', stream: subscription.stream, ...told });
    }
    this.#toAcknowledge.clear();
  }

  /**
   * While reading is paused: the live subscription that may be late unnoticed for the shortest
   * time.
   */
  get #unread(): { readonly stream: StreamName; readonly readWithinMs: Millis; readonly until: Millis } | undefined {
    const since = this.#backPressure.heldUpSince;
    if (since === undefined || this.#state.kind !== 'following' || !this.#state.session.isEstablished) return undefined;
    let urgent: SubscriptionSpec | undefined;
    for (const { state, spec } of this.#subscriptions.values()) {
      if (state.kind === 'live' && (spec.readWithinMs ?? Infinity) < (urgent?.readWithinMs ?? Infinity)) urgent = spec;
    }
    if (urgent?.readWithinMs === undefined) return undefined;
    return { stream: urgent.stream, readWithinMs: urgent.readWithinMs, until: since + urgent.readWithinMs };
  }

  /**
   * Nothing on the wire marks when the backlog has been read, so the worker reconnects: the end of
   * catch-up is that mark. On a connection that is held up from its beginning, no stream is live
   * before it.
   */
  #giveUpUnread(now: Millis): void {
    const unread = this.#unread;
    if (unread === undefined || now < unread.until) return;
    const { stream, readWithinMs } = unread;
    this.#reconnect(
      now,
      `: slow handlers held stream ${stream} up for ${readWithinMs} ms, more than it may be late unnoticed`,
    );
  }

  #reconnect(now: Millis, why: string): void {
    if (this.#state.kind !== 'following') return;
    this.#endReason ??= new ConnectionError('CONNECTION_LOST', `connecting again${why}`);
    this.#state.session.handleStop(now);
  }

  #sendWaiting(now: Millis): void {
    // A session that is ending takes nothing, so the lines wait for the next one.
    if (this.#state.kind !== 'following' || !this.#state.session.isEstablished) return;
    while (!this.#isBlocked && this.#unsent.length > 0) {
      this.#state.session.handleSendLine(now, this.#unsent.shift()!);
    }
  }

  #explainEnd(error: Error | undefined): RowcastError {
    if (this.#endReason !== undefined) return this.#endReason;
    if (this.#lastPeerError !== undefined) {
      const refusal = parseRefusal(this.#lastPeerError);
      if (refusal?.kind === 'too-far-behind') return tooFarBehind(refusal.stream);
      return new PeerError('PEER_ERROR', `the primary ended the connection: ${this.#lastPeerError}`);
    }
    if (error instanceof ConnectionError) return error;
    return new ConnectionError('CONNECTION_LOST', error?.message ?? 'the primary ended the connection', {
      cause: error,
    });
  }

  #emit(event: FollowerEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }
}
