/**
 * A log that keeps its streams in memory, and makes its changes durable in a store, if it has one.
 * The memory log is one without. Start here for a log of your own (docs/guides/own-log.md).
 *
 *   append ─▶ group commit ─▶ change ─▶ store.write ─▶ memory ─▶ hint ─▶ resolve
 *   open   ─▶ store.open ─▶ changes ───────────────────▶ memory
 */

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { LogError, messageOf } from '../core/model/errors.ts';
import { clockKind, oneLine, randomKind, required, withMethods } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import { formatHistory, type History, LOG_ID_DIGITS, logIdOf, parseHistory } from '../core/model/history.ts';
import { type Bounds, emptyBounds, type Page, type Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import {
  type Change,
  type ChangeStore,
  checkChanges,
  type StreamChunks,
  type StreamHolderChanges,
  type StreamToken,
} from './change.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { CommitWatch, type LogTrouble } from './commit-watch.ts';
import { AgeSweep } from './age-sweep.ts';
import { deletedRow, madeRow, nextEra } from './era.ts';
import { encodeChunks, type PlannedStream } from './encode-chunks.ts';
import { type Committed, type CommitPlan, GroupCommit } from './group-commit.ts';
import { KeptStream } from './kept-stream.ts';
import { KeptStreams } from './kept-streams.ts';
import { LogTime, resumedMs, systemBoot } from './log-time.ts';
import type {
  AppendOptions,
  Held,
  Log,
  LogHealth,
  LogHolders,
  LogOptions,
  ReadOptions,
  RowsEvent,
  SourceEvent,
  SourceListener,
} from './log.ts';
import type { StreamHolders } from './stream-holders.ts';
import { checkStoredToken, logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

/** Options of `KeptLog`. */
export interface KeptLogOptions {
  /** The name used in messages: `memory`, `journal data/rowcast.jsonl`. */
  readonly name: string;
  /** Makes it durable. Left out: the log keeps nothing, and each open starts a new one. */
  readonly store?: ChangeStore;
  readonly clock?: Clock;
  readonly random?: Random;
}

const optionTable: OptionTable<KeptLogOptions> = {
  name: required(oneLine),
  store: withMethods<ChangeStore>('open', 'write', 'close'),
  clock: clockKind,
  random: randomKind,
};

interface Opened extends LogOptions {
  readonly streams: KeptStreams;
  readonly time: LogTime;
}

/** Outlasts the close. */
interface Identity {
  readonly catalog: StreamName;
  era: History;
}

/** The rows of a change, and what is told when it is durable. */
interface Draft {
  readonly era: History;
  readonly appended: StreamChunks[];
  readonly events: SourceEvent[];
}

/**
 * A log in memory with an optional store. A class, so that a log of your own may extend it.
 * @example
 * const log = new KeptLog({ name: 'my log', store: myStore('data/rows.jsonl') });
 */
export class KeptLog implements Log {
  readonly name: string;
  readonly #store: ChangeStore | undefined;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #commits: GroupCommit;
  readonly holders: LogHolders = {
    hold: (stream, worker, after) => this.#changeHolders(stream, (holders) => holders.hold(worker, after)),
    acknowledge: (stream, worker, saved) => {
      const held = this.#changeHolders(stream, (holders) => holders.acknowledge(worker, saved));
      if (held === 'holds') this.#handleFreed(stream);
      return held;
    },
    of: (stream, most) => this.#find(stream)?.listHolders(most) ?? [],
    count: (stream) => this.#find(stream)?.holders?.count ?? 0,
    forget: (worker) => this.#forget(worker),
  };
  /** The streams whose holders may have changed since the last write. */
  readonly #held = new Set<StreamName>();
  /** The streams whose holders may need less than before. */
  readonly #freed = new Set<StreamName>();
  #isHeldScheduled = false;
  readonly #ages: AgeSweep;
  #identity: Identity | undefined;
  #isOpening = false;
  #opened: Opened | undefined;
  readonly #watch: CommitWatch;
  /** Why it refuses changes until it is opened again. */
  #failure: LogError | undefined;

  /** @throws UsageError INVALID_OPTION */
  constructor(given: KeptLogOptions) {
    const { name, store, clock = systemClock, random = systemRandom } = checkOptions('KeptLog', given, optionTable);
    this.name = name;
    this.#store = store;
    this.#clock = clock;
    this.#watch = new CommitWatch(clock);
    this.#random = random;
    this.#ages = new AgeSweep(clock, () => this.#dropAged());
    this.#commits = new GroupCommit({
      check: (stream, rows, options) => this.#check(stream, rows, options),
      latest: (stream) => this.#requireOpen().streams.find(stream)?.bounds.latest ?? 0,
      findId: (stream, id) => {
        const { streams, time } = this.#requireOpen();
        return streams.ids.find(stream, id, time.now());
      },
      commit: (plan) => this.#commit(plan),
      // Without a store a commit costs little: appends of one turn share a chunk, and none waits
      // longer. With one, all that came in one turn of the event loop shares a write.
      soon: store === undefined ? queueMicrotask : setImmediate,
    });
  }

  get id(): string {
    return logIdOf(this.era);
  }

  get era(): History {
    return this.#requireIdentity().era;
  }

  get catalog(): StreamName {
    return this.#requireIdentity().catalog;
  }

  get health(): LogHealth {
    return this.#failure === undefined ? this.#watch.health : 'failed';
  }

  get trouble(): LogTrouble | undefined {
    return this.#watch.trouble;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined || this.#isOpening) throw logIsOpen(this.name);
    this.#isOpening = true;
    try {
      await this.#open(options);
    } finally {
      this.#isOpening = false;
    }
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  serves(stream: StreamName): boolean {
    const { declarations, catalog } = this.#requireOpen();
    return stream === catalog || declarations.has(stream);
  }

  streams(): Iterable<StreamName> {
    return this.#requireOpen().streams.names();
  }

  judge(position: Position): Verdict | Promise<Verdict> {
    return (this.#find(position.stream) ?? this.#unmade(position.stream)).judge(position);
  }

  read(stream: StreamName, options: ReadOptions): Page | Promise<Page> {
    const kept = this.#find(stream) ?? this.#unmade(stream);
    refuseGap(this.name, stream, options.after, kept.bounds);
    return pageOf(stream, kept.read(options), kept.bounds);
  }

  bounds(stream: StreamName): Bounds {
    return this.#find(stream)?.bounds ?? emptyBounds(this.id);
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.#find(stream)?.rowsAfter(after) ?? 0;
  }

  watch(listener: SourceListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    await this.#commits.run(() => {
      const { earliest, latest } = this.bounds(stream);
      const token = Math.min(upTo, latest);
      return token < earliest ? undefined : this.#write({ trimmed: [{ stream, token }] });
    });
  }

  async delete(stream: StreamName): Promise<void> {
    this.#requireDeclared(stream);
    await this.#commits.run(() => {
      const { streams, catalog } = this.#requireOpen();
      if (streams.find(stream) === undefined) return undefined;
      const draft: Draft = { era: this.era, appended: [], events: [] };
      this.#draftRows(draft, catalog, [[deletedRow(stream, this.#clock.wallNow())]]);
      draft.events.push({ kind: 'deleted', stream });
      return this.#writeAndTell({ deleted: stream, appended: draft.appended }, draft.events);
    });
  }

  async truncate(stream: StreamName, after: Token): Promise<void> {
    this.#requireDeclared(stream);
    await this.#commits.run(() => {
      checkStoredToken(stream, after, this.bounds(stream));
      const change = this.bounds(stream).latest > after ? { truncated: { stream, token: after } } : {};
      return this.#writeAndTell(change, [{ kind: 'rebased', stream }]);
    });
  }

  async rebase({ stream, token, history }: Position): Promise<void> {
    this.#requireDeclared(stream);
    await this.#commits.run(() => {
      const rebased = { stream, token, history: history ?? this.bounds(stream).history };
      const { era, appended, events } = this.#draft([stream]);
      return this.#writeAndTell({ ...(era !== this.era && { era }), appended, rebased }, [
        ...events,
        { kind: 'rebased', stream },
      ]);
    });
  }

  async close(): Promise<void> {
    await this.#commits.run(() => {
      if (this.#opened === undefined) return undefined;
      this.#ages.stop();
      const stored = this.#writeLast();
      this.#opened = undefined;
      this.#held.clear();
      this.#freed.clear();
      return stored === undefined ? this.#store?.close() : stored.then(() => this.#store?.close());
    });
  }

  /**
   * Writes the time, and the holders that are not written yet. Rows are kept longer without them, so
   * a failure is ignored.
   */
  #writeLast(): undefined | Promise<void> {
    if (this.#store === undefined || this.#failure !== undefined) return undefined;
    try {
      return this.#write({ time: this.#requireOpen().time.mark(systemBoot()) })?.catch(() => {});
    } catch {
      return undefined;
    }
  }

  #changeHolders(stream: StreamName, change: (holders: StreamHolders) => Held): Held {
    const holders = this.#find(stream)?.holders;
    if (holders === undefined) return 'other';
    const held = change(holders);
    if (held !== 'holds') return held;
    this.#held.add(stream);
    if (this.#store !== undefined) this.#scheduleHeld();
    return held;
  }

  #handleFreed(stream: StreamName): void {
    this.#freed.add(stream);
    // With a store that is scheduled already.
    if (this.#store === undefined) void this.#shedFreed();
  }

  async #forget(worker: WorkerName): Promise<StreamName[]> {
    this.#requireOpen();
    return this.#commits.run(() => {
      const { streams } = this.#requireOpen();
      const forgotten = [...streams.names()].filter((name) => {
        const { holders, bounds } = streams.find(name)!;
        return holders?.forget(worker, bounds.latest) === true;
      });
      for (const name of forgotten) {
        this.#held.add(name);
        this.#freed.add(name);
      }
      const shed = this.#shedFreed();
      return shed === undefined ? forgotten : shed.then(() => forgotten);
    });
  }

  #dropAged(): void {
    const { streams, time } = this.#requireOpen();
    const now = time.now();
    const before = this.#freed.size;
    for (const stream of streams.names()) if (streams.find(stream)!.hasAged(now)) this.#freed.add(stream);
    if (this.#freed.size > before) this.#shedSoon();
  }

  #shedSoon(): void {
    // A store that fails is found out by the next append too. A closed log has written it.
    this.#commits.run(() => (this.#opened === undefined ? undefined : this.#shedFreed())).catch(() => {});
  }

  /** Very many workers may ask at once: one write is for all of them. */
  #scheduleHeld(): void {
    if (this.#isHeldScheduled) return;
    this.#isHeldScheduled = true;
    setImmediate(() => {
      this.#isHeldScheduled = false;
      this.#shedSoon();
    });
  }

  /** Drops what holders have set free, and stores the holders. */
  #shedFreed(): void | Promise<void> {
    const { streams, time } = this.#requireOpen();
    const trimmed: StreamToken[] = [];
    const cutting: SourceEvent[] = [];
    for (const stream of this.#freed) {
      const shed = streams.find(stream)?.planShed(time.now());
      if (shed?.upTo !== undefined) trimmed.push({ stream, token: shed.upTo });
      if (shed !== undefined) cutting.push(...shed.cutting);
    }
    this.#freed.clear();
    return this.#writeAndTell(trimmed.length > 0 ? { trimmed } : {}, cutting);
  }

  async #open(options: LogOptions): Promise<void> {
    const streams = new KeptStreams(options);
    try {
      const changes = this.#store === undefined ? [] : checkChanges(this.name, await this.#store.open());
      for (const change of changes) streams.apply(change);
      const time = this.#resumeTime(streams);
      const before = streams.era === undefined ? undefined : parseHistory(streams.era);
      const era = this.#nextEra(before?.logId ?? randomHex(this.#random, LOG_ID_DIGITS), before?.number);
      const change = { era, time: time.mark(systemBoot()) };
      streams.apply(change);
      if (this.#store?.rewrite === undefined) await this.#store?.write(change);
      else await this.#store.rewrite(streams.changes());
      this.#identity = { catalog: options.catalog, era };
      this.#failure = undefined;
      this.#watch.forget();
      this.#opened = { ...options, streams, time };
      this.#ages.start(options.declarations);
    } catch (error) {
      await this.#store?.close();
      throw error;
    }
  }

  #resumeTime({ timeMark: mark, newestMs }: KeptStreams): LogTime {
    const startMs = resumedMs({ mark, newestMs, wallMs: this.#clock.wallNow(), boot: systemBoot() });
    return new LogTime(startMs, this.#clock);
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
  }

  #commit({ streams: planned, ids }: CommitPlan): Committed | Promise<Committed> {
    const { streams, time } = this.#requireOpen();
    const now = time.now();
    const { era, appended, events } = this.#draft(planned.keys());
    const trimmed: StreamToken[] = [];
    for (const one of planned.values()) {
      const { stream } = one;
      const { chunks } = this.#draftPlanned({ era, appended, events }, one);
      const kept = streams.find(stream);
      const shed = kept?.planShed(now, chunks);
      if (shed?.upTo !== undefined) trimmed.push({ stream, token: shed.upTo });
      if (shed !== undefined) events.push(...shed.cutting);
      if (kept?.holders !== undefined) this.#held.add(stream);
    }
    const committed = { era, events };
    const written = this.#write({
      appended,
      ...(era !== this.era && { era }),
      ...(trimmed.length > 0 && { trimmed }),
      ...(ids.length > 0 && { ids: ids.map((id) => ({ ...id, history: id.history ?? era, atMs: now })) }),
    });
    return written === undefined ? committed : written.then(() => committed);
  }

  /**
   * Begins a change in which streams get rows: lists those that it makes, and begins an era if one
   * of them needs it.
   */
  #draft(names: Iterable<StreamName>): Draft {
    const { streams, catalog } = this.#requireOpen();
    const made: StreamName[] = [];
    for (const name of names) if (streams.find(name) === undefined) made.push(name);
    const draft: Draft = { era: this.era, appended: [], events: [] };
    if (!streams.deletedNames.needEra(made)) {
      this.#draftMade(draft, catalog, made);
      return draft;
    }
    const { logId, number } = parseHistory(this.era)!;
    const begun: Draft = { ...draft, era: this.#nextEra(logId, number) };
    begun.events.push({ kind: 'era', era: begun.era });
    this.#draftMade(begun, catalog, made);
    return begun;
  }

  #draftMade(draft: Draft, catalog: StreamName, made: readonly StreamName[]): void {
    if (made.length === 0) return;
    const wallMs = this.#clock.wallNow();
    const batches = made.map((name) => [madeRow(name, wallMs)]);
    this.#draftRows(draft, catalog, batches);
  }

  #draftRows(draft: Draft, stream: StreamName, batches: (readonly RowText[])[]): void {
    const { latest: after } = this.bounds(stream);
    this.#draftPlanned(draft, { stream, after, batches, tokens: batches.map((_, i) => after + 1 + i) });
  }

  #draftPlanned(draft: Draft, planned: PlannedStream): StreamChunks {
    const { stream } = planned;
    const { streams, time } = this.#requireOpen();
    const chunks = encodeChunks({
      planned,
      rowsUpTo: streams.find(stream)?.rowsUpTo ?? 0,
      history: draft.era,
      atMs: this.#clock.wallNow(),
      logMs: time.now(),
    });
    const added = { stream, chunks };
    const hint: RowsEvent = { kind: 'rows', stream, latest: chunks[chunks.length - 1]!.upTo, chunks };
    draft.appended.push(added);
    draft.events.push(hint);
    return added;
  }

  #writeAndTell(change: Change, events: readonly SourceEvent[]): void | Promise<void> {
    const written = this.#write(change);
    if (written === undefined) this.#commits.announce(events);
    else return written.then(() => this.#commits.announce(events));
  }

  /** Makes the change durable, then visible. Returns a promise only where the store does. */
  #write(asked: Change): undefined | Promise<void> {
    // A log that closes is not open any more when its last write ends.
    const { streams } = this.#requireOpen();
    if (this.#store === undefined) {
      this.#held.clear();
      return this.#apply(streams, asked);
    }
    if (this.#failure !== undefined) throw this.#failure;
    const change = this.#withHolders(asked);
    const store = this.#store;
    try {
      const written = Object.keys(change).length > 0 ? this.#watch.measure(() => store.write(change)) : undefined;
      if (written instanceof Promise)
        return written.then(
          () => this.#apply(streams, change),
          (error: unknown) => this.#fail(error),
        );
    } catch (error) {
      this.#fail(error);
    }
    return this.#apply(streams, change);
  }

  #apply(streams: KeptStreams, change: Change): undefined {
    streams.apply(change);
    this.#requireIdentity().era = streams.presentEra;
    // What was saved of rows that are taken back counts as nothing.
    const stream = change.truncated?.stream ?? change.rebased?.stream;
    if (stream !== undefined && streams.find(stream)?.holders !== undefined) this.#held.add(stream);
    return undefined;
  }

  /** Changes of holders are stored with the next change of any kind. */
  #withHolders(change: Change): Change {
    const { streams } = this.#requireOpen();
    const holders: StreamHolderChanges[] = [];
    for (const stream of this.#held) {
      const changes = streams.find(stream)?.takeHolderChanges();
      if (changes !== undefined && change.deleted !== stream) holders.push({ stream, ...changes });
    }
    this.#held.clear();
    return holders.length > 0 ? { ...change, holders } : change;
  }

  #fail(cause: unknown): never {
    const unknown = `log ${this.name} could not write, and may have written a part: ${messageOf(cause)}`;
    this.#failure = cause instanceof LogError ? cause : new LogError('LOG_OUTCOME_UNKNOWN', unknown, { cause });
    throw this.#failure;
  }

  #nextEra(logId: string, highest = 0): History {
    return formatHistory({ logId, ...nextEra(highest, this.#clock.wallNow(), this.#random) });
  }

  /** The streams that may be appended to: every declared one, not the catalog. */
  #requireDeclared(stream: StreamName): void {
    if (!this.#requireOpen().declarations.has(stream)) throw noSuchStream(this.name, stream);
  }

  /** A stream, or the catalog. Undefined: it is not made. */
  #find(stream: StreamName): KeptStream | undefined {
    const { streams } = this.#requireOpen();
    const kept = streams.find(stream);
    if (kept === undefined && !this.serves(stream)) throw noSuchStream(this.name, stream);
    return kept;
  }

  #unmade(name: StreamName): KeptStream {
    return new KeptStream({ name, retain: {} }, emptyBounds(this.id));
  }

  #requireOpen(): Opened {
    if (this.#opened === undefined) throw notOpen(this.name);
    return this.#opened;
  }

  #requireIdentity(): Identity {
    if (this.#identity === undefined) throw notOpen(this.name);
    return this.#identity;
  }
}
