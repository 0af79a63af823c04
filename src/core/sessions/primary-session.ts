/**
 * Protocol state of one connection, seen from the primary (docs/protocol.md). Knows no log, socket or clock.
 *
 * Every subscription is a position. There is one path for old rows and new rows: whoever is behind and writable asks
 * for one page, the answer is transmitted, and so on until nothing is left; then POSITION, once, and hints from there on.
 *
 *   opening ──handleOpen──▶ established ──fault, stop, slow──▶ draining ──handleClosed──▶ closed
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { PeerError, type RowcastError } from '../model/errors.ts';
import type { Page } from '../model/page.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { decodeCommand, encodeCommand } from '../wire/codec.ts';
import type { Command, UpstreamCommand } from '../wire/command.ts';
import { formatPrimaryGreeting } from '../wire/greeting.ts';
import { KeepAlive } from './keep-alive.ts';
import type { PrimaryLimits } from '../wire/limits.ts';
import { LineCutter } from '../wire/lines.ts';
import { Outflow } from './outflow.ts';
import type { StreamTable } from './stream-table.ts';

export interface PrimarySessionOptions {
  readonly serverName: string;
  readonly streams: StreamTable;
  readonly limits: PrimaryLimits;
  /** What befalls a live subscription over maxLagRows; one that took no byte for stalledTimeoutMs is always cut. */
  readonly slowConsumer: 'disconnect' | 'catch-up';
}

export type PrimaryOutput =
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  /** Reading the log is an output too; the answer comes back by handlePage or handleReadFailed. */
  | { readonly kind: 'read'; readonly stream: StreamName; readonly after: Token; readonly maxBytes: number }
  | { readonly kind: 'event'; readonly event: PrimarySessionEvent }
  /** Send what was transmitted, then end the connection. */
  | { readonly kind: 'close'; readonly reason: RowcastError | undefined }
  /** End the connection at once. */
  | { readonly kind: 'abort' };

export type PrimarySessionEvent =
  | { readonly kind: 'named'; readonly workerName: string }
  | { readonly kind: 'subscribed'; readonly stream: StreamName; readonly from: Token | 'NOW' }
  | { readonly kind: 'live'; readonly stream: StreamName; readonly token: Token }
  | { readonly kind: 'command'; readonly command: UpstreamCommand }
  /** The worker sent ERROR. */
  | { readonly kind: 'peer-error'; readonly text: string }
  /** We answered ERROR and close. */
  | { readonly kind: 'failed'; readonly error: RowcastError };

export interface SubscriptionStatus {
  readonly stream: StreamName;
  readonly position: Token;
  readonly state: 'catching-up' | 'live';
}

interface Subscription {
  readonly stream: StreamName;
  sent: Token;
  isLive: boolean;
  /** It stands in the queue of those that want a page. */
  isQueued: boolean;
  /** While live: the stream's appendedRows that this subscription has reached. */
  sentRows: number;
}

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'established' }
  | { readonly kind: 'draining'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'closed' };

export class PrimarySession {
  readonly #options: PrimarySessionOptions;
  readonly #lines: LineCutter;
  readonly #outputs: PrimaryOutput[] = [];
  readonly #outflow = new Outflow();
  readonly #subscriptions = new Map<StreamName, Subscription>();
  readonly #waiting: Subscription[] = [];
  #state: State = { kind: 'opening' };
  #keepAlive: KeepAlive | undefined;
  #workerName: string | undefined;
  #reading: Subscription | undefined;

  constructor(options: PrimarySessionOptions) {
    this.#options = options;
    this.#lines = new LineCutter(options.limits.maxLineBytes);
  }

  get workerName(): string | undefined {
    return this.#workerName;
  }

  get subscriptions(): SubscriptionStatus[] {
    return [...this.#subscriptions.values()].map(({ stream, sent, isLive }) => ({
      stream,
      position: sent,
      state: isLive ? 'live' : 'catching-up',
    }));
  }

  /** It reads old rows: there is no end of them in sight. */
  get isCatchingUp(): boolean {
    for (const { isLive } of this.#subscriptions.values()) if (!isLive) return true;
    return false;
  }

  handleOpen(now: Millis): void {
    // The primary may have stopped since the connection was accepted.
    if (this.#state.kind === 'draining') return;
    assert(this.#state.kind === 'opening', 'a session to open once');
    this.#state = { kind: 'established' };
    this.#keepAlive = new KeepAlive(this.#options.limits, now);
    this.#send(now, { name: 'SERVER', serverName: this.#options.serverName });
    this.#send(now, { name: 'PING', data: formatPrimaryGreeting(now, this.#options.streams.histories) });
  }

  handleBytes(now: Millis, chunk: Uint8Array): void {
    // After our ERROR the rest is discarded, not left unread: unread bytes would make the system cut the ERROR off.
    if (this.#state.kind !== 'established') return;
    this.#keepAlive!.handleReceived(now);
    if (this.#outflow.isFlooded) return this.#failSlow(now, 'it asks on and on, and does not read the answers');
    this.#lines.push(chunk);
    try {
      while (this.#state.kind === 'established') {
        const line = this.#lines.next();
        if (line === undefined) return;
        this.#handleCommand(now, decodeCommand(line, 'worker'));
      }
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) throw thrown;
      this.#fail(now, thrown);
    }
  }

  /** A stream's `latest` moved. */
  handleHint(now: Millis, stream: StreamName): void {
    const subscription = this.#subscriptions.get(stream);
    if (subscription === undefined || this.#state.kind !== 'established') return;
    const { latest, appendedRows } = this.#options.streams.get(stream)!;
    // The rows were read before they were announced.
    if (subscription.sent >= latest) subscription.sentRows = appendedRows;
    else this.#enqueue(subscription);
    if (subscription.isLive && this.#options.slowConsumer === 'disconnect') {
      const lagRows = appendedRows - subscription.sentRows;
      if (lagRows > this.#options.limits.maxLagRows)
        this.#failSlow(now, `${lagRows} rows behind on ${stream}, over maxLagRows ${this.#options.limits.maxLagRows}`);
    }
  }

  handlePage(now: Millis, page: Page): void {
    const subscription = this.#takeReading(page.stream);
    if (subscription === undefined) return;
    const { latest, appendedRows } = this.#options.streams.get(page.stream)!;
    assert(page.upTo > subscription.sent || page.upTo >= latest, 'a page to move the position');
    const isMovedWithoutRows = page.rows === 0 && page.upTo > subscription.sent;
    subscription.sent = Math.max(page.upTo, subscription.sent);
    subscription.sentRows = subscription.sent >= latest ? appendedRows : subscription.sentRows + page.rows;
    if (page.rows > 0) {
      this.#outflow.handlePage(now, page.lines.length);
      this.#transmit(now, page.lines);
    }
    if (subscription.sent < latest) this.#enqueue(subscription);
    else this.#handleCaughtUp(now, subscription, isMovedWithoutRows);
  }

  handleReadFailed(now: Millis, stream: StreamName, error: RowcastError): void {
    const subscription = this.#takeReading(stream);
    if (subscription === undefined) return;
    // The log's own text may name files of ours; the worker is told what it can act on.
    if (error.code === 'LOG_GAP')
      this.#failGap(now, subscription.stream, this.#options.streams.get(stream)!.earliest, subscription.sent);
    else this.#fail(now, error, `cannot read stream ${stream}`);
  }

  /** Everything that was transmitted was handed to the system: the next page may be asked for. */
  handleDrained(now: Millis): void {
    this.#outflow.handleDrained(now);
  }

  /** How much of what was transmitted the system has not taken: told before handleTimeout. */
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
    if (this.#keepAlive!.isIdle(now)) {
      this.#fail(now, new PeerError('IDLE_TIMEOUT', `nothing came for ${idleTimeoutMs} ms`), 'ping timeout');
    } else if (now >= this.#outflow.blockedSince + stalledTimeoutMs) {
      this.#failSlow(now, `its socket took no byte for ${stalledTimeoutMs} ms`);
    } else if (this.#keepAlive!.isPingDue(now)) {
      this.#send(now, { name: 'PING', data: String(Math.floor(now)) });
    }
  }

  /** Wakes whoever waits for this text at the other end. @throws UsageError INVALID_COMMAND */
  handleSync(now: Millis, text: string): void {
    if (this.#state.kind === 'established') this.#send(now, { name: 'SYNC', text });
  }

  /** The primary stops: says so and ends the connection. */
  handleStop(now: Millis): void {
    if (this.#state.kind === 'established') this.#drain(now, 'server stopping', undefined);
    else if (this.#state.kind === 'opening') this.#close(now, undefined);
  }

  handleClosed(): void {
    this.#state = { kind: 'closed' };
    this.#outputs.length = 0;
    this.#waiting.length = 0;
    this.#reading = undefined;
  }

  pollOutput(): PrimaryOutput | undefined {
    return this.#outputs.shift() ?? this.#nextRead();
  }

  nextTimeout(): Millis | undefined {
    switch (this.#state.kind) {
      case 'draining':
        return this.#state.isAborted ? undefined : this.#state.until;
      case 'established':
        return Math.min(
          this.#keepAlive!.nextTimeout,
          this.#outflow.blockedSince + this.#options.limits.stalledTimeoutMs,
        );
      default:
        return undefined;
    }
  }

  #handleCommand(now: Millis, command: Command): void {
    switch (command.name) {
      case 'PING':
        return this.#keepAlive!.handlePing();
      case 'NAME':
        this.#workerName = command.workerName;
        return this.#emit({ kind: 'named', workerName: command.workerName });
      case 'REPLICATE':
        for (const stream of command.stream === 'ALL' ? this.#options.streams.names() : [command.stream]) {
          if (this.#state.kind === 'established') this.#subscribe(now, stream, command.from);
        }
        return;
      case 'ERROR':
        return this.#emit({ kind: 'peer-error', text: command.text });
      case 'SERVER':
      case 'RDATA':
      case 'POSITION':
        return assert(false, `the codec to refuse ${command.name} from a worker`);
      default:
        return this.#emit({ kind: 'command', command });
    }
  }

  #subscribe(now: Millis, stream: StreamName, from: Token | 'NOW'): void {
    const bounds = this.#options.streams.get(stream);
    if (bounds === undefined) return this.#fail(now, new PeerError('UNKNOWN_STREAM', `unknown stream ${stream}`));
    const { earliest, latest } = bounds;
    if (from !== 'NOW' && from < earliest - 1) return this.#failGap(now, stream, earliest, from);
    const isAhead = from !== 'NOW' && from > latest;
    // A token that this history never gave: the worker followed another one, so it starts at the beginning of this one.
    const sent = from === 'NOW' ? latest : isAhead ? earliest - 1 : from;
    const replaced = this.#subscriptions.get(stream);
    if (replaced?.isQueued === true) this.#waiting.splice(this.#waiting.indexOf(replaced), 1);
    const subscription: Subscription = { stream, sent, isLive: false, isQueued: false, sentRows: 0 };
    this.#subscriptions.set(stream, subscription);
    this.#emit({ kind: 'subscribed', stream, from });
    // Also where nothing is kept: the first POSITION rewinds the worker, the second says that it has caught up.
    if (isAhead) this.#send(now, { name: 'POSITION', stream, token: sent });
    if (sent >= latest) return this.#handleCaughtUp(now, subscription, true);
    this.#enqueue(subscription);
  }

  #handleCaughtUp(now: Millis, subscription: Subscription, isMovedWithoutRows: boolean): void {
    const { stream, sent, isLive } = subscription;
    if (isLive && !isMovedWithoutRows) return;
    this.#send(now, { name: 'POSITION', stream, token: sent });
    if (isLive) return;
    subscription.isLive = true;
    subscription.sentRows = this.#options.streams.get(stream)!.appendedRows;
    this.#emit({ kind: 'live', stream, token: sent });
  }

  #enqueue(subscription: Subscription): void {
    if (subscription.isQueued || subscription === this.#reading) return;
    subscription.isQueued = true;
    this.#waiting.push(subscription);
  }

  /** One page at a time, streams in turn. */
  #nextRead(): PrimaryOutput | undefined {
    while (this.#state.kind === 'established' && !this.#outflow.isBlocked && this.#reading === undefined) {
      const subscription = this.#waiting.shift();
      if (subscription === undefined) return undefined;
      subscription.isQueued = false;
      const { stream, sent } = subscription;
      if (sent >= this.#options.streams.get(stream)!.latest) continue;
      this.#reading = subscription;
      return { kind: 'read', stream, after: sent, maxBytes: this.#options.limits.pageBytes };
    }
    return undefined;
  }

  /** The subscription that an answer is for; undefined when nobody wants it any more. */
  #takeReading(stream: StreamName): Subscription | undefined {
    const subscription = this.#reading;
    this.#reading = undefined;
    if (this.#state.kind !== 'established') return undefined;
    assert(subscription?.stream === stream, 'an answer to the read that was asked for');
    return subscription === this.#subscriptions.get(stream) ? subscription : undefined;
  }

  #failGap(now: Millis, stream: StreamName, earliest: Token, asked: Token): void {
    this.#fail(now, new PeerError('GAP', `stream ${stream} starts at ${earliest}, asked for ${asked}`));
  }

  #failSlow(now: Millis, why: string): void {
    this.#fail(
      now,
      new PeerError('SLOW_CONSUMER', `worker ${this.#workerName ?? '(no name)'} did not keep up: ${why}`),
      'Failed to keep up',
    );
  }

  #fail(now: Millis, error: RowcastError, text: string = error.message): void {
    this.#emit({ kind: 'failed', error });
    this.#drain(now, text, error);
  }

  #drain(now: Millis, text: string, reason: RowcastError | undefined): void {
    this.#send(now, { name: 'ERROR', text });
    this.#close(now, reason);
  }

  #close(now: Millis, reason: RowcastError | undefined): void {
    this.#outputs.push({ kind: 'close', reason });
    this.#state = { kind: 'draining', until: now + this.#options.limits.flushTimeoutMs, isAborted: false };
    this.#waiting.length = 0;
  }

  #send(now: Millis, command: Command): void {
    const line = Buffer.from(`${encodeCommand(command)}\n`);
    this.#outflow.handleLine(now, line.length);
    this.#transmit(now, line);
  }

  #transmit(now: Millis, bytes: Uint8Array): void {
    this.#outputs.push({ kind: 'transmit', bytes });
    this.#keepAlive!.handleSent(now);
  }

  #emit(event: PrimarySessionEvent): void {
    this.#outputs.push({ kind: 'event', event });
  }
}
