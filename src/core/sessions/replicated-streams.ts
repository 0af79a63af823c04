/**
 * The streams of one connection, seen from the primary: what was asked for, how far each was sent,
 * and what is read next. Knows no log, socket or clock, and nothing of the connection's own life.
 *
 * Old rows and new rows take one path. A replication that is behind, on a socket that takes bytes,
 * asks for one page and transmits it, until nothing is left. Then it sends POSITION once, and goes
 * on with hints.
 */

import { assert } from '../../base/assert.ts';
import type { Millis } from '../../base/clock.ts';
import { LogError, type RowcastError } from '../model/errors.ts';
import { type History, logIdOf } from '../model/history.ts';
import type { Page, Verdict } from '../model/page.ts';
import type { Position } from '../model/position.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import { AllStreams } from './all-streams.ts';
import { PageReads, type ReadRequest } from './page-reads.ts';
import { type JudgeRequest, PendingVerdicts } from './pending-verdicts.ts';
import type { Replication, ReplicationState, Sent } from './replication.ts';
import { ReplicationTable } from './replication-table.ts';
import * as refusals from './stream-refusals.ts';
import type { StreamRefusal } from './stream-refusals.ts';
import type { ReplicatedStreamsOptions, ReplicateFrom, StreamsHost } from './streams-host.ts';
import { STREAM_COST } from './turn.ts';

export class ReplicatedStreams {
  readonly #options: ReplicatedStreamsOptions;
  readonly #host: StreamsHost;
  readonly #table: ReplicationTable;
  readonly #reads = new PageReads();
  readonly #verdicts: PendingVerdicts;
  readonly #all = new AllStreams();
  /** The time of the latest input. */
  #now: Millis = 0;

  constructor(options: ReplicatedStreamsOptions, host: StreamsHost) {
    this.#options = options;
    this.#host = host;
    this.#table = new ReplicationTable(options.streams);
    this.#verdicts = new PendingVerdicts(options.limits.sourceTimeoutMs);
  }

  /** What is replicated now. Only to be looked at. */
  get table(): Pick<ReplicationTable, 'count' | 'liveCount' | 'get' | 'has' | 'names' | 'describe' | 'describeAll'> {
    return this.#table;
  }

  get includesMade(): boolean {
    return this.#all.isAsked;
  }

  /** Whether another request may be answered: the socket takes the answers, and the turn lasts. */
  get mayAnswer(): boolean {
    return !this.#host.outflow.isFlooded && !this.#host.turn.isOver;
  }

  replicate(now: Millis, stream: StreamName, from: ReplicateFrom, history: History | undefined): void {
    this.#host.turn.spend(now, STREAM_COST);
    const isSeed = this.#host.dialect === 'seed';
    // For a seed peer, another REPLICATE starts the stream afresh.
    if (isSeed) this.#end(stream);
    const replication = this.#table.get(stream) ?? this.#follow(now, stream);
    if (replication === undefined) return;
    const { bounds } = replication.served;
    this.#now = now;
    if (from === 'NOW') return this.#beginLive(now, replication, { token: bounds.latest, history: bounds.history });
    const position = from === 'START' ? undefined : { stream, token: from, history };
    if (position === undefined) this.#table.move(replication, 'start', { kind: 'starting' });
    else this.#table.move(replication, 'replicate', { kind: 'judging', position });
    this.#host.emit({ kind: 'subscribed', stream, from });
    this.#host.outflow.handleRequest();
    if (position === undefined) this.#reads.enqueue(replication);
    else this.#host.judge(this.#verdicts.ask(now, replication, position));
  }

  /** Asks for every stream, also for those that are made later. `goOnWithAll` answers. */
  replicateAll(from: ReplicateFrom): void {
    this.#all.ask(from, this.#options.streams.names());
  }

  /** Answers REPLICATE ALL while it may. Returns whether that is done. */
  goOnWithAll(now: Millis): boolean {
    while (this.#all.isPending && this.#host.isEstablished) {
      if (!this.mayAnswer) return false;
      const next = this.#all.next();
      if (next !== undefined) this.replicate(now, next.stream, next.from, undefined);
    }
    return true;
  }

  release(now: Millis, stream: StreamName): void {
    this.#end(stream);
    this.#host.send(now, { name: 'RELEASED', stream });
  }

  handleApplied(stream: StreamName, applied: Token, saved: Token | undefined): void {
    const replication = this.#table.get(stream);
    if (replication === undefined) return;
    const before = replication.acknowledged;
    replication.handleApplied(applied, saved);
    const { acknowledged } = replication;
    if (acknowledged !== undefined && acknowledged !== before) {
      this.#host.emit({ kind: 'acknowledged', stream, saved: acknowledged });
    }
  }

  /** The socket takes bytes again. */
  handleDrained(now: Millis): void {
    this.#now = now;
  }

  /** A stream's `latest` moved. */
  handleHint(now: Millis, stream: StreamName): void {
    const replication = this.#table.get(stream);
    if (replication === undefined) return;
    const { state, served } = replication;
    if (state.kind !== 'live' && state.kind !== 'catching-up') return;
    this.#now = now;
    const { bounds, appendedRows } = served;
    const isBehind = state.sent.token < bounds.latest;
    if (isBehind) this.#reads.enqueue(replication);
    if (state.kind !== 'live') return;
    // The rows were read before they were announced.
    if (!isBehind) return this.#table.move(replication, 'page', { ...state, rows: appendedRows });
    if (this.#options.slowConsumer !== 'disconnect') return;
    const { maxLagRows } = this.#options.limits;
    if (appendedRows - state.rows <= maxLagRows) return;
    // The count may be too high: a hint without rows counts tokens, and tokens may be skipped. So
    // the log is asked before a worker is cut.
    const lagRows = served.rowsAfter(state.sent.token);
    if (lagRows <= maxLagRows) return this.#table.move(replication, 'page', { ...state, rows: appendedRows - lagRows });
    const why = `${lagRows} rows behind on ${stream}, over maxLagRows ${maxLagRows}`;
    this.#host.fail(now, refusals.slowConsumer(this.#host.workerTitle, why), 'Failed to keep up');
  }

  /** A stream is there that was not. */
  handleMade(now: Millis, stream: StreamName): void {
    if (!this.#all.isAsked || this.#table.has(stream)) return;
    const replication = this.#follow(now, stream);
    if (replication === undefined) return;
    this.#now = now;
    this.#all.handleMade(stream);
    // As if it had been declared by its name: it was empty until now.
    this.#beginLive(now, replication, { token: 0, history: replication.served.bounds.base });
  }

  /** A stream was deleted. Rows of it that are being read are not sent. */
  handleDeleted(now: Millis, stream: StreamName): void {
    const replication = this.#table.get(stream);
    if (replication === undefined) return;
    this.#now = now;
    // The seed has no line for it. A worker of the seed takes a position below its own as the news
    // that the stream began again.
    if (this.#host.dialect === 'seed') this.#standAtLatest(now, replication);
    else this.#refuse(now, replication, refusals.deleted(replication.served, replication.sent?.token));
  }

  /** Rows of a stream were taken back. Rows of it that are being read are not sent. */
  handleRebased(now: Millis, stream: StreamName): void {
    const replication = this.#table.get(stream);
    if (replication === undefined) return;
    this.#now = now;
    this.#reads.cancel(replication);
    const { state, served } = replication;
    if (state.kind === 'judging') return this.#judgeAgain(now, replication, state);
    if (state.kind === 'starting') {
      this.#table.move(replication, 'rebased', state);
      return this.#reads.enqueue(replication);
    }
    assert(state.kind !== 'idle', 'a replication to be dropped when it ends');
    const { sent } = state;
    if (this.#host.dialect !== 'seed') {
      const position = { stream, token: sent.token, history: sent.named };
      this.#judgeAgain(now, replication, { kind: 'judging', position, sent });
      // What such a peer has is known by its numbers alone.
    } else if (sent.token > served.bounds.latest) this.#standAtLatest(now, replication);
    else this.#reads.enqueue(replication);
  }

  /** A log has begun another era. */
  handleEra(now: Millis, era: History): void {
    if (this.#host.dialect === 'seed') return;
    this.#now = now;
    this.#host.send(now, { name: 'ERA', era });
    const logId = logIdOf(era);
    for (const replication of this.#table.values()) {
      if (!replication.isLive || logIdOf(replication.served.bounds.history) !== logId) continue;
      // POSITION after ERA says that everything of the earlier eras was sent.
      replication.owesPosition = true;
      this.#reads.enqueue(replication);
    }
  }

  handleVerdict(now: Millis, request: JudgeRequest, verdict: Verdict): void {
    const replication = this.#takeJudged(now, request);
    if (replication === undefined) return;
    const { position } = request;
    switch (verdict) {
      case 'on':
        return this.#begin(now, replication, position);
      case 'gap':
        return this.#handleGap(now, replication, position.token);
      case 'reset':
      case 'ahead':
        // A worker that keeps its position in its own database knows what it has. It gets POSITION
        // alone, and no row twice.
        if (this.#host.dialect === 'seed') return this.#standAtLatest(now, replication);
        return this.#refuse(now, replication, refusals.offHistory(verdict, replication.served, position));
    }
  }

  handleJudgeFailed(now: Millis, request: JudgeRequest, error: RowcastError): void {
    const replication = this.#takeJudged(now, request);
    if (replication !== undefined) this.#handleUnavailable(now, replication, error);
  }

  handlePage(now: Millis, request: ReadRequest, page: Page): void {
    const replication = this.#takeReading(now, request);
    if (replication === undefined) return;
    const { after } = request;
    const { state } = replication;
    const { bounds, appendedRows } = replication.served;
    const before = replication.sent ?? { began: after, token: after, named: undefined };
    if (page.upTo <= before.token && page.upTo < Math.min(request.latest, bounds.latest)) {
      const text = `stream ${page.stream}: a page after ${after} ends at ${page.upTo}, and rows up to ${request.latest} are there`;
      return this.#handleUnavailable(now, replication, new LogError('LOG_UNAVAILABLE', text));
    }
    const isMovedWithoutRows = page.rows === 0 && page.upTo > before.token;
    let { named } = before;
    // After START it tells what is kept, also where a page has no rows.
    const tellsStart = state.kind === 'starting' && page.upTo > after;
    if ((page.rows > 0 || tellsStart) && named !== page.history && this.#host.dialect !== 'seed') {
      this.#host.send(now, { name: 'HISTORY', stream: page.stream, after, history: page.history });
      named = page.history;
    }
    if (page.rows > 0) this.#host.sendPage(now, page);
    const sent = { began: before.began, token: Math.max(page.upTo, before.token), named };
    const isCaughtUp = sent.token >= bounds.latest;
    if (state.kind === 'live') {
      const rows = isCaughtUp ? appendedRows : state.rows + page.rows;
      this.#table.move(replication, isCaughtUp ? 'caught-up' : 'page', { kind: 'live', sent, rows });
      if (!isCaughtUp) this.#reads.enqueue(replication);
      else if (isMovedWithoutRows || replication.owesPosition) this.#sendPosition(now, replication);
      return;
    }
    if (isCaughtUp) return this.#goLive(now, replication, sent);
    this.#table.move(replication, 'page', { kind: 'catching-up', sent });
    this.#reads.enqueue(replication);
  }

  handleReadFailed(now: Millis, request: ReadRequest, error: RowcastError): void {
    const replication = this.#takeReading(now, request);
    if (replication === undefined) return;
    if (error.code !== 'LOG_GAP') return this.#handleUnavailable(now, replication, error);
    // The earliest row moved on while the first page was read, so it is looked up again.
    if (replication.state.kind === 'starting') this.#reads.enqueue(replication);
    else this.#handleGap(now, replication, request.after);
  }

  /** Gives up what a source has not answered within sourceTimeoutMs. */
  handleTimeout(now: Millis): void {
    this.#now = now;
    const { sourceTimeoutMs } = this.#options.limits;
    for (const replication of [...this.#reads.giveUp(now), ...this.#verdicts.giveUp(now)]) {
      if (!this.#host.isEstablished) return;
      this.#handleUnavailable(now, replication, refusals.sourceTimedOut(replication.stream, sourceTimeoutMs));
    }
  }

  get nextTimeout(): Millis {
    return Math.min(this.#reads.nextTimeout, this.#verdicts.nextTimeout);
  }

  /** The next page to read. Sends the POSITIONs that are owed before it. */
  pollRead(): ReadRequest | undefined {
    const { outflow } = this.#host;
    while (this.#host.isEstablished && !outflow.isBlocked) {
      const replication = this.#reads.take();
      if (replication === undefined) return undefined;
      const { state, served } = replication;
      // It goes on when it is judged.
      if (state.kind === 'idle' || state.kind === 'judging') continue;
      const { bounds } = served;
      const after = state.kind === 'starting' ? bounds.earliest - 1 : state.sent.token;
      if (after < bounds.latest || state.kind === 'starting') {
        const { pageBytes, sourceTimeoutMs } = this.#options.limits;
        return this.#reads.begin(replication, after, pageBytes, this.#now + sourceTimeoutMs);
      }
      if (!replication.owesPosition) continue;
      if (this.mayAnswer) {
        this.#host.turn.spend(this.#now, STREAM_COST);
        this.#sendPosition(this.#now, replication);
      } else {
        this.#reads.enqueue(replication);
        return undefined;
      }
    }
    return undefined;
  }

  /** The connection answers nothing more. */
  clear(): void {
    this.#table.clear();
    this.#verdicts.clear();
    this.#reads.clear();
    this.#all.clear();
  }

  /** Looks up a stream that is not replicated. Undefined when the peer was refused it. */
  #follow(now: Millis, stream: StreamName): Replication | undefined {
    const { limits, streams } = this.#options;
    if (this.#table.count >= limits.maxReplications) {
      this.#host.fail(now, refusals.tooManyStreams(limits.maxReplications));
      return undefined;
    }
    // To a peer that is not Rowcast, the logs' own streams do not exist.
    const isHidden = this.#host.dialect === 'seed' && stream.startsWith('$');
    const served = isHidden ? undefined : streams.follow(stream);
    if (served !== undefined) return this.#table.add(served);
    const unknown = refusals.unknownStream(stream);
    if (this.#host.dialect === 'seed') this.#host.fail(now, unknown.error);
    else this.#sendRefusal(now, stream, unknown);
    return undefined;
  }

  /** Begins with new rows: those after the position. */
  #beginLive(now: Millis, replication: Replication, { token, history }: Pick<Position, 'token' | 'history'>): void {
    const { served, stream } = replication;
    const sent = { began: token, token, named: undefined };
    this.#table.move(replication, 'now', { kind: 'live', sent, rows: served.appendedRows });
    this.#host.emit({ kind: 'subscribed', stream, from: 'NOW' });
    this.#announceLive(now, replication, history);
    if (token < served.bounds.latest) this.#reads.enqueue(replication);
  }

  #judgeAgain(now: Millis, replication: Replication, state: Extract<ReplicationState, { kind: 'judging' }>): void {
    this.#table.move(replication, 'rebased', state);
    this.#host.judge(this.#verdicts.ask(now, replication, state.position));
  }

  /** The replication that a verdict is for; undefined when it has ended meanwhile. */
  #takeJudged(now: Millis, request: JudgeRequest): Replication | undefined {
    const replication = this.#table.get(request.position.stream);
    if (!this.#host.isEstablished || replication === undefined) return undefined;
    this.#now = now;
    return this.#verdicts.take(replication, request) ? replication : undefined;
  }

  /** The position is on the history. */
  #begin(now: Millis, replication: Replication, { token, history }: Position): void {
    const { bounds } = replication.served;
    const sent = replication.sent ?? { began: token, token, named: history };
    this.#table.move(replication, 'on', { kind: 'catching-up', sent });
    if (token >= bounds.latest) this.#goLive(now, replication, sent);
    else this.#reads.enqueue(replication);
  }

  /** Rows after the token are no longer kept. */
  #handleGap(now: Millis, replication: Replication, asked: Token): void {
    const { served } = replication;
    const refused = refusals.gap(served, asked);
    if (this.#host.dialect !== 'seed') return this.#refuse(now, replication, refused);
    if (this.#options.trimmed === 'refuse') {
      return this.#host.fail(now, refused.error, refusals.gapText(served, asked));
    }
    this.#host.emit({ kind: 'refused', error: refusals.trimmed(this.#host.workerTitle, served, asked) });
    this.#standAt(now, replication, served.bounds.earliest - 1);
  }

  /** Goes on after the token, whatever was sent before. For peers that are not Rowcast. */
  #standAt(now: Millis, replication: Replication, token: Token): void {
    const { state, served } = replication;
    const sent = { began: token, token, named: undefined };
    const isAtLatest = token >= served.bounds.latest;
    this.#verdicts.forget(replication);
    this.#reads.cancel(replication);
    if (state.kind === 'live') {
      this.#table.move(replication, 'page', { ...state, sent, ...(isAtLatest && { rows: served.appendedRows }) });
      if (isAtLatest) return void this.#sendPosition(now, replication);
      replication.owesPosition = true;
    } else {
      this.#table.move(replication, state.kind === 'judging' ? 'on' : 'page', { kind: 'catching-up', sent });
      if (isAtLatest) return this.#goLive(now, replication, sent);
    }
    this.#reads.enqueue(replication);
  }

  #standAtLatest(now: Millis, replication: Replication): void {
    this.#standAt(now, replication, replication.served.bounds.latest);
  }

  #handleUnavailable(now: Millis, replication: Replication, error: RowcastError): void {
    const { served, stream } = replication;
    if (this.#host.dialect === 'seed') return this.#host.fail(now, error, `cannot read stream ${stream}`);
    this.#refuse(now, replication, refusals.unavailable(served, error));
  }

  #refuse(now: Millis, replication: Replication, refusal: StreamRefusal): void {
    this.#forget(replication, 'refused');
    this.#sendRefusal(now, replication.stream, refusal);
  }

  #sendRefusal(now: Millis, stream: StreamName, { code, facts, error }: StreamRefusal): void {
    this.#host.send(now, { name: 'REFUSED', stream, code, facts });
    this.#host.emit({ kind: 'refused', error });
  }

  /** Ends the replication of a stream, if there is one. */
  #end(stream: StreamName): void {
    const replication = this.#table.get(stream);
    if (replication !== undefined) this.#forget(replication, 'release');
  }

  #forget(replication: Replication, input: 'refused' | 'release'): void {
    this.#table.remove(replication, input);
    this.#verdicts.forget(replication);
    this.#reads.forget(replication);
  }

  #goLive(now: Millis, replication: Replication, sent: Sent): void {
    this.#table.move(replication, 'caught-up', { kind: 'live', sent, rows: replication.served.appendedRows });
    this.#announceLive(now, replication);
  }

  #announceLive(now: Millis, replication: Replication, history?: History): void {
    const token = this.#sendPosition(now, replication, history);
    this.#host.emit({ kind: 'live', stream: replication.stream, token });
  }

  #sendPosition(
    now: Millis,
    replication: Replication,
    history: History | undefined = replication.served.bounds.history,
  ): Token {
    const { state, stream } = replication;
    assert(state.kind === 'live', 'POSITION to be of a live stream');
    const { token } = state.sent;
    replication.owesPosition = false;
    // A seed peer was told no history, and may still greet as Rowcast.
    const named = this.#host.dialect === 'seed' ? undefined : history;
    this.#table.move(replication, 'page', { ...state, sent: { ...state.sent, named } });
    this.#host.send(now, { name: 'POSITION', stream, token, history: named });
    return token;
  }

  /** The replication that a page is for. Undefined when nobody waits for its rows any more. */
  #takeReading(now: Millis, request: ReadRequest): Replication | undefined {
    const replication = this.#reads.end(request);
    if (!this.#host.isEstablished) return undefined;
    this.#now = now;
    return replication;
  }
}
