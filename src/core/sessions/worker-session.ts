/**
 * Protocol state of one connection, seen from the worker (docs/protocol.md): greeting, keep-alive,
 * lines. Knows no socket, clock, application or stream: lines about streams go to the follower.
 *
 *   opening ──handleOpen──▶ greeting ──SERVER and PING, or time-out──▶ established
 *     ──fault, stop──▶ draining ──▶ closed
 *
 * A line is taken only when takeLine is called. A follower that pauses, or does not call it, holds
 * everything back.
 */

import { assert } from '../../base/assert.ts';
import { utf8 } from '../../base/bytes.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import { PeerError, quote, type RowcastError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { decodeCommand, encodeCommand } from '../wire/codec.ts';
import type { Command, Dialect } from '../wire/command.ts';
import { formatWorkerGreeting, parsePrimaryGreeting, type PrimaryEras } from '../wire/greeting.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { LineCutter, type UnreadableLine } from '../wire/lines.ts';
import { RDATA, RowDecoder } from '../wire/row-decoder.ts';
import { KeepAlive } from './keep-alive.ts';
import { LINE_COST, ROW_COST, Turn } from './turn.ts';

export interface WorkerSessionOptions {
  readonly workerName: string;
  /** The name that SERVER must give. Any name will do when it is left out. */
  readonly serverName?: string;
  /**
   * Sends nothing but NAME, PING and REPLICATE. Faults are told to the application, not to the
   * primary.
   */
  readonly isObserver: boolean;
  readonly wantsAttributes: boolean;
  readonly limits: WorkerLimits;
  readonly lines: StreamLines;
}

export type StreamCommand = Extract<
  Command,
  { name: 'POSITION' | 'HISTORY' | 'ERA' | 'REFUSED' | 'RELEASED' | 'ATTR' }
>;

/** Receives the lines about streams. A PeerError that it throws ends the connection. */
export interface StreamLines {
  takeRow(stream: StreamName, token: Token | undefined, row: unknown, line: LineInText): void;
  takeCommand(now: Millis, command: StreamCommand, line: LineInText): void;
  /** A line came that is neither a row nor about a stream. */
  endRun(): void;
}

/** Where a line stands in a longer text. */
export interface LineInText {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

export type WorkerOutput =
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  /**
   * The primary has greeted, so it may be asked for rows. `eras` undefined: it is not Rowcast, and
   * the seed's rules hold.
   */
  | { readonly kind: 'greeted'; readonly eras: PrimaryEras | undefined }
  /**
   * A Rowcast primary greeted only after it was taken for another. It must be asked on another
   * connection.
   */
  | { readonly kind: 'greeted-late' }
  | { readonly kind: 'peer-error'; readonly text: string }
  | { readonly kind: 'sync'; readonly text: string }
  /** Stop and resume reading from the connection. */
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | { readonly kind: 'close'; readonly reason: RowcastError | undefined }
  | { readonly kind: 'abort' };

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'greeting'; until: Millis; hasServer: boolean; eras: PrimaryEras | undefined }
  | { readonly kind: 'established'; readonly dialect: Dialect }
  | { readonly kind: 'draining'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'closed' };

export class WorkerSession {
  readonly #options: WorkerSessionOptions;
  readonly #lines: LineCutter;
  readonly #outputs = new Queue<WorkerOutput>();
  readonly #row = new RowDecoder();
  #state: State = { kind: 'opening' };
  #keepAlive: KeepAlive | undefined;
  readonly #turn = new Turn();
  /** The application is slow. */
  #isPaused = false;
  /** The connection is not read, because the application is slow or the turn is over. */
  #isHeld = false;
  #isPinged = false;
  /** The time of the last input, which also counts for a line that is taken later. */
  #now: Millis = 0;

  constructor(options: WorkerSessionOptions) {
    this.#options = options;
    // A row that cannot be read is its stream's affair. Another line is the connection's.
    const { maxLineBytes, maxBatchBytes } = options.limits;
    this.#lines = new LineCutter(maxLineBytes, { prefix: RDATA, maxBytes: Math.max(maxLineBytes, maxBatchBytes) });
  }

  /** Sent lines reach the primary: it has greeted, and the connection is not ending. */
  get isEstablished(): boolean {
    return this.#state.kind === 'established';
  }

  handleOpen(now: Millis): void {
    assert(this.#state.kind === 'opening', 'a session to open once');
    const { workerName, wantsAttributes, limits } = this.#options;
    this.#keepAlive = new KeepAlive(limits, now);
    // A primary is a program, and programs PING at once. Silence from the start is a dead
    // connection.
    this.#keepAlive.handlePing();
    this.#state = { kind: 'greeting', until: now + limits.greetingTimeoutMs, hasServer: false, eras: undefined };
    this.handleSend(now, { name: 'NAME', workerName });
    this.handleSend(now, { name: 'PING', data: formatWorkerGreeting(now, { wantsAttributes }) });
  }

  /** Keeps the chunk; takeLine reads it. */
  handleBytes(now: Millis, chunk: Uint8Array): void {
    if (!this.#isReading) return;
    this.#now = now;
    this.#keepAlive!.handleReceived(now);
    this.#lines.push(chunk);
  }

  /** @throws UsageError INVALID_COMMAND */
  handleSend(now: Millis, command: Command): void {
    this.handleSendLine(now, encodeCommand(command));
  }

  handleSendLine(now: Millis, line: string): void {
    if (!this.#isReading) return;
    this.#keepAlive!.handleSent(now);
    this.#outputs.push({ kind: 'transmit', bytes: utf8(`${line}\n`) });
  }

  /**
   * The application is slow. Until handleResumed no line is taken, and silence of the primary does
   * not count against it.
   */
  handlePaused(): void {
    this.#isPaused = true;
    this.#keepAlive?.handlePaused();
    this.#holdOrRead();
  }

  handleResumed(now: Millis): void {
    this.#now = now;
    this.#isPaused = false;
    this.#keepAlive?.handleResumed(now);
    this.#holdOrRead();
    // A greeting that waited behind the pause was not late.
    if (this.#state.kind === 'greeting') this.#state.until = now + this.#options.limits.greetingTimeoutMs;
  }

  handleTimeout(now: Millis): void {
    this.#now = now;
    const state = this.#state;
    if (state.kind === 'draining' && now >= state.until && !state.isAborted) {
      state.isAborted = true;
      this.#outputs.push({ kind: 'abort' });
    }
    if (!this.#isReading) return;
    if (this.#turn.isOver) {
      this.#turn.beginNext();
      this.#holdOrRead();
    }
    if (state.kind === 'greeting' && !this.#isPaused && now >= state.until) this.#greet(undefined);
    if (this.#keepAlive!.isIdle(now)) {
      const { idleTimeoutMs } = this.#options.limits;
      const text = `nothing came from the primary for ${idleTimeoutMs} ms: the network, its process or its disk holds it up`;
      this.#fail(new PeerError('IDLE_TIMEOUT', text), 'ping timeout');
    } else if (this.#keepAlive!.isPingDue(now)) {
      this.handleSend(now, { name: 'PING', data: String(Math.floor(now)) });
    }
  }

  /** Ends the connection in good order. */
  handleStop(now: Millis): void {
    if (this.#isReading) this.#drain(now, undefined);
  }

  handleClosed(): void {
    this.#state = { kind: 'closed' };
    this.#outputs.clear();
  }

  pollOutput(): WorkerOutput | undefined {
    return this.#outputs.shift();
  }

  /** Takes the next line. Returns false when none has come, or none may be taken now. */
  takeLine(): boolean {
    if (this.#isPaused || this.#turn.isOver || !this.#isReading) return false;
    const lines = this.#lines;
    try {
      if (!lines.advance()) return false;
      const row = this.#row;
      if (lines.unreadable !== undefined) {
        this.#takeUnreadable(lines.unreadable);
        return true;
      }
      const isRow = row.decode(lines.text, lines.start, lines.end);
      this.#spend(lines.end - lines.start + (isRow ? ROW_COST : LINE_COST));
      if (isRow) {
        this.#options.lines.takeRow(row.stream, row.token, row.row, lines);
      } else {
        const dialect = this.#state.kind === 'established' ? this.#state.dialect : 'seed';
        this.#takeCommand(decodeCommand(lines.text.slice(lines.start, lines.end), 'primary', dialect));
      }
    } catch (thrown) {
      if (!(thrown instanceof PeerError)) throw thrown;
      this.#fail(thrown.code === 'LINE_TOO_LONG' ? this.#tooLong(thrown) : thrown, thrown.message);
    }
    return true;
  }

  nextTimeout(): Millis | undefined {
    const state = this.#state;
    switch (state.kind) {
      case 'draining':
        return state.isAborted ? undefined : state.until;
      case 'greeting':
        return Math.min(this.#isPaused ? Infinity : state.until, this.#keepAlive!.nextTimeout, this.#turn.nextTimeout);
      case 'established':
        return Math.min(this.#keepAlive!.nextTimeout, this.#turn.nextTimeout);
      default:
        return undefined;
    }
  }

  get #isReading(): boolean {
    return this.#state.kind === 'greeting' || this.#state.kind === 'established';
  }

  /** Reading is held at once when that ends the turn, before the connection gives more. */
  #spend(cost: number): void {
    this.#turn.spend(this.#now, cost);
    if (this.#turn.isOver) this.#holdOrRead();
  }

  #holdOrRead(): void {
    const isHeld = this.#isPaused || this.#turn.isOver;
    if (isHeld === this.#isHeld || !this.#isReading) return;
    this.#isHeld = isHeld;
    this.#outputs.push({ kind: isHeld ? 'pause' : 'resume' });
  }

  #takeUnreadable(line: UnreadableLine): void {
    const row = this.#row;
    this.#spend(line.text.length + ROW_COST);
    row.decodeUnreadable(line, this.#options.limits.maxLineBytes);
    this.#options.lines.takeRow(row.stream, row.token, row.row, { text: line.text, start: 0, end: line.text.length });
  }

  #tooLong(cause: PeerError): PeerError {
    const limit = this.#options.limits.maxLineBytes;
    const text = `a line of the primary that is not a row is over maxLineBytes ${limit} of this worker`;
    return new PeerError('LINE_TOO_LONG', text, { cause, facts: { limit, option: 'maxLineBytes' } });
  }

  #takeCommand(command: Command): void {
    const { lines } = this.#options;
    switch (command.name) {
      case 'POSITION':
      case 'HISTORY':
      case 'ERA':
      case 'REFUSED':
      case 'RELEASED':
      case 'ATTR':
        return lines.takeCommand(this.#now, command, this.#lines);
      case 'SERVER':
        lines.endRun();
        return this.#checkServer(command.serverName);
      case 'PING':
        lines.endRun();
        return this.#takePing(command.data);
      case 'ERROR':
        lines.endRun();
        this.#outputs.push({ kind: 'peer-error', text: command.text });
        return;
      case 'SYNC':
        lines.endRun();
        this.#outputs.push({ kind: 'sync', text: command.text });
        return;
      default:
        return assert(false, `the codec to refuse ${command.name} from a primary`);
    }
  }

  #checkServer(serverName: string): void {
    const expected = this.#options.serverName;
    if (expected !== undefined && serverName !== expected) {
      const text = `the primary is called ${quote(serverName)}, expected ${expected}: check the address or the expected name`;
      return this.#fail(new PeerError('WRONG_SERVER', text), 'Wrong remote');
    }
    if (this.#state.kind !== 'greeting') return;
    this.#state.hasServer = true;
    if (this.#isPinged) this.#greet(this.#state.eras);
  }

  #takePing(data: string): void {
    if (this.#isPinged) return;
    this.#isPinged = true;
    const eras = parsePrimaryGreeting(data);
    if (this.#state.kind === 'greeting') {
      this.#state.eras = eras;
      if (this.#state.hasServer) this.#greet(eras);
    } else if (eras !== undefined) {
      this.#outputs.push({ kind: 'greeted-late' });
    }
  }

  #greet(eras: PrimaryEras | undefined): void {
    const dialect = eras === undefined ? 'seed' : 'rowcast/2';
    this.#row.dialect = dialect;
    this.#state = { kind: 'established', dialect };
    this.#outputs.push({ kind: 'greeted', eras });
  }

  #fail(error: PeerError, text: string = error.message): void {
    if (!this.#options.isObserver) this.handleSend(this.#now, { name: 'ERROR', text });
    this.#drain(this.#now, error);
  }

  #drain(now: Millis, reason: RowcastError | undefined): void {
    this.#outputs.push({ kind: 'close', reason });
    this.#state = { kind: 'draining', until: now + this.#options.limits.flushTimeoutMs, isAborted: false };
  }
}
