/** A log in memory that keeps nothing after a restart. It is the reference for all others. */

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import { formatHistory, type History, LOG_ID_DIGITS, parseHistory } from '../core/model/history.ts';
import { type Bounds, emptyBounds, type Page, type Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { DEFAULT_ID_RETENTION_MS, RememberedIds } from './append-ids.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { DeletedNames } from './deleted-names.ts';
import { deletedRow, madeRow, nextEra } from './era.ts';
import { type Committed, type CommitPlan, encodeChunks, GroupCommit, type PlannedStream } from './group-commit.ts';
import { KeptStream } from './kept-stream.ts';
import type {
  AppendOptions,
  Log,
  LogHealth,
  LogOptions,
  ReadOptions,
  RowsEvent,
  SourceEvent,
  SourceListener,
} from './log.ts';
import { checkStoredToken, logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

/** Options of `memoryLog`. */
export interface MemoryLogOptions {
  readonly clock?: Clock;
  readonly random?: Random;
}

/** The most ids that are remembered, about 300 MB of them. The oldest is forgotten first. */
const MAX_IDS = 1_000_000;

/** A log in memory. Each `open` starts a new log with a new id. */
export function memoryLog({ clock = systemClock, random = systemRandom }: MemoryLogOptions = {}): Log {
  return new MemoryLog(clock, random);
}

interface Opened extends LogOptions {
  readonly id: string;
  readonly streams: Map<StreamName, KeptStream>;
  readonly listed: KeptStream;
  readonly deleted: DeletedNames;
  readonly ids: RememberedIds;
}

interface Identity {
  readonly id: string;
  readonly catalog: StreamName;
  era: History;
}

class MemoryLog implements Log {
  readonly name = 'memory';
  readonly health: LogHealth = 'ok';
  readonly #clock: Clock;
  readonly #random: Random;
  // Commits in a microtask: appends of one turn share a chunk, and none waits longer than that
  // turn.
  readonly #commits = new GroupCommit({
    check: (stream, rows, options) => this.#check(stream, rows, options),
    latest: (stream) => this.#requireOpen().streams.get(stream)?.bounds.latest ?? 0,
    findId: (stream, id) => this.#requireOpen().ids.find(stream, id, this.#clock.now()),
    commit: (plan) => this.#commit(plan),
    soon: queueMicrotask,
  });
  /** Outlasts the close. */
  #identity: Identity | undefined;
  #opened: Opened | undefined;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  get id(): string {
    return this.#requireIdentity().id;
  }

  get era(): History {
    return this.#requireIdentity().era;
  }

  get catalog(): StreamName {
    return this.#requireIdentity().catalog;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#opened !== undefined) throw logIsOpen(this.name);
    const id = randomHex(this.#random, LOG_ID_DIGITS);
    this.#identity = { id, catalog: options.catalog, era: this.#nextEra(id, 0) };
    this.#opened = {
      ...options,
      id,
      streams: new Map(),
      listed: new KeptStream(emptyBounds(id)),
      deleted: new DeletedNames(),
      ids: new RememberedIds(options.idRetentionMs ?? DEFAULT_ID_RETENTION_MS, MAX_IDS),
    };
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  serves(stream: StreamName): boolean {
    const { declarations, catalog } = this.#requireOpen();
    return stream === catalog || declarations.has(stream);
  }

  streams(): Iterable<StreamName> {
    return this.#requireOpen().streams.keys();
  }

  judge(position: Position): Verdict {
    return (this.#find(position.stream) ?? this.#unmade()).judge(position);
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const kept = this.#find(stream) ?? this.#unmade();
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
    this.#find(stream)?.trim(upTo);
  }

  async delete(stream: StreamName): Promise<void> {
    this.#requireDeclared(stream);
    this.#commits.flush();
    const { streams, deleted, ids, listed, catalog } = this.#requireOpen();
    if (!streams.delete(stream)) return;
    deleted.add(stream);
    ids.forget(stream);
    const hint = this.#appendTo(listed, oneBatch(catalog, listed, deletedRow(stream, this.#clock.wallNow())));
    this.#commits.announce([hint, { kind: 'deleted', stream }]);
  }

  async truncate(stream: StreamName, after: Token): Promise<void> {
    this.#requireDeclared(stream);
    this.#commits.flush();
    const kept = this.#find(stream);
    checkStoredToken(stream, after, this.bounds(stream));
    kept?.truncate(after);
    this.#requireOpen().ids.forget(stream, after);
    this.#commits.announce([{ kind: 'rebased', stream }]);
  }

  async rebase(position: Position): Promise<void> {
    const { stream } = position;
    this.#requireDeclared(stream);
    this.#commits.flush();
    const made = this.#make([stream]);
    this.#find(stream)!.rebase(position);
    this.#requireOpen().ids.forget(stream);
    this.#commits.announce([...made, { kind: 'rebased', stream }]);
  }

  async close(): Promise<void> {
    try {
      this.#commits.flush();
    } finally {
      this.#opened = undefined;
    }
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    this.#requireDeclared(stream);
    const { limits } = this.#requireOpen();
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
  }

  #commit({ streams: planned, ids }: CommitPlan): Committed {
    const { streams, declarations, ids: remembered } = this.#requireOpen();
    const events = this.#make([...planned.keys()].filter((stream) => !streams.has(stream)));
    for (const one of planned.values()) {
      const kept = streams.get(one.stream)!;
      events.push(this.#appendTo(kept, one));
      kept.shed(declarations.find(one.stream)!.retain, this.#clock.now());
    }
    for (const id of ids) remembered.add(id, id.history ?? this.era, this.#clock.now());
    return { era: this.era, events };
  }

  /** Makes streams that are not there yet, and begins an era first if one of them needs it. */
  #make(names: readonly StreamName[]): SourceEvent[] {
    const { id, streams, deleted, listed, catalog } = this.#requireOpen();
    const made = names.filter((name) => !streams.has(name));
    const events: SourceEvent[] = [];
    if (deleted.needEra(made)) {
      const identity = this.#requireIdentity();
      identity.era = this.#nextEra(id, parseHistory(identity.era)!.number);
      deleted.clear();
      events.push({ kind: 'era', era: identity.era });
    }
    for (const name of made) streams.set(name, new KeptStream(emptyBounds(id)));
    if (made.length === 0) return events;
    const after = listed.bounds.latest;
    const batches = made.map((name) => [madeRow(name, this.#clock.wallNow())]);
    const tokens = batches.map((_, i) => after + 1 + i);
    events.push(this.#appendTo(listed, { stream: catalog, after, batches, tokens }));
    return events;
  }

  #appendTo(kept: KeptStream, planned: PlannedStream): RowsEvent {
    const chunks = encodeChunks({
      planned,
      rowsUpTo: kept.rowsUpTo,
      history: this.era,
      atMs: this.#clock.wallNow(),
      logMs: this.#clock.now(),
    });
    kept.append(chunks);
    return { kind: 'rows', stream: planned.stream, latest: kept.bounds.latest, chunks };
  }

  #nextEra(logId: string, highest: number): History {
    return formatHistory({ logId, ...nextEra(highest, this.#clock.wallNow(), this.#random) });
  }

  /** The streams that may be appended to: every declared one, not the catalog. */
  #requireDeclared(stream: StreamName): void {
    if (!this.#requireOpen().declarations.has(stream)) throw noSuchStream(this.name, stream);
  }

  /** A stream, or the catalog. Undefined: it is not made. */
  #find(stream: StreamName): KeptStream | undefined {
    const { streams, listed, catalog, declarations } = this.#requireOpen();
    if (stream === catalog) return listed;
    const kept = streams.get(stream);
    if (kept === undefined && !declarations.has(stream)) throw noSuchStream(this.name, stream);
    return kept;
  }

  #unmade(): KeptStream {
    return new KeptStream(emptyBounds(this.id));
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

function oneBatch(stream: StreamName, { bounds }: KeptStream, row: RowText): PlannedStream {
  return { stream, after: bounds.latest, batches: [[row]], tokens: [bounds.latest + 1] };
}
