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
import { ConnectionError, type ErrorCode, PeerError, type RowcastError, UsageError } from '../model/errors.ts';
import type { NamePattern } from '../model/pattern.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import { type WorkerOutput, WorkerSession } from '../sessions/worker-session.ts';
import { encodeCommandWithin } from '../wire/codec.ts';
import type { UpstreamCommand } from '../wire/command.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';
import { Backoff } from './backoff.ts';
import { BackPressure } from './back-pressure.ts';
import type { PatternSpec } from './catalogs.ts';
import { FollowedStreams } from './followed-streams.ts';
import type { Link, StreamOutput } from './stream-output.ts';
import type { Subscription } from './subscription.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';
import { UnsentCommands, type WhenDisconnected } from './unsent-commands.ts';

export interface FollowerOptions {
  readonly workerName: string;
  readonly serverName?: string;
  /** Sends nothing but NAME, PING and REPLICATE, whatever happens. */
  readonly isObserver?: boolean;
  readonly wantsAttributes?: boolean;
  readonly limits: WorkerLimits;
  readonly random: Random;
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
  | StreamOutput
  | { readonly kind: 'event'; readonly event: FollowerEvent };

export type FollowerEvent =
  | { readonly kind: 'connected'; readonly isRowcast: boolean }
  /** Every subscription has reached the primary's position on this connection. */
  | { readonly kind: 'live' }
  | { readonly kind: 'disconnected'; readonly error: RowcastError; readonly retryInMs: Millis }
  /** After handleStop: the connection is gone, and nothing follows. */
  | { readonly kind: 'stopped' }
  | { readonly kind: 'peer-error'; readonly text: string }
  | { readonly kind: 'sync'; readonly text: string }
  | { readonly kind: 'command-dropped'; readonly line: string };

/**
 * The most bytes of lines that wait for a primary which reads nothing. Requests for `maxStreams`
 * streams with the longest names need 54 MB.
 */
export const MAX_UNREAD_REQUEST_BYTES: number = 64 * 1024 * 1024;

const BAD_LINES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LINE_TOO_LONG',
  'INVALID_UTF8',
  'UNKNOWN_COMMAND',
  'INVALID_ARGUMENTS',
]);

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly until: Millis }
  | { readonly kind: 'connecting'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'following'; readonly session: WorkerSession; isGreeted: boolean }
  | { readonly kind: 'stopping'; readonly session: WorkerSession | undefined }
  | { readonly kind: 'stopped' };

export class Follower {
  readonly #options: FollowerOptions;
  readonly #backoff: Backoff;
  readonly #backPressure: BackPressure;
  readonly #outputs = new Queue<FollowerOutput>();
  readonly #streams: FollowedStreams;
  /** Lines that wait for an established connection. */
  readonly #unsent = new UnsentCommands();
  #state: State = { kind: 'idle' };
  /** The socket is full, so commands wait here, where they are counted. */
  #isBlocked = false;
  /** Bytes that were given to the socket since then. */
  #blockedBytes = 0;
  /** Why the present connection ends, when we know better than the socket. */
  #endReason: RowcastError | undefined;
  #lastPeerError: string | undefined;
  #greetingTimeoutMs: Millis;
  /** The last connection ended by a line that cannot be read. The next one may meet it again. */
  #wasFaulty = false;
  #wasLive = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#greetingTimeoutMs = options.limits.greetingTimeoutMs;
    this.#backoff = new Backoff(options.limits, options.random);
    this.#backPressure = new BackPressure(options.limits.maxQueuedBytes);
    const { isObserver = false, wantsAttributes = false, limits, random } = options;
    this.#streams = new FollowedStreams({ isObserver, wantsAttributes, limits, random, link: this.#link() });
  }

  get isStopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  get isConnected(): boolean {
    return this.#state.kind === 'following' && this.#state.isGreeted;
  }

  /** Whether the primary is Rowcast. Undefined while there is no connection. */
  get isRowcast(): boolean | undefined {
    return this.isConnected ? this.#streams.eras !== undefined : undefined;
  }

  /** Every subscription has reached the primary's position on this connection. */
  get isLive(): boolean {
    return this.#streams.isLive;
  }

  /** Every subscription is live, and the application has applied everything that came before. */
  get isApplied(): boolean {
    return this.#streams.isApplied;
  }

  /** Where the catalogs stood when each pattern began, under the keys of a checkpoint. */
  get boundaries(): Iterable<Position> {
    return this.#streams.boundaries;
  }

  handleStart(now: Millis): void {
    if (this.#state.kind === 'idle') this.#connect(now);
  }

  /** Follows one more stream. */
  handleSubscribe(now: Millis, spec: SubscriptionSpec): Subscription {
    return this.#streams.handleSubscribe(now, spec);
  }

  /** Takes the boundaries out of a checkpoint. Comes before the first pattern. */
  handleStored(positions: Iterable<Position>): void {
    this.#streams.handleStored(positions);
  }

  /** Follows every stream of a pattern that is not followed by name. */
  handlePattern(now: Millis, spec: PatternSpec): void {
    this.#streams.handlePattern(now, spec);
  }

  /** Stops following a pattern, and every stream that is followed through it. */
  handlePatternGivenUp(now: Millis, pattern: NamePattern): void {
    this.#streams.handlePatternGivenUp(now, pattern);
  }

  /** Whether a stream that is not followed yet will be, once the primary has it. */
  isAwaited(stream: StreamName): boolean {
    return this.#streams.isAwaited(stream);
  }

  /** Keeps a stream that is not followed yet from being followed through a pattern. */
  handleGivenUp(stream: StreamName): void {
    this.#streams.handleGivenUp(stream);
  }

  /** Undoes handleGivenUp. */
  handleTaken(stream: StreamName): void {
    this.#streams.handleTaken(stream);
  }

  /** Stops following a stream. */
  handleUnsubscribe(now: Millis, subscription: Subscription): void {
    this.#streams.handleUnsubscribe(now, subscription);
  }

  /** A checkpoint holds this position. `lineage` is the delivery's when the position was read. */
  handleSaved(now: Millis, subscription: Subscription, position: Position, lineage: number): void {
    this.#streams.handleSaved(now, subscription, position, lineage);
  }

  /** Whether a position of a followed stream was reached (Delivery.judgeWait). */
  judgeWait(subscription: Subscription, position: Position): 'reached' | 'not-yet' | 'other-log' {
    return this.#streams.judgeWait(subscription, position);
  }

  /** The same for a stream that is awaited. */
  judgeAwaited(position: Position): 'reached' | 'not-yet' | 'other-log' {
    return this.#streams.judgeAwaited(position);
  }

  /**
   * Sends a command, or keeps it until a connection takes it.
   * @throws UsageError INVALID_COMMAND, OBSERVER
   */
  handleSend(now: Millis, command: UpstreamCommand, whenDisconnected: WhenDisconnected = 'keep'): void {
    if (this.#options.isObserver === true) {
      throw new UsageError(
        'OBSERVER',
        `an observer sends nothing but NAME, PING and REPLICATE: ${command.name} needs a worker without the option observer`,
      );
    }
    const { maxLineBytes, maxQueuedCommands } = this.#options.limits;
    const line = encodeCommandWithin(maxLineBytes, command);
    if (whenDisconnected === 'drop' && !this.isConnected) return;
    this.#unsent.add(command, line, whenDisconnected === 'latest');
    this.#sendWaiting(now);
    if (this.#unsent.size > maxQueuedCommands) {
      this.#emit({ kind: 'command-dropped', line: this.#unsent.shift()! });
    }
  }

  handleOpen(now: Millis): void {
    if (this.#state.kind !== 'connecting' || this.#state.isAborted) return;
    const { workerName, serverName, wantsAttributes = false } = this.#options;
    const session = new WorkerSession({
      workerName,
      isObserver: this.#options.isObserver === true,
      wantsAttributes,
      limits: { ...this.#options.limits, greetingTimeoutMs: this.#greetingTimeoutMs },
      lines: this.#streams,
      ...(serverName !== undefined && { serverName }),
    });
    this.#state = { kind: 'following', session, isGreeted: false };
    this.#isBlocked = false;
    this.#blockedBytes = 0;
    session.handleOpen(now);
    // Rows from before the cut still wait for the application, so the new connection is held back
    // too.
    if (this.#backPressure.isPaused) session.handlePaused();
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    this.#backPressure.handleRead(chunk.length);
    this.#session?.handleBytes(now, chunk);
  }

  /**
   * The socket did not take a write at once. Reading goes on, because a primary reads no requests
   * while its answers wait for us.
   */
  handleBlocked(now: Millis, bytes: number): void {
    this.#isBlocked = true;
    this.#blockedBytes += bytes;
    if (this.#blockedBytes <= MAX_UNREAD_REQUEST_BYTES) return;
    this.#reconnect(now, `: the primary has left ${this.#blockedBytes} bytes of requests unread`);
  }

  handleDrained(now: Millis): void {
    this.#isBlocked = false;
    this.#blockedBytes = 0;
    this.#sendWaiting(now);
  }

  /** The connection ended, or could not be made. */
  handleClosed(now: Millis, error?: Error): void {
    const state = this.#state;
    if (state.kind === 'stopped' || state.kind === 'idle' || state.kind === 'waiting') return;
    this.#session?.handleClosed();
    this.#cut();
    if (state.kind === 'stopping') {
      this.#stop();
      return;
    }
    this.#backPressure.handleClosed();
    this.#wasFaulty = this.#endReason !== undefined && BAD_LINES.has(this.#endReason.code);
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
    this.#streams.now = now;
    this.#streams.noteMoved(subscription);
    this.#giveBack(now, cost);
  }

  handleTimeout(now: Millis): void {
    const state = this.#state;
    if (state.kind === 'waiting' && now >= state.until) this.#connect(now);
    else if (state.kind === 'connecting' && now >= state.until && !state.isAborted) {
      state.isAborted = true;
      const { connectTimeoutMs } = this.#options.limits;
      this.#endReason = new ConnectionError('CONNECTION_LOST', `no connection within ${connectTimeoutMs} ms`);
      this.#outputs.push({ kind: 'abort' });
    } else {
      this.#giveUpUnread(now);
      this.#streams.handleTimeout(now);
      this.#session?.handleTimeout(now);
    }
  }

  handleStop(now: Millis): void {
    switch (this.#state.kind) {
      case 'following':
        this.#streams.acknowledge(Infinity);
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
    this.#streams.now = now;
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
    at = Math.min(at, this.#unread?.until ?? Infinity, this.#streams.nextTimeout);
    return at === Infinity ? undefined : at;
  }

  get #session(): WorkerSession | undefined {
    return this.#state.kind === 'following' || this.#state.kind === 'stopping' ? this.#state.session : undefined;
  }

  /** What the streams need of the connection. */
  #link(): Link {
    return {
      send: (command) => {
        if (this.#state.kind === 'following') this.#state.session.handleSend(this.#streams.now, command);
      },
      reconnect: (why) => this.#reconnect(this.#streams.now, why),
      handleQueued: (cost) => {
        if (!this.#backPressure.handleQueued(this.#streams.now, cost)) return;
        this.#session?.handlePaused();
      },
      handleGivenBack: (cost) => this.#giveBack(this.#streams.now, cost),
      handleLiveChanged: () => this.#handleLiveChanged(),
      emit: (output) => this.#outputs.push(output),
    };
  }

  #giveBack(now: Millis, cost: number): void {
    if (!this.#backPressure.handleApplied(cost) || this.#state.kind !== 'following') return;
    this.#state.session.handleResumed(now);
  }

  /** Forgets everything that this connection told. */
  #cut(): void {
    this.#streams.handleCut();
    this.#wasLive = false;
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

  #translate(now: Millis, output: WorkerOutput): FollowerOutput | undefined {
    switch (output.kind) {
      case 'transmit':
      case 'pause':
      case 'resume':
      case 'abort':
        return output;
      case 'close':
        this.#endReason ??= output.reason;
        // Nothing is read from here on, so nothing is live, although the connection still exists
        // for a while.
        if (this.#state.kind === 'following') this.#state.isGreeted = false;
        this.#cut();
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
        this.#streams.handlePeerError(output.text);
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
    this.#emit({ kind: 'connected', isRowcast: eras !== undefined });
    this.#streams.now = now;
    this.#streams.handleGreeted(eras);
    this.#sendWaiting(now);
    this.#handleLiveChanged();
  }

  #handleLiveChanged(): void {
    const { isLive } = this;
    if (isLive === this.#wasLive) return;
    this.#wasLive = isLive;
    if (!isLive) return;
    // Now, not at the end of the connection: a stream that is subscribed later does not undo the
    // progress. Where a bad line comes again after each catch-up there is none.
    if (!this.#wasFaulty) this.#backoff.reset();
    this.#emit({ kind: 'live' });
  }

  /**
   * While reading is paused: the live subscription that may be late unnoticed for the shortest
   * time.
   */
  get #unread(): { readonly stream: StreamName; readonly readWithinMs: Millis; readonly until: Millis } | undefined {
    const since = this.#backPressure.heldUpSince;
    if (since === undefined || this.#state.kind !== 'following' || !this.#state.session.isEstablished) return undefined;
    const urgent = this.#streams.mostUrgent;
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
    while (!this.#isBlocked && this.#unsent.size > 0) {
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
