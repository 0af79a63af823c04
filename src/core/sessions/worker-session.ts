/**
 * Protocol state of one connection, seen from the worker (docs/protocol.md). Knows no socket, clock or application, and
 * nothing of the connections before it: the follower does.
 *
 *   opening ──handleOpen──▶ greeting ──SERVER and PING, or time-out──▶ established ──fault, stop──▶ draining ──▶ closed
 *
 * Lines are taken only when an output is polled, so whoever stops polling, or pauses, holds everything back.
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import { PeerError, quote, type RowcastError } from '../model/errors.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { decodeCommand, encodeCommand } from '../wire/codec.ts';
import type { Command } from '../wire/command.ts';
import { formatWorkerGreeting, type Greeting, parseGreeting } from '../wire/greeting.ts';
import { KeepAlive } from './keep-alive.ts';
import type { WorkerLimits } from '../wire/limits.ts';
import { LineCutter } from '../wire/lines.ts';
import { RowDecoder } from '../wire/row-decoder.ts';
import { type Incoming, LenientIncoming, type RowsOutput, StrictIncoming } from './incoming.ts';

export interface WorkerSessionOptions {
  readonly workerName: string;
  /** The name that SERVER must give; any where it is left out. */
  readonly serverName?: string;
  /** Sends nothing but NAME, PING and REPLICATE: what is wrong is told to the application, not to the primary. */
  readonly isObserver?: boolean;
  readonly limits: WorkerLimits;
}

export type WorkerOutput =
  | RowsOutput
  | { readonly kind: 'transmit'; readonly bytes: Uint8Array }
  /**
   * The primary said who it is: now it may be asked for rows. `greeting` undefined: it is not Rowcast, lenient rules hold.
   * Comes again where a Rowcast primary was so late that it was taken for another; no row has come before that.
   */
  | { readonly kind: 'greeted'; readonly greeting: Greeting | undefined }
  | { readonly kind: 'peer-error'; readonly text: string }
  | { readonly kind: 'sync'; readonly text: string }
  | { readonly kind: 'close'; readonly reason: RowcastError | undefined }
  | { readonly kind: 'abort' };

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'greeting'; until: Millis; hasServer: boolean; greeting: Greeting | undefined }
  | { readonly kind: 'established' }
  | { readonly kind: 'draining'; readonly until: Millis; isAborted: boolean }
  | { readonly kind: 'closed' };

export class WorkerSession {
  readonly #options: WorkerSessionOptions;
  readonly #lines: LineCutter;
  readonly #outputs = new Queue<WorkerOutput>();
  readonly #row = new RowDecoder();
  #incoming: Incoming;
  #state: State = { kind: 'opening' };
  #keepAlive: KeepAlive | undefined;
  #isPaused = false;
  #isPinged = false;
  /** What was asked for, should the rules by which it comes turn out to be others. */
  readonly #asked = new Map<StreamName, Token | 'NOW'>();
  /** Of the last input: what a line that is taken later may be told as the time. */
  #now: Millis = 0;

  constructor(options: WorkerSessionOptions) {
    this.#options = options;
    this.#lines = new LineCutter(options.limits.maxLineBytes);
    this.#incoming = new LenientIncoming(options.limits.maxBatchBytes, this.#outputs);
  }

  /** Lines that are sent reach the primary: it greeted us, and the connection is not ending. */
  get isEstablished(): boolean {
    return this.#state.kind === 'established';
  }

  handleOpen(now: Millis): void {
    assert(this.#state.kind === 'opening', 'a session to open once');
    this.#keepAlive = new KeepAlive(this.#options.limits, now);
    // A primary is a program, and programs PING at once: silence from the first moment on is a dead connection.
    this.#keepAlive.handlePing();
    this.#state = {
      kind: 'greeting',
      until: now + this.#options.limits.greetingTimeoutMs,
      hasServer: false,
      greeting: undefined,
    };
    this.handleSend(now, { name: 'NAME', workerName: this.#options.workerName });
    this.handleSend(now, { name: 'PING', data: formatWorkerGreeting(now) });
  }

  /** The chunk is read when outputs are polled. */
  handleBytes(now: Millis, chunk: Uint8Array): void {
    if (!this.#isReading) return;
    this.#now = now;
    this.#keepAlive!.handleReceived(now);
    this.#lines.push(chunk);
  }

  /** Asks for the rows of a stream after `from`; once per connection and stream (once more beside ALL), after `greeted`. */
  handleSubscribe(now: Millis, stream: StreamName, from: Token | 'NOW'): void {
    if (this.#state.kind !== 'established') return;
    this.#asked.set(stream, from);
    this.#incoming.subscribe(stream, from);
    this.handleSend(now, { name: 'REPLICATE', stream, from });
  }

  /**
   * Asks for every stream, of a primary that does not say which it has; before any other request on this connection.
   * A stream that is then asked for by its name comes twice for a while: the lenient rules lose nothing by that.
   */
  handleSubscribeAll(now: Millis, from: Token | 'NOW'): void {
    if (this.#state.kind !== 'established') return;
    const incoming = new LenientIncoming(this.#options.limits.maxBatchBytes, this.#outputs);
    incoming.subscribeAll();
    this.#incoming = incoming;
    this.handleSend(now, { name: 'REPLICATE', stream: 'ALL', from });
  }

  /** @throws UsageError INVALID_COMMAND */
  handleSend(now: Millis, command: Command): void {
    this.handleSendLine(now, encodeCommand(command));
  }

  handleSendLine(now: Millis, line: string): void {
    if (!this.#isReading) return;
    this.#keepAlive!.handleSent(now);
    this.#outputs.push({ kind: 'transmit', bytes: Buffer.from(`${line}\n`) });
  }

  /** The application is slow: no line is taken until handleResumed, and the primary's silence is not held against it. */
  handlePaused(): void {
    this.#isPaused = true;
    this.#keepAlive?.handlePaused();
  }

  handleResumed(now: Millis): void {
    this.#now = now;
    this.#isPaused = false;
    this.#keepAlive?.handleResumed(now);
    // A greeting that waited with everything else was not late.
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
    if (state.kind === 'greeting' && !this.#isPaused && now >= state.until) this.#greet(undefined);
    if (this.#keepAlive!.isIdle(now)) {
      const { idleTimeoutMs } = this.#options.limits;
      this.#fail(
        new PeerError('IDLE_TIMEOUT', `nothing came from the primary for ${idleTimeoutMs} ms`),
        'ping timeout',
      );
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
    for (;;) {
      const output = this.#outputs.shift();
      if (output !== undefined) return output;
      if (this.#isPaused || !this.#isReading) return undefined;
      try {
        const lines = this.#lines;
        if (!lines.advance()) return undefined;
        const { text, start, end } = lines;
        const row = this.#row;
        if (row.decode(text, start, end)) this.#incoming.takeRow(row.stream, row.token, row.row, end - start);
        else this.#takeCommand(decodeCommand(text.slice(start, end), 'primary'));
      } catch (thrown) {
        if (!(thrown instanceof PeerError)) throw thrown;
        this.#fail(thrown);
      }
    }
  }

  nextTimeout(): Millis | undefined {
    const state = this.#state;
    switch (state.kind) {
      case 'draining':
        return state.isAborted ? undefined : state.until;
      case 'greeting':
        return Math.min(this.#isPaused ? Infinity : state.until, this.#keepAlive!.nextTimeout);
      case 'established':
        return this.#keepAlive!.nextTimeout;
      default:
        return undefined;
    }
  }

  get #isReading(): boolean {
    return this.#state.kind === 'greeting' || this.#state.kind === 'established';
  }

  #takeCommand(command: Command): void {
    if (command.name !== 'POSITION') this.#incoming.endRun();
    switch (command.name) {
      case 'SERVER':
        return this.#checkServer(command.serverName);
      case 'PING':
        return this.#takePing(command.data);
      case 'POSITION':
        return this.#incoming.takePosition(command.stream, command.token);
      case 'ERROR':
        this.#outputs.push({ kind: 'peer-error', text: command.text });
        return;
      case 'SYNC':
        this.#outputs.push({ kind: 'sync', text: command.text });
        return;
      default:
        return assert(false, `the codec to refuse ${command.name} from a primary`);
    }
  }

  #checkServer(serverName: string): void {
    const expected = this.#options.serverName;
    if (expected !== undefined && serverName !== expected) {
      this.#fail(
        new PeerError(
          'WRONG_SERVER',
          `the primary is called ${quote(serverName)}, expected ${expected}: check the address or the expected name`,
        ),
        'Wrong remote',
      );
      return;
    }
    if (this.#state.kind !== 'greeting') return;
    this.#state.hasServer = true;
    if (this.#isPinged) this.#greet(this.#state.greeting);
  }

  #takePing(data: string): void {
    if (this.#isPinged) return;
    this.#isPinged = true;
    const greeting = parseGreeting(data);
    if (this.#state.kind === 'greeting') {
      this.#state.greeting = greeting;
      if (this.#state.hasServer) this.#greet(greeting);
    } else if (this.#state.kind === 'established' && greeting !== undefined) {
      this.#greet(greeting);
    }
  }

  #greet(greeting: Greeting | undefined): void {
    this.#state = { kind: 'established' };
    if (greeting !== undefined) {
      this.#incoming = new StrictIncoming(this.#options.limits.maxBatchBytes, this.#outputs);
      for (const [stream, from] of this.#asked) this.#incoming.subscribe(stream, from);
    }
    this.#outputs.push({ kind: 'greeted', greeting });
  }

  #fail(error: PeerError, text: string = error.message): void {
    if (this.#options.isObserver !== true) this.handleSend(this.#now, { name: 'ERROR', text });
    this.#drain(this.#now, error);
  }

  #drain(now: Millis, reason: RowcastError | undefined): void {
    this.#outputs.push({ kind: 'close', reason });
    this.#state = { kind: 'draining', until: now + this.#options.limits.flushTimeoutMs, isAborted: false };
  }
}
