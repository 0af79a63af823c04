/**
 * The worker's machine that outlives connections: when to connect, from where to resume, what to do after a gap or a
 * reset. Knows no socket, clock or application; it runs one worker-session at a time.
 *
 *   waiting ──time──▶ connecting ──handleOpen──▶ following ──handleClosed──▶ waiting …      handleStop ──▶ stopped
 */

import { assertNever } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import type { Random } from '../../base/random.ts';
import { ConnectionError, PeerError, type RowcastError, UsageError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import { Backoff } from './backoff.ts';
import { BackPressure } from './back-pressure.ts';
import { encodeCommandWithin } from '../wire/codec.ts';
import type { UpstreamCommand } from '../wire/command.ts';
import { type AllSpec, type InterestOutput, Interests, type SubscriptionSpec } from './interests.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { parseRefusal, tooFarBehind } from '../wire/refusals.ts';
import { type WorkerOutput, WorkerSession } from '../sessions/worker-session.ts';

export interface FollowerOptions {
  readonly workerName: string;
  readonly serverName?: string;
  /** Sends nothing but NAME, PING and REPLICATE, whatever happens. */
  readonly isObserver?: boolean;
  readonly limits: WorkerLimits;
  readonly random: Random;
}

export type FollowerOutput =
  /** Open a connection; handleOpen or handleClosed follows. */
  | { readonly kind: 'connect' }
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  | { readonly kind: 'close' }
  | { readonly kind: 'abort' }
  /** Stop and resume reading from the connection. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /**
   * In order: rows for a subscriber, who answers with handleApplied(bytes); where it stands once those before are applied;
   * a history that ended; a subscription that ended.
   */
  | InterestOutput
  | { readonly kind: 'event'; readonly event: FollowerEvent };

export type FollowerEvent =
  | { readonly kind: 'connected'; readonly isRowcast: boolean }
  | { readonly kind: 'disconnected'; readonly error: RowcastError; readonly retryInMs: Millis }
  /** After handleStop: the connection is gone, nothing follows. */
  | { readonly kind: 'stopped' }
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

export class Follower {
  readonly #options: FollowerOptions;
  readonly #backoff: Backoff;
  readonly #backPressure: BackPressure;
  readonly #interests = new Interests();
  readonly #outputs = new Queue<FollowerOutput>();
  /** Lines that wait for a connection that takes them. */
  readonly #unsent = new Queue<string>();
  #state: State = { kind: 'idle' };
  /** The socket is full: commands wait here, where they are counted. */
  #isBlocked = false;
  /** Why the present connection ends, when we know better than the socket. */
  #endReason: RowcastError | undefined;
  #lastPeerError: string | undefined;
  #greetingTimeoutMs: Millis;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#greetingTimeoutMs = options.limits.greetingTimeoutMs;
    this.#backoff = new Backoff(options.limits, options.random);
    this.#backPressure = new BackPressure(options.limits.maxQueuedBytes);
  }

  get isStopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  get isConnected(): boolean {
    return this.#state.kind === 'following' && this.#state.isGreeted;
  }

  /** Every subscription has reached the primary's position on this connection. */
  get isLive(): boolean {
    return this.isConnected && this.#interests.isAllLive;
  }

  isStreamLive(stream: StreamName): boolean {
    return this.isConnected && this.#interests.isLive(stream);
  }

  handleStart(now: Millis): void {
    if (this.#state.kind === 'idle') this.#connect(now);
  }

  /** Follows one more stream. One that was asked for before on this connection takes a new one: rows of the old request may be on their way. */
  handleSubscribe(now: Millis, spec: SubscriptionSpec): void {
    this.#interests.add(spec);
    if (this.#state.kind !== 'following' || !this.#state.isGreeted) return;
    if (this.#interests.wasAsked(spec.stream)) return this.#reconnect(now, ` to ask for stream ${spec.stream} anew`);
    this.#push(this.#interests.checkAdded(spec.stream));
    this.#ask(now, this.#state.session);
  }

  /** Follows every stream of the primary that is not followed by name. */
  handleSubscribeAll(now: Millis, spec: AllSpec): void {
    this.#interests.addAll(spec);
    if (this.isConnected) this.#reconnect(now, ' to ask for every stream');
  }

  /** Stops following a stream. The protocol cannot say so: rows that still come are dropped. */
  handleUnsubscribe(stream: StreamName): void {
    this.#interests.remove(stream);
  }

  /**
   * Sends a command, or keeps it until there is a connection that takes it.
   * @throws UsageError INVALID_COMMAND, OBSERVER
   */
  handleSend(now: Millis, command: UpstreamCommand): void {
    if (this.#options.isObserver === true) {
      throw new UsageError(
        'OBSERVER',
        `an observer sends nothing but NAME, PING and REPLICATE: ${command.name} needs a worker without the option observer`,
      );
    }
    const { maxLineBytes, maxQueuedCommands } = this.#options.limits;
    this.#unsent.push(encodeCommandWithin(maxLineBytes, command));
    this.#sendWaiting(now);
    if (this.#unsent.length > maxQueuedCommands) this.#emit({ kind: 'command-dropped', line: this.#unsent.shift()! });
  }

  handleOpen(now: Millis): void {
    if (this.#state.kind !== 'connecting' || this.#state.isAborted) return;
    const { workerName, serverName, isObserver = false } = this.#options;
    const limits = { ...this.#options.limits, greetingTimeoutMs: this.#greetingTimeoutMs };
    const session = new WorkerSession({
      workerName,
      isObserver,
      limits,
      ...(serverName !== undefined && { serverName }),
    });
    this.#state = { kind: 'following', session, isGreeted: false };
    this.#isBlocked = false;
    session.handleOpen(now);
    // What came before the cut still waits for the application: the new connection is held back just the same.
    if (this.#backPressure.isPaused) {
      session.handlePaused();
      this.#outputs.push({ kind: 'pause' });
    }
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    this.#backPressure.handleRead(chunk.length);
    this.#session?.handleBytes(now, chunk);
  }

  /** A write was not taken at once. */
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
    if (state.kind === 'stopping') {
      this.#stop();
      return;
    }
    this.#backPressure.handleClosed();
    this.#interests.handleClosed();
    const delayMs = this.#backoff.nextDelayMs();
    this.#state = { kind: 'waiting', until: now + delayMs };
    this.#emit({ kind: 'disconnected', error: this.#explainEnd(error), retryInMs: delayMs });
    this.#endReason = undefined;
    this.#lastPeerError = undefined;
  }

  /** Nothing is read: too many rows wait for their handlers. */
  get isPaused(): boolean {
    return this.#backPressure.isPaused;
  }

  /** The application is through with rows of this size. `now` counts only where that ends a pause. */
  handleApplied(now: Millis, bytes: number): void {
    if (!this.#backPressure.handleApplied(bytes) || this.#state.kind !== 'following') return;
    this.#state.session.handleResumed(now);
    this.#outputs.push({ kind: 'resume' });
  }

  handleTimeout(now: Millis): void {
    const state = this.#state;
    if (state.kind === 'waiting' && now >= state.until) this.#connect(now);
    else if (state.kind === 'connecting' && now >= state.until && !state.isAborted) {
      state.isAborted = true;
      this.#endReason = new ConnectionError(
        'CONNECTION_LOST',
        `no connection within ${this.#options.limits.connectTimeoutMs} ms`,
      );
      this.#outputs.push({ kind: 'abort' });
    } else {
      this.#giveUpUnread(now);
      this.#session?.handleTimeout(now);
    }
  }

  handleStop(now: Millis): void {
    switch (this.#state.kind) {
      case 'following':
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
    for (;;) {
      const own = this.#outputs.shift();
      if (own !== undefined) return own;
      const output = this.#session?.pollOutput();
      if (output === undefined) return undefined;
      const translated = this.#translate(now, output);
      if (translated !== undefined) return translated;
    }
  }

  nextTimeout(): Millis | undefined {
    const state = this.#state;
    if (state.kind === 'waiting') return state.until;
    if (state.kind === 'connecting') return state.isAborted ? undefined : state.until;
    const own = this.#session?.nextTimeout();
    const unread = this.#unread;
    return unread === undefined ? own : Math.min(unread.until, own ?? Infinity);
  }

  get #session(): WorkerSession | undefined {
    return this.#state.kind === 'following' || this.#state.kind === 'stopping' ? this.#state.session : undefined;
  }

  #stop(): void {
    this.#state = { kind: 'stopped' };
    this.#emit({ kind: 'stopped' });
  }

  #connect(now: Millis): void {
    this.#state = { kind: 'connecting', until: now + this.#options.limits.connectTimeoutMs, isAborted: false };
    this.#outputs.push({ kind: 'connect' });
  }

  /** What the session says, as the pump and the subscribers hear it. */
  #translate(now: Millis, output: WorkerOutput): FollowerOutput | undefined {
    switch (output.kind) {
      case 'transmit':
      case 'abort':
        return output;
      case 'close':
        this.#endReason ??= output.reason;
        return { kind: 'close' };
      case 'greeted':
        this.#handleGreeted(now, output);
        return undefined;
      case 'batch':
      case 'position':
      case 'reset':
        return this.#handleRows(now, output);
      case 'peer-error':
        this.#lastPeerError = output.text;
        this.#push(this.#interests.handlePeerError(output.text));
        this.#emit({ kind: 'peer-error', text: output.text });
        return undefined;
      case 'sync':
        return { kind: 'event', event: output };
      default:
        return assertNever(output);
    }
  }

  #handleGreeted(now: Millis, { greeting }: Extract<WorkerOutput, { kind: 'greeted' }>): void {
    if (this.#state.kind !== 'following') return;
    this.#state.isGreeted = true;
    this.#emit({ kind: 'connected', isRowcast: greeting !== undefined });
    const { results, isReconnectNeeded } = this.#interests.handleGreeted(greeting);
    this.#push(results);
    if (isReconnectNeeded) {
      // Asked again as early, it would be as late again.
      this.#greetingTimeoutMs = Math.min(this.#greetingTimeoutMs * 2, this.#options.limits.idleTimeoutMs);
      return this.#reconnect(now, ': the primary said late who it is');
    }
    this.#ask(now, this.#state.session);
    this.#sendWaiting(now);
    if (this.#interests.isAllLive) this.#backoff.reset();
  }

  #ask(now: Millis, session: WorkerSession): void {
    for (const { stream, from } of this.#interests.takeRequests()) {
      if (stream === 'ALL') session.handleSubscribeAll(now, from);
      else session.handleSubscribe(now, stream, from);
    }
  }

  #handleRows(
    now: Millis,
    output: Extract<WorkerOutput, { kind: 'batch' | 'position' | 'reset' }>,
  ): FollowerOutput | undefined {
    const { result, next } = this.#interests.handleRows(output);
    if (next === 'reconnect') this.#reconnect(now, ` to ask for stream ${output.stream} anew`);
    if (next === 'ask' && this.#state.kind === 'following') this.#ask(now, this.#state.session);
    // Now, not at the end of the connection: a stream that is subscribed meanwhile does not undo what was proven.
    if (result?.kind === 'position' && this.#interests.isAllLive) this.#backoff.reset();
    if (result?.kind === 'batch') this.#count(now, result.bytes);
    return result;
  }

  #count(now: Millis, bytes: number): void {
    if (!this.#backPressure.handleQueued(now, bytes)) return;
    this.#session?.handlePaused();
    this.#outputs.push({ kind: 'pause' });
  }

  /** A live subscription that must not be late unnoticed, while nothing is read. */
  get #unread(): { readonly stream: StreamName; readonly readWithinMs: Millis; readonly until: Millis } | undefined {
    const since = this.#backPressure.heldUpSince;
    if (since === undefined || this.#state.kind !== 'following' || !this.#state.session.isEstablished) return undefined;
    const urgent = this.#interests.mostUrgent;
    return urgent && { ...urgent, until: since + urgent.readWithinMs };
  }

  /**
   * Nothing on the wire would tell when what was held up has been read. The end of catch-up does: on a connection that is
   * held up from its beginning no stream is live before it.
   */
  #giveUpUnread(now: Millis): void {
    const unread = this.#unread;
    if (unread === undefined || now < unread.until) return;
    this.#reconnect(
      now,
      `: slow handlers held stream ${unread.stream} up for ${unread.readWithinMs} ms, more than it may be late unnoticed`,
    );
  }

  #reconnect(now: Millis, why: string): void {
    if (this.#state.kind !== 'following') return;
    this.#endReason ??= new ConnectionError('CONNECTION_LOST', `connecting again${why}`);
    this.#state.session.handleStop(now);
  }

  #sendWaiting(now: Millis): void {
    // A session that is ending takes nothing: then the lines wait for the next one.
    if (this.#state.kind !== 'following' || !this.#state.session.isEstablished) return;
    while (!this.#isBlocked && this.#unsent.length > 0) this.#state.session.handleSendLine(now, this.#unsent.shift()!);
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

  #push(results: readonly InterestOutput[]): void {
    for (const result of results) this.#outputs.push(result);
  }

  #emit(event: FollowerEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }
}
