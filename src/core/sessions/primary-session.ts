/**
 * Protocol state of one connection, seen from the primary (docs/protocol.md). Knows no log, socket
 * or clock.
 *
 * Old rows and new rows take one path. A replication that is behind, on a socket that takes bytes,
 * asks for one page and transmits it, until nothing is left. Then it sends POSITION once, and goes
 * on with hints.
 *
 *   opening ──handleOpen──▶ established ──fault, stop, slow──▶ draining ──handleClosed──▶ closed
 */

import { assert } from '../../base/assert.ts';
import { utf8 } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import { PeerError, type RowcastError } from '../model/errors.ts';
import { type History, logIdOf } from '../model/history.ts';
import type { Bounds, Page, Verdict } from '../model/page.ts';
import { formatPosition, type Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { decodeCommand, encodeCommand } from '../wire/codec.ts';
import type { Command, Dialect, RefusalCode, RefusalFacts, UpstreamCommand } from '../wire/command.ts';
import { formatPrimaryGreeting, parseWorkerGreeting, type PrimaryEras } from '../wire/greeting.ts';
import type { PrimaryLimits } from '../wire/limits.ts';
import { LineCutter } from '../wire/lines.ts';
import { pageLines } from '../wire/page-lines.ts';
import { KeepAlive } from './keep-alive.ts';
import { Outflow } from './outflow.ts';
import { Replication } from './replication.ts';
import type { StreamState, StreamTable } from './stream-table.ts';

export interface PrimarySessionOptions {
  readonly serverName: string;
  readonly streams: StreamTable;
  readonly limits: PrimaryLimits;
  /**
   * What happens to a live stream that is over maxLagRows. A socket that takes no byte for
   * stalledTimeoutMs is always cut.
   */
  readonly slowConsumer: 'disconnect' | 'catch-up';
  /**
   * What a peer that is not Rowcast gets when it asks for rows that are no longer kept: the rows
   * that are kept, or ERROR.
   */
  readonly trimmed: 'serve' | 'refuse';
}

export type PrimaryOutput =
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  /**
   * Check whether a position is on the log's history. The answer comes by handleVerdict or
   * handleJudgeFailed.
   */
  | ({ readonly kind: 'judge' } & JudgeRequest)
  /** Read the log. The answer comes by handlePage or handleReadFailed. */
  | { readonly kind: 'read'; readonly stream: StreamName; readonly after: Token; readonly maxBytes: number }
  | { readonly kind: 'event'; readonly event: PrimarySessionEvent }
  /** Stop and resume reading from the connection. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** Send what was transmitted, then end the connection. */
  | { readonly kind: 'close'; readonly reason: RowcastError | undefined }
  /** End the connection at once. */
  | { readonly kind: 'abort' };

/** Asks, for one REPLICATE, whether its position is on the log's history. */
export interface JudgeRequest {
  readonly position: Position;
  readonly replication: number;
}

export type PrimarySessionEvent =
  | { readonly kind: 'named'; readonly workerName: string }
  | { readonly kind: 'subscribed'; readonly stream: StreamName; readonly from: Token | 'START' | 'NOW' }
  | { readonly kind: 'live'; readonly stream: StreamName; readonly token: Token }
  | { readonly kind: 'command'; readonly command: UpstreamCommand }
  /** The worker sent ERROR. */
  | { readonly kind: 'peer-error'; readonly text: string }
  /** A stream is not replicated, or not from the requested position. The connection goes on. */
  | { readonly kind: 'refused'; readonly error: RowcastError }
  /** We answered ERROR and close. */
  | { readonly kind: 'failed'; readonly error: RowcastError };

/** One stream on one connection. docs/protocol.md, "Words", defines sent, applied and saved. */
export interface SubscriptionStatus {
  readonly stream: StreamName;
  readonly state: 'judging' | 'catching-up' | 'live';
  readonly sent: Token;
  readonly sentLagRows: number;
  /** Undefined until the worker reports it with APPLIED. Only Rowcast workers do. */
  readonly applied: Token | undefined;
  readonly appliedLagRows: number | undefined;
  readonly saved: Token | undefined;
}

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
  readonly #replications = new Map<StreamName, Replication>();
  readonly #waiting = new Queue<Replication>();
  #state: State = { kind: 'opening' };
  #peer: Peer = { dialect: 'seed', wantsAttributes: false };
  #isPinged = false;
  /** The eras that our greeting named. */
  #greeted: PrimaryEras | undefined;
  #isPaused = false;
  #workerName: string | undefined;
  #reading: { readonly replication: Replication; readonly after: Token } | undefined;
  #lastNumber = 0;
  #notLive = 0;

  constructor(options: PrimarySessionOptions) {
    this.#options = options;
    this.#lines = new LineCutter(options.limits.maxLineBytes);
  }

  get workerName(): string | undefined {
    return this.#workerName;
  }

  get subscriptions(): SubscriptionStatus[] {
    return [...this.#replications.values()].map((replication) => this.#describe(replication));
  }

  /** At least one stream is not live yet: old rows are read, with no end in sight. */
  get isCatchingUp(): boolean {
    return this.#notLive > 0;
  }

  handleOpen(now: Millis): void {
    // The primary may have stopped since the connection was accepted.
    if (this.#state.kind === 'draining') return;
    assert(this.#state.kind === 'opening', 'a session to open once');
    this.#state = { kind: 'established', keepAlive: new KeepAlive(this.#options.limits, now) };
    this.#send(now, { name: 'SERVER', serverName: this.#options.serverName });
    this.#greeted = this.#options.streams.eras;
    this.#send(now, { name: 'PING', data: formatPrimaryGreeting(now, this.#greeted) });
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
    const replication = this.#replications.get(stream);
    if (replication === undefined || this.#state.kind !== 'established') return;
    const { state } = replication;
    if (state.kind !== 'live' && state.kind !== 'catching-up') return;
    const { bounds, appendedRows } = this.#options.streams.get(stream)!;
    const isBehind = state.sent.token < bounds.latest;
    if (isBehind) this.#enqueue(replication);
    if (state.kind !== 'live') return;
    // The rows were read before they were announced.
    if (!isBehind) return replication.move('page', { ...state, rows: appendedRows });
    if (this.#options.slowConsumer !== 'disconnect') return;
    const lagRows = appendedRows - state.rows;
    const { maxLagRows } = this.#options.limits;
    if (lagRows > maxLagRows) this.#failSlow(now, `${lagRows} rows behind on ${stream}, over maxLagRows ${maxLagRows}`);
  }

  /** A log has begun another era. */
  handleEra(now: Millis, era: History): void {
    if (this.#state.kind !== 'established' || this.#peer.dialect === 'seed') return;
    this.#send(now, { name: 'ERA', era });
    for (const replication of this.#replications.values()) {
      const { state, stream } = replication;
      if (state.kind !== 'live') continue;
      const { bounds } = this.#options.streams.get(stream)!;
      if (logIdOf(bounds.history) !== logIdOf(era)) continue;
      // POSITION after ERA says that everything of the earlier eras was sent.
      if (state.sent.token < bounds.latest) {
        replication.owesPosition = true;
        this.#enqueue(replication);
      } else this.#sendPosition(now, replication);
    }
  }

  handleVerdict(now: Millis, { position, replication: number }: JudgeRequest, verdict: Verdict): void {
    const replication = this.#judged(position.stream, number);
    if (replication === undefined) return;
    switch (verdict) {
      case 'on':
        return this.#begin(now, replication, position);
      case 'gap':
        return this.#handleGap(now, replication, position.token);
      case 'reset':
      case 'ahead':
        return this.#handleOffHistory(now, replication, position, verdict);
    }
  }

  handleJudgeFailed(now: Millis, { position, replication: number }: JudgeRequest, error: RowcastError): void {
    const replication = this.#judged(position.stream, number);
    if (replication !== undefined) this.#handleUnavailable(now, replication, error);
  }

  handlePage(now: Millis, page: Page): void {
    const reading = this.#takeReading(page.stream);
    if (reading === undefined) return;
    const { replication, after } = reading;
    const { bounds, appendedRows } = this.#options.streams.get(page.stream)!;
    const { state } = replication;
    const before = replication.sent ?? { began: after, token: after, named: undefined };
    assert(page.upTo > before.token || page.upTo >= bounds.latest, 'a page to move the position');
    const isMovedWithoutRows = page.rows === 0 && page.upTo > before.token;
    let { named } = before;
    if (page.rows > 0) {
      if (named !== page.history && this.#peer.dialect !== 'seed') {
        this.#send(now, { name: 'HISTORY', stream: page.stream, after, history: page.history });
        named = page.history;
      }
      this.#transmitPage(now, page);
    }
    const sent = { began: before.began, token: Math.max(page.upTo, before.token), named };
    const isCaughtUp = sent.token >= bounds.latest;
    if (state.kind === 'live') {
      const rows = isCaughtUp ? appendedRows : state.rows + page.rows;
      replication.move(isCaughtUp ? 'caught-up' : 'page', { kind: 'live', sent, rows });
      if (!isCaughtUp) this.#enqueue(replication);
      else if (isMovedWithoutRows || replication.owesPosition) this.#sendPosition(now, replication);
      return;
    }
    if (isCaughtUp) return this.#goLive(now, replication, 'caught-up', sent);
    replication.move('page', { kind: 'catching-up', sent });
    this.#enqueue(replication);
  }

  handleReadFailed(now: Millis, stream: StreamName, error: RowcastError): void {
    const reading = this.#takeReading(stream);
    if (reading === undefined) return;
    const { replication, after } = reading;
    if (error.code !== 'LOG_GAP') return this.#handleUnavailable(now, replication, error);
    // The earliest row moved on while the first page was read, so it is looked up again.
    if (replication.state.kind === 'starting') this.#enqueue(replication);
    else this.#handleGap(now, replication, after);
  }

  /** The system has taken everything that was transmitted, so the next page may be requested. */
  handleDrained(now: Millis): void {
    // The socket took a line at once while a page waits behind it. That says nothing about the
    // page.
    if (this.#untransmitted > 0) return;
    this.#outflow.handleDrained(now);
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
      this.#failSlow(now, `its socket took no byte for ${stalledTimeoutMs} ms`);
    } else if (state.keepAlive.isPingDue(now)) {
      this.#send(now, { name: 'PING', data: String(Math.floor(now)) });
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
    this.#waiting.clear();
    this.#reading = undefined;
  }

  pollOutput(): PrimaryOutput | undefined {
    const output = this.#outputs.shift();
    if (output?.kind === 'transmit') this.#untransmitted--;
    return output ?? this.#nextRead();
  }

  nextTimeout(): Millis | undefined {
    switch (this.#state.kind) {
      case 'draining':
        return this.#state.isAborted ? undefined : this.#state.until;
      case 'established':
        return Math.min(
          this.#state.keepAlive.nextTimeout,
          this.#outflow.blockedSince + this.#options.limits.stalledTimeoutMs,
        );
      default:
        return undefined;
    }
  }

  /** Answers requests while the socket takes the answers. */
  #takeLines(now: Millis): void {
    try {
      while (this.#state.kind === 'established') {
        if (this.#outflow.isFlooded) return this.#pause();
        const line = this.#lines.next();
        if (line === undefined) return this.#resume(now);
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
        this.#workerName = command.workerName;
        return this.#emit({ kind: 'named', workerName: command.workerName });
      case 'REPLICATE':
        for (const stream of command.stream === 'ALL' ? this.#options.streams.names() : [command.stream]) {
          if (this.#state.kind === 'established') this.#replicate(now, stream, command.from, command.history);
        }
        return;
      case 'RELEASE':
        return this.#release(now, command.stream);
      case 'APPLIED':
        return this.#replications.get(command.stream)?.handleApplied(command.applied, command.saved);
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
    const { durable, volatile } = this.#options.streams.eras;
    if (durable !== this.#greeted?.durable) this.handleEra(now, durable);
    if (volatile !== this.#greeted?.volatile) this.handleEra(now, volatile);
  }

  #replicate(now: Millis, stream: StreamName, from: Token | 'START' | 'NOW', history: History | undefined): void {
    const isSeed = this.#peer.dialect === 'seed';
    const found = isSeed && stream.startsWith('$') ? undefined : this.#options.streams.get(stream);
    if (found === undefined) return this.#refuseUnknown(now, stream);
    // For a seed peer, another REPLICATE starts the stream afresh.
    if (isSeed) this.#end(stream);
    const replication = this.#replications.get(stream) ?? new Replication(stream, ++this.#lastNumber);
    const { bounds, appendedRows } = found;
    if (from === 'NOW') {
      const sent = { began: bounds.latest, token: bounds.latest, named: undefined };
      replication.move('now', { kind: 'live', sent, rows: appendedRows });
    } else if (from === 'START') {
      replication.move('start', { kind: 'starting' });
    } else {
      replication.move('replicate', { kind: 'judging', position: { stream, token: from, history } });
    }
    this.#replications.set(stream, replication);
    this.#emit({ kind: 'subscribed', stream, from });
    if (replication.isLive) return this.#announceLive(now, replication);
    this.#notLive++;
    this.#outflow.handleRequest();
    const { state } = replication;
    if (state.kind === 'starting') this.#enqueue(replication);
    else if (state.kind === 'judging') {
      this.#outputs.push({ kind: 'judge', position: state.position, replication: replication.number });
    }
  }

  #refuseUnknown(now: Millis, stream: StreamName): void {
    const error = new PeerError('UNKNOWN_STREAM', `unknown stream ${stream}`, { facts: { stream } });
    if (this.#peer.dialect === 'seed') return this.#fail(now, error);
    this.#sendRefusal(now, stream, 'UNKNOWN_STREAM', {}, error);
  }

  #release(now: Millis, stream: StreamName): void {
    this.#end(stream);
    this.#send(now, { name: 'RELEASED', stream });
  }

  /** Ends the replication of a stream, if there is one. */
  #end(stream: StreamName): void {
    const replication = this.#replications.get(stream);
    if (replication === undefined) return;
    if (!replication.isLive) this.#notLive--;
    replication.move('release', { kind: 'idle' });
    this.#replications.delete(stream);
  }

  /** The replication that a verdict is for; undefined when it has ended meanwhile. */
  #judged(stream: StreamName, number: number): Replication | undefined {
    const replication = this.#replications.get(stream);
    return this.#state.kind === 'established' && replication?.number === number ? replication : undefined;
  }

  #begin(now: Millis, replication: Replication, { token, history }: Position): void {
    const { bounds } = this.#options.streams.get(replication.stream)!;
    const sent = { began: token, token, named: history };
    replication.move('on', { kind: 'catching-up', sent });
    if (token >= bounds.latest) this.#goLive(now, replication, 'caught-up', sent);
    else this.#enqueue(replication);
  }

  /** Rows after the token are no longer kept. */
  #handleGap(now: Millis, replication: Replication, asked: Token): void {
    const { stream } = replication;
    const { bounds } = this.#options.streams.get(stream)!;
    const { earliest } = bounds;
    const facts = { stream, earliest, asked };
    if (this.#peer.dialect !== 'seed') {
      const text = `rows of stream ${stream} after ${asked} are no longer kept: it starts at ${earliest}`;
      return this.#refuse(now, replication, 'GAP', new PeerError('GAP', text, { facts }));
    }
    if (this.#options.trimmed === 'refuse') {
      return this.#fail(
        now,
        new PeerError('GAP', `stream ${stream} starts at ${earliest}, asked for ${asked}`, { facts }),
      );
    }
    const name = this.#workerName ?? '(no name)';
    const text = `worker ${name} asked for stream ${stream} after ${asked}, which starts at ${earliest}: it gets what is kept`;
    this.#emit({ kind: 'refused', error: new PeerError('TRIMMED', text, { facts }) });
    const sent = { began: earliest - 1, token: earliest - 1, named: undefined };
    const input = replication.state.kind === 'judging' ? 'on' : 'page';
    if (replication.state.kind === 'live') replication.move(input, { ...replication.state, sent });
    else replication.move(input, { kind: 'catching-up', sent });
    if (sent.token < bounds.latest) {
      replication.owesPosition = replication.isLive;
      this.#enqueue(replication);
    } else if (replication.isLive) this.#sendPosition(now, replication);
    else this.#goLive(now, replication, 'caught-up', sent);
  }

  /** The position is of another history, or ahead of the rows that are here. */
  #handleOffHistory(now: Millis, replication: Replication, position: Position, verdict: 'reset' | 'ahead'): void {
    const { stream } = replication;
    const { bounds } = this.#options.streams.get(stream)!;
    if (this.#peer.dialect === 'seed') {
      // A worker that keeps its position in its own database knows what it has. It gets POSITION
      // alone, and no row twice.
      const sent = { began: bounds.latest, token: bounds.latest, named: undefined };
      replication.move('on', { kind: 'catching-up', sent });
      return this.#goLive(now, replication, 'caught-up', sent);
    }
    const asked = formatPosition(position);
    const facts = { stream, earliest: bounds.earliest, latest: bounds.latest, history: bounds.history, asked };
    const here = `here it reaches from ${bounds.earliest} to ${bounds.latest} of history ${bounds.history}`;
    const error =
      verdict === 'reset'
        ? new PeerError('RESET', `position ${asked} is not on the history of stream ${stream}: ${here}`, { facts })
        : new PeerError('AHEAD', `position ${asked} of stream ${stream} is not reached yet: ${here}`, { facts });
    this.#refuse(now, replication, verdict === 'reset' ? 'RESET' : 'AHEAD', error);
  }

  /** The log's own text may name our files, so the worker is told only what it can act on. */
  #handleUnavailable(now: Millis, replication: Replication, error: RowcastError): void {
    const { stream } = replication;
    if (this.#peer.dialect === 'seed') return this.#fail(now, error, `cannot read stream ${stream}`);
    this.#refuse(now, replication, 'UNAVAILABLE', error);
  }

  #refuse(now: Millis, replication: Replication, code: RefusalCode, error: RowcastError): void {
    const { stream } = replication;
    const { bounds } = this.#options.streams.get(stream)!;
    if (!replication.isLive) this.#notLive--;
    replication.move('refused', { kind: 'idle' });
    this.#replications.delete(stream);
    this.#sendRefusal(now, stream, code, factsOf(bounds), error);
  }

  #sendRefusal(now: Millis, stream: StreamName, code: RefusalCode, facts: RefusalFacts, error: RowcastError): void {
    this.#send(now, { name: 'REFUSED', stream, code, facts });
    this.#emit({ kind: 'refused', error });
  }

  #goLive(now: Millis, replication: Replication, input: 'caught-up', sent: NonNullable<Replication['sent']>): void {
    const { appendedRows } = this.#options.streams.get(replication.stream)!;
    replication.move(input, { kind: 'live', sent, rows: appendedRows });
    this.#notLive--;
    this.#announceLive(now, replication);
  }

  #announceLive(now: Millis, replication: Replication): void {
    const { token } = this.#sendPosition(now, replication);
    this.#emit({ kind: 'live', stream: replication.stream, token });
  }

  #sendPosition(now: Millis, replication: Replication): { token: Token } {
    const { state, stream } = replication;
    assert(state.kind === 'live', 'POSITION to be of a live stream');
    const { token } = state.sent;
    const { history } = this.#options.streams.get(stream)!.bounds;
    replication.owesPosition = false;
    // A seed peer was told no history, and may still greet as Rowcast.
    const named = this.#peer.dialect === 'seed' ? undefined : history;
    replication.move('page', { ...state, sent: { ...state.sent, named } });
    this.#send(now, { name: 'POSITION', stream, token, history: named });
    return { token };
  }

  #enqueue(replication: Replication): void {
    if (replication.isQueued || replication === this.#reading?.replication) return;
    replication.isQueued = true;
    this.#waiting.push(replication);
  }

  /** Reads one page at a time, streams in turn. */
  #nextRead(): PrimaryOutput | undefined {
    while (this.#state.kind === 'established' && !this.#outflow.isBlocked && this.#reading === undefined) {
      const replication = this.#waiting.shift();
      if (replication === undefined) return undefined;
      replication.isQueued = false;
      const { stream, state } = replication;
      if (state.kind === 'idle' || state.kind === 'judging') continue;
      const { bounds } = this.#options.streams.get(stream)!;
      const after = state.kind === 'starting' ? bounds.earliest - 1 : state.sent.token;
      if (after < bounds.latest || state.kind === 'starting') {
        this.#reading = { replication, after };
        return { kind: 'read', stream, after, maxBytes: this.#options.limits.pageBytes };
      }
    }
    return undefined;
  }

  /** The read that an answer belongs to. Undefined when its replication has ended. */
  #takeReading(stream: StreamName): { replication: Replication; after: Token } | undefined {
    const reading = this.#reading;
    this.#reading = undefined;
    if (this.#state.kind !== 'established') return undefined;
    assert(reading?.replication.stream === stream, 'an answer to the read that was asked for');
    return reading.replication === this.#replications.get(stream) ? reading : undefined;
  }

  #failSlow(now: Millis, why: string): void {
    const name = this.#workerName ?? '(no name)';
    this.#fail(now, new PeerError('SLOW_CONSUMER', `worker ${name} did not keep up: ${why}`), 'Failed to keep up');
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
    this.#waiting.clear();
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

  #describe({ stream, state, applied, saved }: Replication): SubscriptionStatus {
    const table: StreamState = this.#options.streams.get(stream)!;
    const { earliest } = table.bounds;
    const sent =
      state.kind === 'live' || state.kind === 'catching-up'
        ? state.sent.token
        : state.kind === 'judging'
          ? state.position.token
          : earliest - 1;
    return {
      stream,
      state: state.kind === 'live' ? 'live' : state.kind === 'judging' ? 'judging' : 'catching-up',
      sent,
      sentLagRows: table.rowsAfter(sent),
      applied,
      appliedLagRows: applied === undefined ? undefined : table.rowsAfter(applied),
      saved,
    };
  }
}

function factsOf({ earliest, latest, history }: Bounds): RefusalFacts {
  return { earliest, latest, history };
}
