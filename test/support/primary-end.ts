/**
 * The primary's end of a connection without a connection: does for a session what its pump does,
 * and records all outputs.
 */

import type { Millis } from '../../src/base/clock.ts';
import { RowcastError } from '../../src/core/model/errors.ts';
import type { History } from '../../src/core/model/history.ts';
import type { Page, Verdict } from '../../src/core/model/page.ts';
import type { StreamName } from '../../src/core/model/stream.ts';
import type { Token } from '../../src/core/model/token.ts';
import type { ReadRequest } from '../../src/core/sessions/page-reads.ts';
import {
  type PrimaryOutput,
  PrimarySession,
  type PrimarySessionOptions,
} from '../../src/core/sessions/primary-session.ts';
import type { JudgeRequest } from '../../src/core/sessions/pending-verdicts.ts';
import { defaultPrimaryLimits, type PrimaryLimits } from '../../src/core/wire/limits.ts';
import { MemoryStreams } from './memory-streams.ts';
import { bytesOf, SessionOutputs, T0, takeTurn, wakeUntil } from './session-outputs.ts';

export { bytesOf, T0 } from './session-outputs.ts';

export interface PrimaryEndOptions
  extends Partial<Pick<PrimarySessionOptions, 'serverName' | 'slowConsumer' | 'trimmed'>> {
  readonly streams?: MemoryStreams;
  readonly limits?: Partial<PrimaryLimits>;
}

export class PrimaryEnd {
  readonly session: PrimarySession;
  readonly outputs: SessionOutputs<PrimaryOutput> = new SessionOutputs<PrimaryOutput>();
  readonly streams: MemoryStreams;
  now: Millis = T0;
  /** False: reads wait until `answer` is called. */
  isReading = true;
  /** False: positions wait for their verdict until `judged` is called. */
  isJudging = true;
  /** False: the socket takes nothing until `drained` is called. */
  isWriting = true;
  /** The session has asked for a pause of reading. */
  isPaused = false;

  constructor(options: PrimaryEndOptions = {}) {
    const { limits, serverName = 'example.com', slowConsumer = 'disconnect', trimmed = 'serve' } = options;
    this.streams = options.streams ?? new MemoryStreams('events', 'typing');
    this.session = new PrimarySession({
      serverName,
      slowConsumer,
      trimmed,
      streams: this.streams,
      limits: { ...defaultPrimaryLimits, ...limits },
    });
  }

  /** Opens it and forgets the greeting. The peer is not Rowcast. */
  static opened(options?: PrimaryEndOptions): PrimaryEnd {
    const end = new PrimaryEnd(options);
    end.open();
    return end;
  }

  /** Opens it with a peer that speaks rowcast/2. */
  static rowcast(options?: PrimaryEndOptions, words = ''): PrimaryEnd {
    const end = PrimaryEnd.opened(options);
    end.hear(`PING 1 rowcast/2${words}`);
    return end;
  }

  open(): string[] {
    this.session.handleOpen(this.now);
    return this.drain();
  }

  /** Gives it lines of a worker. Returns what it transmits. */
  hear(...lines: readonly string[]): string[] {
    return this.hearBytes(bytesOf(...lines));
  }

  hearBytes(bytes: Uint8Array): string[] {
    this.session.handleBytes(this.now, bytes);
    return this.drain();
  }

  append(stream: StreamName, ...rows: readonly unknown[]): string[] {
    this.streams.append(stream, ...rows);
    return this.hint(stream);
  }

  hint(stream: StreamName): string[] {
    this.session.handleHint(this.now, stream);
    return this.drain();
  }

  /** Appends the first rows of a stream. */
  make(stream: StreamName, ...rows: readonly unknown[]): string[] {
    this.streams.append(stream, ...rows);
    this.session.handleMade(this.now, stream);
    return this.hint(stream);
  }

  delete(stream: StreamName): string[] {
    this.streams.delete(stream);
    this.session.handleDeleted(this.now, stream);
    return this.drain();
  }

  /** Rows of the stream are taken back: those after the token. */
  rebase(stream: StreamName, token: Token): string[] {
    this.streams.truncate(stream, token);
    this.session.handleRebased(this.now, stream);
    return this.drain();
  }

  /** The log begins another era. */
  beginEra(era: History): string[] {
    this.streams.era = era;
    this.session.handleEra(this.now, era);
    return this.drain();
  }

  /** Lets time pass, and wakes the session whenever it wants. */
  passTime(ms: Millis): string[] {
    wakeUntil(this, this.session, this.now + ms);
    return this.drain();
  }

  stop(): string[] {
    this.session.handleStop(this.now);
    return this.drain();
  }

  /** Answers the waiting read. */
  answer(page?: Page): string[] {
    const read = this.outputs.of('read').at(-1)!;
    if (page === undefined) this.#read(read);
    else this.session.handlePage(this.now, read, page);
    return this.drain();
  }

  /** Fails the waiting read. */
  failRead(error: RowcastError): string[] {
    this.session.handleReadFailed(this.now, this.outputs.of('read').at(-1)!, error);
    return this.drain();
  }

  /**
   * Gives a verdict on the last position to be judged: the one of the streams, unless the test
   * gives another.
   */
  judged({ request, verdict }: { readonly request?: JudgeRequest; readonly verdict?: Verdict } = {}): string[] {
    this.#judge(request ?? this.outputs.of('judge').at(-1)!, verdict);
    return this.drain();
  }

  drained(): string[] {
    this.session.handleDrained(this.now);
    return this.drain();
  }

  drain(): string[] {
    this.poll();
    return this.outputs.takeLines();
  }

  get events(): string[] {
    return this.outputs.of('event').map(({ event }) => event.kind);
  }

  /** The codes of refusals and failures. */
  get codes(): string[] {
    return this.outputs.of('event').flatMap(({ event }) => ('error' in event ? [event.error.code] : []));
  }

  get isClosing(): boolean {
    return this.outputs.of('close').length > 0;
  }

  /** The state of the subscription; undefined when there is none. */
  stateOf(stream: StreamName): string | undefined {
    return this.session.subscriptions.find((subscription) => subscription.stream === stream)?.state;
  }

  poll(): void {
    do this.#pollOnce();
    while (takeTurn(this.session, this.now));
  }

  #pollOnce(): void {
    for (let output = this.session.pollOutput(); output !== undefined; output = this.session.pollOutput()) {
      this.outputs.keep(output);
      if (output.kind === 'transmit' && this.isWriting) this.session.handleDrained(this.now);
      else if (output.kind === 'read' && this.isReading) this.#read(output);
      else if (output.kind === 'judge' && this.isJudging) this.#judge(output);
      else if (output.kind === 'pause' || output.kind === 'resume') this.isPaused = output.kind === 'pause';
    }
  }

  #read(request: ReadRequest): void {
    const { stream, after, maxBytes } = request;
    let page: Page;
    try {
      page = this.streams.get(stream)!.read(after, maxBytes);
    } catch (thrown) {
      if (!(thrown instanceof RowcastError)) throw thrown;
      return this.session.handleReadFailed(this.now, request, thrown);
    }
    this.session.handlePage(this.now, request, page);
  }

  #judge(
    request: JudgeRequest,
    verdict: Verdict = this.streams.get(request.position.stream)!.judge(request.position),
  ): void {
    this.session.handleVerdict(this.now, request, verdict);
  }
}
