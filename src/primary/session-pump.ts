/** The pump of one session: joins it to a socket, the clock and the streams. Decides nothing. */

import { Alarm } from '../base/alarm.ts';
import { assertNever } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { RowcastError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { StreamName } from '../core/model/stream.ts';
import type {
  JudgeRequest,
  PrimaryOutput,
  PrimarySession,
  PrimarySessionEvent,
} from '../core/sessions/primary-session.ts';
import type { Connection, ConnectionHandler } from '../transport/transport.ts';
import type { StreamCatalog } from './stream-catalog.ts';

export interface SessionPumpOptions {
  readonly connection: Connection;
  readonly session: PrimarySession;
  readonly catalog: StreamCatalog;
  readonly clock: Clock;
  readonly onEvent: (event: PrimarySessionEvent) => void;
  /** The last call. `reason` is set when we ended the connection, `error` when the network did. */
  readonly onClosed: (end: { reason: RowcastError | undefined; error: Error | undefined }) => void;
}

/**
 * The most bytes that a live peer gets before everyone else has a turn. Enough that workers do not
 * wait while the next commit is made.
 */
const MAX_BURST_BYTES = 2 * 1024 * 1024;

export class SessionPump implements ConnectionHandler {
  readonly connection: Connection;
  readonly session: PrimarySession;
  readonly #options: SessionPumpOptions;
  readonly #alarm: Alarm;
  #isDraining = false;
  /** Bytes written since the pump last gave way to others. */
  #burstBytes = 0;
  #reason: RowcastError | undefined;

  constructor(options: SessionPumpOptions) {
    this.#options = options;
    this.connection = options.connection;
    this.session = options.session;
    this.#alarm = new Alarm(options.clock, () => this.#handleTimeout());
  }

  handleOpen(): void {
    this.session.handleOpen(this.#now);
    this.#drain();
  }

  handleBytes(chunk: Uint8Array): void {
    this.session.handleBytes(this.#now, chunk);
    this.#drain();
  }

  handleDrained(): void {
    if (!this.session.isCatchingUp && this.#burstBytes < MAX_BURST_BYTES) return this.#goOn();
    // A peer that reads as fast as we write would be served without end, and nothing else in the
    // process would run. Catch-up also reads from the disk, so there one page is a turn.
    this.#options.clock.wakeIn(0, () => {
      this.#burstBytes = 0;
      this.#goOn();
    });
  }

  #goOn(): void {
    this.session.handleDrained(this.#now);
    this.#drain();
  }

  handleHint(stream: StreamName): void {
    this.session.handleHint(this.#now, stream);
    this.#drain();
  }

  handleEra(era: History): void {
    this.session.handleEra(this.#now, era);
    this.#drain();
  }

  handleSync(text: string): void {
    this.session.handleSync(this.#now, text);
    this.#drain();
  }

  handleStop(): void {
    this.session.handleStop(this.#now);
    this.#drain();
  }

  handleClosed(error?: Error): void {
    this.session.handleClosed();
    this.#alarm.cancel();
    this.#options.onClosed({ reason: this.#reason, error });
  }

  #handleTimeout(): void {
    this.session.handleProgress(this.#now, this.connection.unsentBytes);
    this.session.handleTimeout(this.#now);
    this.#drain();
  }

  get #now(): Millis {
    return this.#options.clock.now();
  }

  #drain(): void {
    // A listener may append and so call this again. The loop that is running sends that too.
    if (this.#isDraining) return;
    let output = this.session.pollOutput();
    if (output !== undefined) {
      this.#isDraining = true;
      this.connection.cork();
      try {
        for (; output !== undefined; output = this.session.pollOutput()) this.#perform(output);
      } finally {
        // A listener that throws must not leave the connection mute.
        this.connection.uncork();
        this.#isDraining = false;
      }
    }
    this.#alarm.setBy(this.session.nextTimeout());
  }

  #perform(output: PrimaryOutput): void {
    switch (output.kind) {
      case 'transmit':
        this.#burstBytes += output.bytes.length;
        if (this.connection.write(output.bytes)) this.session.handleDrained(this.#now);
        return;
      case 'read':
        return this.#read(output);
      case 'judge':
        return this.#judge(output);
      case 'event':
        return this.#options.onEvent(output.event);
      case 'pause':
        return this.connection.pause();
      case 'resume':
        return this.connection.resume();
      case 'close':
        this.#reason = output.reason;
        return this.connection.close();
      case 'abort':
        return this.connection.abort();
      default:
        return assertNever(output);
    }
  }

  #judge(request: JudgeRequest): void {
    this.#ask(
      () => this.#options.catalog.judge(request.position),
      (verdict) => this.session.handleVerdict(this.#now, request, verdict),
      (error) => this.session.handleJudgeFailed(this.#now, request, error),
    );
  }

  #read({ stream, after, maxBytes }: Extract<PrimaryOutput, { kind: 'read' }>): void {
    this.#ask(
      () => this.#options.catalog.read(stream, { after, maxBytes }),
      (page) => this.session.handlePage(this.#now, page),
      (error) => this.session.handleReadFailed(this.#now, stream, error),
    );
  }

  /** Asks the log. It answers without a promise when it can. */
  #ask<Answer>(
    ask: () => Answer | Promise<Answer>,
    handle: (answer: Answer) => void,
    handleFailed: (error: RowcastError) => void,
  ): void {
    const fail = (thrown: unknown): void => {
      if (!(thrown instanceof RowcastError)) throw thrown;
      handleFailed(thrown);
    };
    let answer: Answer | Promise<Answer>;
    try {
      answer = ask();
    } catch (thrown) {
      return fail(thrown);
    }
    if (!(answer instanceof Promise)) return handle(answer);
    answer.then(
      (settled) => {
        handle(settled);
        this.#drain();
      },
      (thrown: unknown) => {
        fail(thrown);
        this.#drain();
      },
    );
  }
}
