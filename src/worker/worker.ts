/**
 * The public class of a process that follows: subscriptions over one connection that is renewed
 * when it is lost. Decides nothing about the protocol.
 */

import { assertNever } from '../base/assert.ts';
import { type Clock, type Millis, systemClock } from '../base/clock.ts';
import { within } from '../base/deadline.ts';
import { resolvable } from '../base/resolvable.ts';
import { systemRandom } from '../base/random.ts';
import type { Batch } from '../core/model/batch.ts';
import { type HandlerError, quote, type RowcastError, UsageError } from '../core/model/errors.ts';
import { guardLogger, type Logger, PeerLogger, silentLogger } from '../core/model/logger.ts';
import { checkArgument, checkOptions } from '../core/model/options.ts';
import { declaredText, type StreamPattern } from '../core/model/declarations.ts';
import { EVERY_NAME, isPattern, type NamePattern } from '../core/model/pattern.ts';
import { nameOf, type Stream, type StreamName } from '../core/model/stream.ts';
import type { Position } from '../core/model/position.ts';
import type { UpstreamCommand } from '../core/wire/command.ts';
import { checkUpstreamCommand } from '../core/wire/upstream-tables.ts';
import { Follower, type FollowerEvent } from '../core/follow/follower.ts';
import { defaultWorkerLimits, mergeLimits, type WorkerLimits } from '../core/wire/limits.ts';
import { Emitter } from '../events/emitter.ts';
import { tcpTransport } from '../transport/tcp.ts';
import { type Address, formatAddress } from '../transport/transport.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { type Holdup, holdupsOf } from './holdups.ts';
import { iterate } from './iterate.ts';
import {
  type FollowOptions,
  followTable,
  handlerKind,
  patternTable,
  readWorkerOptions,
  type StartOptions,
  type StopOptions,
  startTable,
  stopTable,
  type SendOptions,
  sendTable,
  type SubscribeOptions,
  subscribeTable,
  type WaitOptions,
  waitTable,
  type WorkerEvents,
  type WorkerOptions,
} from './options.ts';
import { FollowerPump } from './follower-pump.ts';
import { PositionWaits } from './position-waits.ts';
import { Starting } from './starting.ts';
import { stopTimeoutError } from './stop-timeout.ts';
import type { BatchHandler, Runner, RunnerHooks, Subscription } from './subscription.ts';
import { Subscriptions } from './subscriptions.ts';

const DEFAULT_WAIT_TIMEOUT_MS = 5_000;

/**
 * Makes a worker. `start` connects it.
 * @throws UsageError INVALID_OPTION
 * @example
 * const worker = createWorker({ name: 'worker-1', connect: { host: '127.0.0.1', port: 9092 } });
 * worker.subscribe('orders', { from: 'start' }, ({ rows }) => console.log(rows));
 * await worker.start();
 */
export function createWorker(options: WorkerOptions & { readonly observer: true }): ObserverWorker;
export function createWorker(options: WorkerOptions): Worker;
export function createWorker(options: WorkerOptions): Worker {
  return new Worker(options);
}

/** A worker without `send`: an observer has nothing to send. */
export type ObserverWorker = Omit<Worker, 'send'>;

/** Follows the streams of one primary and reconnects by itself. Made by createWorker. */
export class Worker extends Emitter<WorkerEvents> {
  readonly name: string;
  readonly #address: Address;
  /** The limits of this worker: its options over the defaults. */
  readonly limits: WorkerLimits;
  readonly #follower: Follower;
  readonly #pump: FollowerPump;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** For what the primary causes: one for all connections, since a primary may cut them at will. */
  readonly #peerLogger: PeerLogger;
  readonly #checkpoint: CheckpointWriter | undefined;
  readonly #subscriptions: Subscriptions;
  readonly #waits: PositionWaits;
  /** Called when the subscription ends: with its own error, or with undefined in good order. */
  readonly #endings = new Map<Runner, (error: Error | undefined) => void>();
  /** Handlers of ended subscriptions that still run. A stop waits for them too. */
  readonly #leaving = new Set<Promise<unknown>>();
  readonly #starting: Starting;
  /** Resolves when the checkpoint is read and the worker follows. Undefined when it could not be read. */
  #begun: Promise<void> | undefined;
  #isLoading = false;
  #isStopping = false;
  /** Rejects when a stop gives up. */
  readonly #abandoned = resolvable<void>();
  #stopping: Promise<void> | undefined;
  #handleStopped: (() => void) | undefined;

  /** @internal Use createWorker. */
  constructor(given: WorkerOptions) {
    const options = readWorkerOptions(given);
    const clock = options.clock ?? systemClock;
    super(clock);
    this.name = options.name;
    this.#address = options.connect;
    this.#clock = clock;
    this.#logger = guardLogger(options.logger ?? silentLogger, clock);
    this.#peerLogger = new PeerLogger(this.#logger, () => clock.now());
    this.limits = mergeLimits('createWorker', defaultWorkerLimits, options.limits);
    this.#follower = new Follower({
      workerName: options.name,
      ...(options.server !== undefined && { serverName: options.server }),
      ...(options.observer !== undefined && { isObserver: options.observer }),
      ...(options.attributes !== undefined && { wantsAttributes: options.attributes }),
      limits: this.limits,
      random: options.random ?? systemRandom,
    });
    this.#subscriptions = new Subscriptions({
      follower: this.#follower,
      now: () => this.#pump.now,
      hasCheckpoint: options.checkpoint !== undefined,
      hooks: this.#hooks(options.checkpoint?.saveMoves !== undefined),
      onBegun: () => {
        this.#pump.drain();
        this.#waits.all.checkAll();
        this.#starting.check();
      },
      onDiscovered: (subscription) => this.#waits.all.handleFound(subscription),
      onChanged: (key, position) => this.#checkpoint?.handleChanged(key, position),
      onGone: ({ stream, history }) => this.#waits.all.handleGone(stream, history, this.#subscriptions.get(stream)),
    });
    this.#waits = new PositionWaits({
      workerName: options.name,
      clock: this.#clock,
      follower: this.#follower,
      subscriptions: this.#subscriptions,
      isStarted: () => this.#begun !== undefined,
      closed: (stream) =>
        this.#isStopping
          ? this.#stoppedError()
          : new UsageError('CLOSED', `the subscription of ${stream} was ended: unsubscribe was called`),
    });
    this.#starting = new Starting({
      workerName: options.name,
      clock,
      isLive: () => this.isLive,
      failure: () => this.#subscriptions.failure,
      holdups: () => this.#holdups(),
      onWaiting: (waiting, text) => {
        const { stream } = waiting.holdups[0] ?? {};
        this.#logger.warn({ ...(stream !== undefined && { stream }) }, text);
        this.emit('waiting', waiting);
      },
    });
    this.#pump = new FollowerPump({
      follower: this.#follower,
      transport: options.transport ?? tcpTransport,
      address: options.connect,
      clock: this.#clock,
      onOutput: (output) => {
        if (output.kind === 'event') this.#handleEvent(output.event);
        else if (output.kind === 'boundary') this.#checkpoint?.handleChanged(output.key, output.position);
        else if (output.kind === 'listed') this.#waits.handleGivenUp();
        else this.#subscriptions.handle(output);
      },
    });
    if (options.checkpoint !== undefined) {
      this.#checkpoint = new CheckpointWriter({
        workerName: options.name,
        checkpoint: options.checkpoint,
        clock: this.#clock,
        runnerOf: (stream) => this.#subscriptions.get(stream),
        onSaved: (own) => {
          for (const { machine, position, lineage } of own) {
            this.#follower.handleSaved(this.#pump.now, machine, position, lineage);
          }
          this.#pump.drain();
        },
        onError: (error) => this.#report(error),
      });
    }
  }

  /**
   * Calls the handler with a stream's batches, in order, one at a time. May be called before or
   * after `start`. When a handler throws, the subscription does what its onError says. By default it
   * ends with HANDLER_FAILED: its position does not move, and the worker emits `error`.
   * @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_POSITION,
   *   INVALID_OPTION, CLOSED
   * @example
   * worker.subscribe('orders', { from: 'start' }, async ({ rows }) => await store(rows));
   */
  subscribe<Row>(
    stream: Stream<unknown, Row> | StreamName,
    options: SubscribeOptions,
    handler: BatchHandler<Row>,
  ): Subscription {
    const checked = checkOptions('subscribe', options, subscribeTable);
    checkArgument('subscribe', 'handler', handler, handlerKind);
    return this.#subscribe(stream, checked, handler);
  }

  /**
   * Calls the handler with the batches of every stream whose name a pattern matches and that is not
   * subscribed by name. A stream that is made later is followed from its first row. A stream that is
   * deleted is told by `reset`. A stream waits for the handlers of other streams only when very many
   * rows wait (maxQueuedBytes).
   * @throws UsageError DUPLICATE_STREAM, INVALID_STREAM_NAME, INVALID_TOKEN, INVALID_OPTION, CLOSED
   * @example
   * worker.subscribeMatching('room:*', { from: 'start' }, ({ stream, rows }) => show(stream, rows));
   */
  subscribeMatching<Row>(
    pattern: StreamPattern<unknown, Row> | NamePattern,
    options: SubscribeOptions,
    handler: BatchHandler<Row>,
  ): void {
    this.#subscribePattern('subscribeMatching', pattern, options, handler as BatchHandler);
  }

  /**
   * Calls the handler with the batches of every stream that is subscribed neither by name nor
   * through another pattern.
   * @throws UsageError DUPLICATE_STREAM, INVALID_TOKEN, INVALID_OPTION, CLOSED
   */
  subscribeAll(options: SubscribeOptions, handler: BatchHandler): void {
    this.#subscribePattern('subscribeAll', EVERY_NAME, options, handler);
  }

  /**
   * Ends a subscription in good order. Resolves when its handler is finished. That handler may call
   * it, but not await it. The stream may be subscribed again, also before that, with
   * `from: 'checkpoint'` from where it was left: its new handler begins when the old one is
   * finished. A pattern ends with every stream that is followed through it.
   */
  async unsubscribe(stream: Stream | StreamPattern | StreamName): Promise<void> {
    const name = declaredText(stream);
    if (isPattern(name)) return this.#endPattern(name);
    const subscription = this.#subscriptions.get(name);
    // A pattern may stand for the stream, and not have brought it yet.
    if (subscription === undefined) this.#follower.handleGivenUp(name);
    else await this.#end(subscription);
    this.#waits.handleGivenUp();
  }

  /**
   * A stream's batches as an async iterator. Subscribes when the first batch is requested, and
   * starts the worker if it was not started. A batch counts as applied when the next one is
   * requested. Leaving the loop ends the subscription.
   * @throws the signal's reason when aborted; the error of the subscription when it fails
   * @example
   * for await (const { rows } of worker.follow('orders', { from: 'start' })) await store(rows);
   */
  follow<Row>(
    stream: Stream<unknown, Row> | StreamName,
    options?: FollowOptions,
  ): AsyncGenerator<Batch<Row>, void, void> {
    const { signal, ...checked } = checkOptions('follow', options, followTable);
    nameOf(stream);
    return iterate<Row>({
      signal,
      begin: (handler, onEnd) => {
        const subscription = this.#subscribe(stream, checked, handler as BatchHandler);
        this.#endings.set(subscription, onEnd);
        // A failed start reaches the loop as the end of its subscription.
        this.#begin().catch(onEnd);
        return () => void this.#end(subscription);
      },
    });
  }

  /**
   * Connects, and reconnects until `stop`. Resolves when every subscription is live. A connection
   * that fails meanwhile emits `disconnected`, and a start that takes long emits `waiting`. Rejects
   * when the checkpoint cannot be read (CHECKPOINT_FAILED), when a subscription fails before that,
   * and when the worker is stopped (CLOSED). A start that rejects because of `timeoutMs` or `signal`
   * leaves the worker following. Whatever it rejected with, start can be called again.
   * @throws UsageError START_TIMEOUT (the text says what held it up), CLOSED, INVALID_OPTION; the
   *   signal's reason; HandlerError CHECKPOINT_FAILED; the error of a subscription
   * @example
   * await worker.start({ timeoutMs: 10_000 });
   */
  async start(options?: StartOptions): Promise<void> {
    this.#checkOpen();
    const checked = checkOptions('start', options, startTable);
    checked.signal?.throwIfAborted();
    await this.#starting.wait(this.#begin(), checked);
  }

  /**
   * Reads your own writes: resolves when everything up to the position is applied here, or is void
   * in the history that is followed (docs/protocol.md, "Waits"). The position is what `append`
   * resolved to. A stream that a pattern matches and that is not known yet is waited for. A primary
   * that is not Rowcast has positions without a history.
   * @throws UsageError NOT_SUBSCRIBED, INVALID_TOKEN, INVALID_POSITION, OTHER_LOG, CLOSED,
   *   WAIT_TIMEOUT (the text says what held it up); the signal's reason; the error of a
   *   subscription that ends or is reset meanwhile
   * @example
   * const position = await primary.append('orders', [{ id: 7, state: 'paid' }]);
   * await worker.waitFor(position, { timeoutMs: 1_000 });
   */
  async waitFor(position: Position, options?: WaitOptions): Promise<void> {
    this.#checkOpen();
    const { timeoutMs = DEFAULT_WAIT_TIMEOUT_MS, signal } = checkOptions('waitFor', options, waitTable);
    await this.#waits.wait(position, timeoutMs, signal);
  }

  /**
   * Whether waitFor would resolve at once.
   * @throws UsageError NOT_SUBSCRIBED, INVALID_TOKEN, INVALID_POSITION, OTHER_LOG
   */
  hasReached(position: Position): boolean {
    return this.#waits.hasReached(position);
  }

  /** The position up to which rows of the stream were applied. Undefined when none is known. */
  position(stream: Stream | StreamName): Position | undefined {
    return this.#subscriptions.get(nameOf(stream))?.position;
  }

  /** The primary has greeted. Commands are sent now; before that they are kept. */
  get isConnected(): boolean {
    return this.#follower.isConnected;
  }

  /** Every subscription has reached the primary's position since the last connect. */
  get isLive(): boolean {
    return this.#follower.isApplied && this.#subscriptions.isSettled;
  }

  /** @internal Whether the subscription of one stream has reached the primary's position. */
  isLiveOn(stream: Stream): boolean {
    return this.#subscriptions.get(nameOf(stream))?.isLive === true;
  }

  /**
   * Sends a command to the primary, or keeps it until connected, as `whenDisconnected` says. A
   * command may be lost: with the connection, or when more than maxQueuedCommands wait.
   * @throws UsageError INVALID_COMMAND, INVALID_OPTION, OBSERVER, CLOSED
   */
  send(command: UpstreamCommand, options?: SendOptions): void {
    this.#checkOpen();
    checkUpstreamCommand('send', command);
    const { whenDisconnected } = checkOptions('send', options, sendTable);
    this.#follower.handleSend(this.#pump.now, command, whenDisconnected);
    this.#pump.drain();
  }

  /**
   * Ends the connection, lets running handlers finish and stores the positions. A handler may call
   * it, but not await it. With `timeoutMs`, what has not ended by then is abandoned: a handler that
   * goes on moves no position any more, and its batch comes again after a restart.
   * @throws HandlerError STOP_TIMEOUT (it names what did not end); UsageError INVALID_OPTION
   */
  async stop(options?: StopOptions): Promise<void> {
    const { timeoutMs } = checkOptions('stop', options, stopTable);
    this.#stopping ??= Promise.race([this.#stop(), this.#abandoned.promise]);
    await within(this.#clock, timeoutMs, this.#stopping, (afterMs) => this.#abandon(afterMs));
  }

  /** For `await using`: closes or stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #begin(): Promise<void> {
    this.#begun ??= this.#load();
    return this.#begun;
  }

  async #load(): Promise<void> {
    try {
      this.#isLoading = true;
      const stored = (await this.#checkpoint?.load()) ?? new Map<string, Position>();
      this.#checkOpen();
      this.#subscriptions.begin(stored);
    } catch (error) {
      // The next start reads the checkpoint again.
      this.#begun = undefined;
      throw error;
    } finally {
      this.#isLoading = false;
    }
    this.#follower.handleStart(this.#pump.now);
    this.#pump.drain();
    this.#starting.handleBegun();
  }

  #holdups(): readonly Holdup[] {
    return holdupsOf({
      follower: this.#follower,
      runners: this.#subscriptions,
      now: this.#pump.now,
      isLoading: this.#isLoading,
      lastEnd: this.#waits.lastEnd,
    });
  }

  async #stop(): Promise<void> {
    this.#isStopping = true;
    this.#starting.close(this.#stoppedError());
    const stopped = new Promise<void>((resolve) => {
      this.#handleStopped = resolve;
    });
    this.#follower.handleStop(this.#pump.now);
    this.#pump.drain();
    const idle = [...this.#subscriptions].map(async (subscription) => subscription.stop());
    for (const onEnd of this.#endings.values()) onEnd(undefined);
    this.#waits.all.checkExpected(() => false);
    await Promise.all([...idle, ...this.#leaving]);
    if (!this.#follower.isStopped) await stopped;
    this.#pump.close();
    await this.#checkpoint?.close();
  }

  /** Goes on without what has not ended. */
  #abandon(timeoutMs: Millis): HandlerError {
    const atWork = this.#subscriptions.atWork();
    const error = stopTimeoutError({
      workerName: this.name,
      timeoutMs,
      atWork,
      isSaving: this.#checkpoint?.isWriting === true,
      address: this.#follower.isStopped ? undefined : this.#address,
    });
    this.#logger.error({ code: error.code }, error.message);
    this.#abandoned.reject(error);
    for (const runner of atWork) runner.abandon(error);
    this.#checkpoint?.abandon();
    this.#pump.abort();
    // Also where the transport never tells the end: the checkpoint is still closed.
    this.#handleStopped?.();
    return error;
  }

  #subscribe(stream: Stream | StreamName, options: SubscribeOptions, handler: BatchHandler): Runner {
    this.#checkOpen();
    const subscription = this.#subscriptions.add(stream, options, handler);
    this.#pump.drain();
    return subscription;
  }

  #subscribePattern(
    of: string,
    pattern: StreamPattern | NamePattern,
    options: SubscribeOptions,
    handler: BatchHandler,
  ): void {
    this.#checkOpen();
    const checked = checkOptions(of, options, patternTable);
    checkArgument(of, 'handler', handler, handlerKind);
    const taken = this.#subscriptions.addPattern(pattern, checked, handler);
    for (const subscription of taken) void this.#left(subscription.stop());
    this.#pump.drain();
  }

  async #end(subscription: Runner): Promise<void> {
    this.#subscriptions.remove(subscription);
    const through = subscription.stop();
    this.#pump.drain();
    const onEnd = this.#endings.get(subscription);
    this.#endings.delete(subscription);
    onEnd?.(undefined);
    await this.#left(through);
  }

  async #endPattern(pattern: NamePattern): Promise<void> {
    const through = this.#subscriptions.removePattern(pattern).map(async (subscription) => subscription.stop());
    this.#pump.drain();
    this.#waits.handleGivenUp();
    await this.#left(Promise.all(through));
  }

  /** Waits for handlers of subscriptions that have ended. */
  async #left(through: Promise<unknown>): Promise<void> {
    this.#leaving.add(through);
    await through;
    this.#leaving.delete(through);
  }

  #hooks(keepsMoves: boolean): RunnerHooks {
    return {
      clock: this.#clock,
      keepMove: keepsMoves ? async (stream, position) => this.#checkpoint!.keepMove(stream, position) : undefined,
      onApplied: ({ machine }, cost) => {
        // The exact time matters only when reading resumes: the time that the handler took must not
        // count as silence of the primary.
        const now = this.#follower.isPaused ? this.#pump.now : this.#pump.roughlyNow;
        this.#follower.handleApplied(now, machine!, cost);
        this.#pump.drain();
      },
      onPosition: (subscription) => {
        this.#subscriptions.handlePosition(subscription);
        if (this.#checkpoint === undefined) return;
        if (this.#checkpoint.canSave) this.#checkpoint.handleMoved(subscription);
        else this.#handleSaved(subscription);
      },
      now: () => this.#pump.roughlyNow,
      onMoved: (subscription) => {
        this.#waits.all.check(subscription);
        // One that held a start up may have ended.
        if (subscription.isEnded && subscription.error === undefined) this.#starting.check();
      },
      onLive: ({ stream }) => {
        this.#logger.debug({ stream }, 'live');
        this.emit('live', { stream });
        this.#starting.check();
      },
      onNotLive: ({ stream }) => void this.emit('not-live', { stream }),
      onTrimmed: ({ stream }, earliest) => {
        const text = `stream ${stream} is read from token ${earliest}: rows before it are no longer kept`;
        this.#peerLogger.info({ stream, token: earliest }, text);
        this.emit('trimmed', { stream, earliest });
      },
      onReset: (subscription, error, ended) => {
        const { stream } = subscription;
        this.#peerLogger.warn({ stream, code: error.code }, error.message);
        this.#waits.all.handleReset(subscription, error, ended);
        this.emit('reset', { stream, error });
      },
      onDeleted: (subscription, isEnded) => {
        this.#subscriptions.handleDeleted(subscription, isEnded);
        if (isEnded) this.#waits.all.handleDeleted(subscription);
      },
      onRetry: ({ stream }, error, delayMs) => {
        const retryInMs = Math.round(delayMs);
        this.#logger.warn({ stream, code: error.code, retryInMs }, `${error.message}: it is tried again`);
      },
      onSkipped: ({ stream }, error, position) => {
        this.#logger.warn({ stream, code: error.code, token: position.token }, `skipped a batch: ${error.message}`);
        this.emit('skipped', { stream, position, error });
      },
      onSucceeded: (machine) => this.#subscriptions.handleDiscovered(machine),
      onFailing: (subscription) => this.#subscriptions.release(subscription),
      onFailed: (subscription, error) => {
        this.#handleFailed(subscription, error);
        this.#pump.drain();
      },
      onFailedLate: (subscription, error) => this.#handleError(subscription, error),
    };
  }

  #handleEvent(event: FollowerEvent): void {
    switch (event.kind) {
      case 'connected':
        this.#peerLogger.info({ primary: formatAddress(this.#address), isRowcast: event.isRowcast }, 'connected');
        this.emit('connected', { isRowcast: event.isRowcast });
        this.#waits.all.checkAll();
        return;
      case 'live':
        // Handlers may be behind. A worker without subscriptions is live by this event alone.
        return queueMicrotask(() => this.#starting.check());
      case 'disconnected':
        this.#waits.lastEnd = event.error;
        this.#peerLogger.warn({ code: event.error.code, retryInMs: event.retryInMs }, event.error.message);
        this.emit('disconnected', { error: event.error, retryInMs: event.retryInMs });
        return;
      case 'stopped':
        this.#handleStopped?.();
        return;
      case 'peer-error':
        this.#peerLogger.warn({}, `the primary sent ERROR ${quote(event.text)}`);
        this.emit('peer-error', { text: event.text });
        return;
      case 'sync':
        this.emit('sync', { text: event.text });
        return;
      case 'command-dropped':
        // The name alone: arguments may hold a secret, as the access token of USER_IP.
        this.#peerLogger.warn({ command: event.line.split(' ', 1)[0]! }, 'too many commands wait: one was dropped');
        this.emit('command-dropped', { line: event.line });
        return;
      default:
        assertNever(event);
    }
  }

  #handleFailed(subscription: Runner, error: RowcastError): void {
    const isTaken = this.#starting.fail(error);
    // Those that are left may all be live.
    this.#starting.check();
    const onEnd = this.#endings.get(subscription);
    this.#endings.delete(subscription);
    if (onEnd !== undefined) onEnd(error);
    else this.#handleError(subscription, error, isTaken);
  }

  #handleError(subscription: Runner, error: RowcastError, isTaken = false): void {
    this.#logger.error({ stream: subscription.stream, code: error.code }, error.message);
    this.#report(error, () => isTaken || subscription.isDoneTaken);
  }

  /** Emits later: what was called when it failed has returned by then, and its caller may listen. */
  #report(error: RowcastError, isTaken: () => boolean = () => false): void {
    queueMicrotask(() => {
      if (!isTaken()) this.emit('error', error);
    });
  }

  /** The checkpoint is only read, so what is applied counts as saved. */
  #handleSaved({ machine }: Runner): void {
    const { applied, lineage } = machine!.delivery;
    if (applied !== undefined) this.#follower.handleSaved(this.#pump.roughlyNow, machine!, applied, lineage);
  }

  #stoppedError(): UsageError {
    return new UsageError('CLOSED', `worker ${this.name} was stopped`);
  }

  #checkOpen(): void {
    if (this.#stopping !== undefined) throw this.#stoppedError();
  }
}
