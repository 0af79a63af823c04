/** The pump of one session: joins it to a socket, the clock and the streams. Decides nothing. */

import { Alarm } from '../base/alarm.ts';
import { assertNever } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { callGuarded } from '../base/uncaught.ts';
import { LogError, messageOf, RowcastError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { Page, Verdict } from '../core/model/page.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { ReadRequest } from '../core/sessions/page-reads.ts';
import type { JudgeRequest } from '../core/sessions/pending-verdicts.ts';
import type { PrimaryOutput, PrimarySession, PrimarySessionEvent } from '../core/sessions/primary-session.ts';
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
    // Most sessions of a primary with very many streams do not follow this one.
    if (!this.session.isReplicating(stream)) return;
    this.session.handleHint(this.#now, stream);
    this.#drain();
  }

  handleMade(stream: StreamName): void {
    if (!this.session.includesMade) return;
    this.session.handleMade(this.#now, stream);
    this.#drain();
  }

  handleDeleted(stream: StreamName): void {
    if (!this.session.isReplicating(stream)) return;
    this.session.handleDeleted(this.#now, stream);
    this.#drain();
  }

  handleRebased(stream: StreamName): void {
    if (!this.session.isReplicating(stream)) return;
    this.session.handleRebased(this.#now, stream);
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
    const { position } = request;
    this.#ask(
      position.stream,
      () => this.#options.catalog.judge(position),
      isVerdict,
      (verdict) => this.session.handleVerdict(this.#now, request, verdict),
      (error) => this.session.handleJudgeFailed(this.#now, request, error),
    );
  }

  #read(request: ReadRequest): void {
    const { stream, after, maxBytes } = request;
    this.#ask(
      stream,
      () => this.#options.catalog.read(stream, { after, maxBytes }),
      (page) => isPage(page, request),
      (page) => this.session.handlePage(this.#now, request, page),
      (error) => this.session.handleReadFailed(this.#now, request, error),
    );
  }

  /**
   * Asks the log. It answers without a promise when it can. Whatever else it does, whoever asked
   * gets an answer: a log may come from anywhere.
   */
  #ask<Answer>(
    stream: StreamName,
    ask: () => Answer | Promise<Answer>,
    isSound: (answer: Answer) => boolean,
    handle: (answer: Answer) => void,
    handleFailed: (error: RowcastError) => void,
  ): void {
    const take = (answer: Answer): void => {
      if (isSound(answer)) handle(answer);
      else handleFailed(cannotRead(stream, new TypeError('its log gave no such answer')));
    };
    let answer: Answer | Promise<Answer>;
    try {
      answer = ask();
    } catch (thrown) {
      return handleFailed(cannotRead(stream, thrown));
    }
    if (!isPromise(answer)) return take(answer);
    const later = (act: () => void): void =>
      callGuarded(this.#options.clock, () => {
        act();
        this.#drain();
      });
    answer.then(
      (settled) => later(() => take(settled)),
      (thrown: unknown) => later(() => handleFailed(cannotRead(stream, thrown))),
    );
  }
}

const verdicts: Readonly<Record<Verdict, true>> = Object.freeze({ on: true, gap: true, reset: true, ahead: true });

function isVerdict(answer: unknown): boolean {
  return typeof answer === 'string' && Object.hasOwn(verdicts, answer);
}

function isPage(page: Page | undefined, { stream, after }: ReadRequest): boolean {
  return page?.stream === stream && Array.isArray(page.chunks) && page.upTo >= after;
}

/** A log of another library may have promises of its own. */
function isPromise<Answer>(answer: Answer | Promise<Answer>): answer is Promise<Answer> {
  return typeof (answer as { readonly then?: unknown } | undefined)?.then === 'function';
}

function cannotRead(stream: StreamName, thrown: unknown): RowcastError {
  if (thrown instanceof RowcastError) return thrown;
  const text = `stream ${stream} cannot be read: ${messageOf(thrown)}`;
  return new LogError('LOG_UNAVAILABLE', text, { cause: thrown, facts: { stream } });
}
