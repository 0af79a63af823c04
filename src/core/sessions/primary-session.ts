/**
 * Protocol state of one connection, seen from the primary (docs/protocol.md). Knows no log, socket
 * or clock. Its streams are in replicated-streams.ts.
 *
 *   opening ──handleOpen──▶ established ──fault, stop, slow──▶ draining ──handleClosed──▶ closed
 */

import { assert } from '../../base/assert.ts';
import { utf8 } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import { cutText, PeerError, quote, type RowcastError } from '../model/errors.ts';
import { type History, logIdOf } from '../model/history.ts';
import type { Page, Verdict } from '../model/page.ts';
import { LONGEST_WORKER_NAME, type StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { decodeCommand, encodeCommand } from '../wire/codec.ts';
import type { Command, Dialect, UpstreamCommand } from '../wire/command.ts';
import { allEras, formatPrimaryGreeting, parseWorkerGreeting } from '../wire/greeting.ts';
import { LineCutter } from '../wire/lines.ts';
import { pageLines } from '../wire/page-lines.ts';
import { KeepAlive } from './keep-alive.ts';
import { Outflow } from './outflow.ts';
import type { ReadRequest } from './page-reads.ts';
import type { JudgeRequest } from './pending-verdicts.ts';
import { ReplicatedStreams } from './replicated-streams.ts';
import { slowConsumer } from './stream-refusals.ts';
import type { ReplicatedStreamsOptions, StreamEvent, StreamsHost } from './streams-host.ts';
import type { SubscriptionStatus } from './subscription-status.ts';
import { LINE_COST, Turn } from './turn.ts';

export interface PrimarySessionOptions extends ReplicatedStreamsOptions {
  readonly serverName: string;
}

export type PrimaryOutput =
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  /**
   * Check whether a position is on the log's history. The answer comes by handleVerdict or
   * handleJudgeFailed.
   */
  | JudgeRequest
  /** Read the log. The answer comes by handlePage or handleReadFailed. */
  | ReadRequest
  | { readonly kind: 'event'; readonly event: PrimarySessionEvent }
  /** Stop and resume reading from the connection. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** Send what was transmitted, then end the connection. */
  | { readonly kind: 'close'; readonly reason: RowcastError | undefined }
  /** End the connection at once. */
  | { readonly kind: 'abort' };

export type PrimarySessionEvent =
  | { readonly kind: 'named'; readonly workerName: string }
  | { readonly kind: 'command'; readonly command: UpstreamCommand }
  /** The worker sent ERROR. */
  | { readonly kind: 'peer-error'; readonly text: string }
  | StreamEvent
  /** We answered ERROR and close. */
  | { readonly kind: 'failed'; readonly error: RowcastError };

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'established'; readonly keepAlive: KeepAlive }
  | { readonly kind: 'draining'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'closed' };

/** What the peer speaks, by its first PING. */
interface Peer {
  readonly dialect: Dialect;
  readonly wantsAttributes: boolean;
}

export class PrimarySession {
  readonly #options: PrimarySessionOptions;
  readonly #lines: LineCutter;
  readonly #outputs = new Queue<PrimaryOutput>();
  /** How many outputs of the kind `transmit` wait in #outputs. */
  #untransmitted = 0;
  readonly #outflow = new Outflow();
  readonly #turn = new Turn();
  readonly #streams: ReplicatedStreams;
  #state: State = { kind: 'opening' };
  #peer: Peer = { dialect: 'seed', wantsAttributes: false };
  #isPinged = false;
  /** The eras that the peer was told, by our greeting or by ERA. */
  #greeted: readonly History[] = [];
  #isPaused = false;
  #workerName: string | undefined;

  constructor(options: PrimarySessionOptions) {
    this.#options = options;
    this.#lines = new LineCutter(options.limits.maxLineBytes);
    this.#streams = new ReplicatedStreams(options, this.#hostOfStreams());
  }

  get workerName(): string | undefined {
    return this.#workerName;
  }

  /** How many streams are replicated, and how many of them are live. */
  get replications(): { readonly count: number; readonly live: number } {
    return { count: this.#streams.table.count, live: this.#streams.table.liveCount };
  }

  /** All streams of the connection. For one that may have very many, ask by name. */
  get subscriptions(): SubscriptionStatus[] {
    return this.#streams.table.describeAll();
  }

  /** One stream of the connection. Undefined when it is not replicated. */
  subscription(stream: StreamName): SubscriptionStatus | undefined {
    return this.#streams.table.describe(stream);
  }

  isReplicating(stream: StreamName): boolean {
    return this.#streams.table.has(stream);
  }

  /** The names of all streams that are replicated. */
  get replicated(): Iterable<StreamName> {
    return this.#streams.table.names();
  }

  /** What the worker has saved of a replication, for retention. Undefined while it told nothing. */
  acknowledged(stream: StreamName): Token | undefined {
    return this.#streams.table.get(stream)?.acknowledged;
  }

  /** The peer speaks rowcast/2, so it says what it has saved. */
  get isRowcast(): boolean {
    return this.#peer.dialect !== 'seed';
  }

  /** Streams that are made later are replicated, too: ALL was asked for. */
  get includesMade(): boolean {
    return this.#streams.includesMade;
  }

  /** At least one stream is not live yet: old rows are read, with no end in sight. */
  get isCatchingUp(): boolean {
    const { count, liveCount } = this.#streams.table;
    return liveCount < count;
  }

  handleOpen(now: Millis): void {
    // The primary may have stopped since the connection was accepted.
    if (this.#state.kind === 'draining') return;
    assert(this.#state.kind === 'opening', 'a session to open once');
    this.#state = { kind: 'established', keepAlive: new KeepAlive(this.#options.limits, now) };
    this.#send(now, { name: 'SERVER', serverName: this.#options.serverName });
    const { eras } = this.#options.streams;
    this.#greeted = allEras(eras);
    this.#send(now, { name: 'PING', data: formatPrimaryGreeting(now, eras) });
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    // After our ERROR, input is read and dropped. Unread input would make the system cut the ERROR
    // off.
    if (this.#state.kind !== 'established') return;
    this.#state.keepAlive.handleReceived(now);
    this.#lines.push(chunk);
    this.#takeLines(now);
  }

  /** A stream's `latest` moved. */
  handleHint(now: Millis, stream: StreamName): void {
    if (this.#state.kind === 'established') this.#streams.handleHint(now, stream);
  }

  /** A stream was made. Its first rows are announced after this. */
  handleMade(now: Millis, stream: StreamName): void {
    if (this.#state.kind === 'established') this.#streams.handleMade(now, stream);
  }

  handleDeleted(now: Millis, stream: StreamName): void {
    if (this.#state.kind === 'established') this.#streams.handleDeleted(now, stream);
  }

  /** Rows of a stream were taken back. */
  handleRebased(now: Millis, stream: StreamName): void {
    if (this.#state.kind === 'established') this.#streams.handleRebased(now, stream);
  }

  /** A log has begun another era. */
  handleEra(now: Millis, era: History): void {
    // A log may tell of an era that it had when we greeted. The first PING of a peer that has not
    // said yet that it is Rowcast makes up for the others.
    const isTold = this.#peer.dialect === 'seed' || this.#greeted.includes(era);
    if (this.#state.kind !== 'established' || isTold) return;
    this.#greeted = [...this.#greeted.filter((other) => logIdOf(other) !== logIdOf(era)), era];
    this.#streams.handleEra(now, era);
  }

  handleVerdict(now: Millis, request: JudgeRequest, verdict: Verdict): void {
    this.#streams.handleVerdict(now, request, verdict);
  }

  handleJudgeFailed(now: Millis, request: JudgeRequest, error: RowcastError): void {
    this.#streams.handleJudgeFailed(now, request, error);
  }

  handlePage(now: Millis, request: ReadRequest, page: Page): void {
    this.#streams.handlePage(now, request, page);
  }

  handleReadFailed(now: Millis, request: ReadRequest, error: RowcastError): void {
    this.#streams.handleReadFailed(now, request, error);
  }

  /** The system has taken everything that was transmitted, so the next page may be requested. */
  handleDrained(now: Millis): void {
    // The socket took a line at once while a page waits behind it. That says nothing about the
    // page.
    if (this.#untransmitted > 0) return;
    this.#outflow.handleDrained(now);
    this.#streams.handleDrained(now);
    if (this.#isPaused) this.#takeLines(now);
  }

  /** Reports how many transmitted bytes the system has not taken. Call it before handleTimeout. */
  handleProgress(now: Millis, unsentBytes: number): void {
    this.#outflow.handleProgress(now, unsentBytes);
  }

  handleTimeout(now: Millis): void {
    const state = this.#state;
    if (state.kind === 'draining' && now >= state.until && !state.isAborted) {
      state.isAborted = true;
      this.#outputs.push({ kind: 'abort' });
    }
    if (state.kind !== 'established') return;
    const { idleTimeoutMs, stalledTimeoutMs } = this.#options.limits;
    if (state.keepAlive.isIdle(now)) {
      this.#fail(now, new PeerError('IDLE_TIMEOUT', `nothing came for ${idleTimeoutMs} ms`), 'ping timeout');
    } else if (now >= this.#outflow.blockedSince + stalledTimeoutMs) {
      const why = `its socket took no byte for ${stalledTimeoutMs} ms`;
      this.#fail(now, slowConsumer(this.#workerTitle, why), 'Failed to keep up');
    } else {
      this.#streams.handleTimeout(now);
      this.#beginTurn(now);
      if (state.keepAlive.isPingDue(now)) this.#send(now, { name: 'PING', data: String(Math.floor(now)) });
    }
  }

  /**
   * Sends SYNC, which the worker emits as `sync`.
   * @throws UsageError INVALID_COMMAND
   */
  handleSync(now: Millis, text: string): void {
    if (this.#state.kind === 'established') this.#send(now, { name: 'SYNC', text });
  }

  /** The primary stops: sends ERROR and ends the connection. */
  handleStop(now: Millis): void {
    if (this.#state.kind === 'established') this.#drain(now, 'server stopping', undefined);
    else if (this.#state.kind === 'opening') this.#close(now, undefined);
  }

  handleClosed(): void {
    this.#state = { kind: 'closed' };
    this.#outputs.clear();
    this.#streams.clear();
  }

  pollOutput(): PrimaryOutput | undefined {
    const read = this.#outputs.length > 0 ? undefined : this.#streams.pollRead();
    if (read !== undefined) return read;
    const output = this.#outputs.shift();
    if (output?.kind === 'transmit') this.#untransmitted--;
    return output;
  }

  nextTimeout(): Millis | undefined {
    switch (this.#state.kind) {
      case 'draining':
        return this.#state.isAborted ? undefined : this.#state.until;
      case 'established':
        return Math.min(
          this.#state.keepAlive.nextTimeout,
          this.#outflow.blockedSince + this.#options.limits.stalledTimeoutMs,
          this.#streams.nextTimeout,
          this.#turn.nextTimeout,
        );
      default:
        return undefined;
    }
  }

  #beginTurn(now: Millis): void {
    if (!this.#turn.isOver) return;
    this.#turn.beginNext();
    if (this.#isPaused) this.#takeLines(now);
  }

  /** Answers requests while the socket takes the answers and the turn lasts. */
  #takeLines(now: Millis): void {
    try {
      while (this.#state.kind === 'established') {
        if (!this.#streams.mayAnswer || !this.#streams.goOnWithAll(now)) return this.#pause();
        const line = this.#lines.next();
        if (line === undefined) return this.#resume(now);
        this.#turn.spend(now, line.length + LINE_COST);
        this.#handleCommand(now, decodeCommand(line, 'worker', this.#peer.dialect));
      }
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) throw thrown;
      this.#fail(now, thrown);
    }
  }

  #pause(): void {
    if (this.#isPaused || this.#state.kind !== 'established') return;
    this.#isPaused = true;
    this.#state.keepAlive.handlePaused();
    this.#outputs.push({ kind: 'pause' });
  }

  #resume(now: Millis): void {
    if (!this.#isPaused || this.#state.kind !== 'established') return;
    this.#isPaused = false;
    this.#state.keepAlive.handleResumed(now);
    this.#outputs.push({ kind: 'resume' });
  }

  #handleCommand(now: Millis, command: Command): void {
    switch (command.name) {
      case 'PING':
        return this.#handlePing(now, command.data);
      case 'NAME':
        this.#workerName = cutText(command.workerName, LONGEST_WORKER_NAME);
        return this.#emit({ kind: 'named', workerName: this.#workerName });
      case 'REPLICATE':
        if (command.stream === 'ALL') return this.#streams.replicateAll(command.from);
        return this.#streams.replicate(now, command.stream, command.from, command.history);
      case 'RELEASE':
        return this.#streams.release(now, command.stream);
      case 'APPLIED':
        return this.#streams.handleApplied(command.stream, command.applied, command.saved);
      case 'ERROR':
        return this.#emit({ kind: 'peer-error', text: command.text });
      case 'USER_SYNC':
      case 'FEDERATION_ACK':
      case 'REMOVE_PUSHER':
      case 'INVALIDATE_CACHE':
      case 'USER_IP':
      case 'SYNC':
        return this.#emit({ kind: 'command', command });
      default:
        return assert(false, `the codec to refuse ${command.name} from a worker`);
    }
  }

  #handlePing(now: Millis, data: string): void {
    if (this.#state.kind === 'established') this.#state.keepAlive.handlePing();
    if (this.#isPinged) return;
    this.#isPinged = true;
    const greeting = parseWorkerGreeting(data);
    if (greeting === undefined) return;
    this.#peer = { dialect: 'rowcast/2', wantsAttributes: greeting.wantsAttributes };
    // A log may have begun another era between our greeting and this PING.
    for (const era of allEras(this.#options.streams.eras)) if (!this.#greeted.includes(era)) this.handleEra(now, era);
  }

  #fail(now: Millis, error: RowcastError, text: string = error.message): void {
    this.#emit({ kind: 'failed', error });
    this.#drain(now, text, error);
  }

  #drain(now: Millis, text: string, reason: RowcastError | undefined): void {
    this.#send(now, { name: 'ERROR', text });
    // Input that still comes is read and dropped.
    this.#resume(now);
    this.#close(now, reason);
  }

  #close(now: Millis, reason: RowcastError | undefined): void {
    this.#outputs.push({ kind: 'close', reason });
    this.#state = { kind: 'draining', until: now + this.#options.limits.flushTimeoutMs, isAborted: false };
  }

  #send(now: Millis, command: Command): void {
    const line = utf8(`${encodeCommand(command)}\n`);
    this.#outflow.handleLine(now, line.length);
    this.#transmit(now, line);
  }

  #transmitPage(now: Millis, page: Page): void {
    const lines = pageLines(page, this.#peer.wantsAttributes);
    this.#outflow.handlePage(now, lines.length);
    this.#transmit(now, lines);
  }

  #transmit(now: Millis, bytes: Uint8Array): void {
    this.#outputs.push({ kind: 'transmit', bytes });
    this.#untransmitted++;
    if (this.#state.kind === 'established') this.#state.keepAlive.handleSent(now);
  }

  #emit(event: PrimarySessionEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }

  /** A name for messages, also where the worker gave none. */
  get #workerTitle(): string {
    return this.#workerName === undefined ? '(no name)' : quote(this.#workerName);
  }

  #hostOfStreams(): StreamsHost {
    // oxlint-disable-next-line typescript/no-this-alias -- the getters below are of another object
    const session = this;
    return {
      outflow: this.#outflow,
      turn: this.#turn,
      get dialect() {
        return session.#peer.dialect;
      },
      get workerTitle() {
        return session.#workerTitle;
      },
      get isEstablished() {
        return session.#state.kind === 'established';
      },
      send: (now, command) => this.#send(now, command),
      sendPage: (now, page) => this.#transmitPage(now, page),
      judge: (request) => this.#outputs.push(request),
      emit: (event) => this.#emit(event),
      fail: (now, error, text) => this.#fail(now, error, text),
    };
  }
}
