/**
 * What an sqlite log writes: the rows of a commit, the streams that it makes, deletions, and what a
 * relay takes back. Each method writes in the caller's transaction and returns the changes in
 * memory; the caller applies them once the transaction is committed.
 */

import type { Clock, Millis } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { formatHistory, type History } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { DeletedNames } from './deleted-names.ts';
import { deletedRow, madeRow, nextEra } from './era.ts';
import { encodeChunks, type PlannedStream } from './encode-chunks.ts';
import type { CommitPlan } from './group-commit.ts';
import type { CuttingEvent, SourceEvent } from './log.ts';
import type { LogTime } from './log-time.ts';
import type { LogFile } from './sqlite-file.ts';
import type { IdTable } from './sqlite-ids.ts';
import type { Extent, SqliteStream } from './sqlite-stream.ts';
import type { StreamTable } from './sqlite-streams.ts';

export interface WriterOptions {
  readonly file: LogFile;
  readonly streams: StreamTable;
  readonly ids: IdTable;
  readonly time: LogTime;
  readonly clock: Clock;
  readonly random: Random;
  /** Notes damage that the work finds. */
  readonly watchDamage: <T>(stream: SqliteStream, doing: string, work: () => T) => T;
  readonly era: History;
}

/** What a committed transaction changes in memory, and what it announces. */
export interface Changes {
  era: History | undefined;
  readonly made: Map<StreamName, SqliteStream>;
  readonly gone: SqliteStream[];
  /** They go on as other objects. */
  readonly replaced: SqliteStream[];
  readonly moved: [stream: SqliteStream, extent: Extent][];
  /** Their changes of holders are written. */
  readonly stored: SqliteStream[];
  /** Some of what they may drop is left. */
  readonly surplus: SqliteStream[];
  readonly events: SourceEvent[];
  /** Chunks are left over, to be removed in steps. */
  hasRemovals: boolean;
}

function noChanges(): Changes {
  const lists = { gone: [], replaced: [], moved: [], stored: [], surplus: [], events: [] };
  return { hasRemovals: false, era: undefined, made: new Map(), ...lists };
}

export class LogWriter {
  readonly #options: WriterOptions;
  /** The streams that were deleted in the present era. */
  readonly #deleted = new DeletedNames();
  #era: History;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#era = options.era;
  }

  get era(): History {
    return this.#era;
  }

  append({ streams: planned, ids }: CommitPlan): Changes {
    const changes = noChanges();
    this.#make([...planned.keys()], changes);
    const now = this.#options.time.now();
    for (const one of planned.values()) this.#appendTo(this.#find(one.stream, changes), one, changes);
    for (const id of ids) this.#options.ids.add(this.#find(id.stream, changes).id, id, this.#eraOf(changes), now);
    if (ids.length > 0) this.#options.ids.forgetOld(ids.length, now);
    return changes;
  }

  delete(stream: SqliteStream): Changes {
    const changes = noChanges();
    this.#options.streams.remove(stream);
    changes.hasRemovals = true;
    changes.gone.push(stream);
    this.#appendToCatalog([deletedRow(stream.name, this.#options.clock.wallNow())], changes);
    changes.events.push({ kind: 'deleted', stream: stream.name });
    return changes;
  }

  trim(stream: SqliteStream, upTo: Token): Changes {
    const extent = this.#options.watchDamage(stream, 'trim', () => stream.trim(upTo));
    return { ...noChanges(), moved: [[stream, extent]], hasRemovals: true };
  }

  truncate(stream: SqliteStream, after: Token): Changes {
    const extent = this.#options.watchDamage(stream, 'truncate', () => stream.truncate(after));
    this.#options.ids.forgetAfter(stream.id, after);
    return { ...noChanges(), moved: [[stream, extent]], events: [{ kind: 'rebased', stream: stream.name }] };
  }

  /** Writes what has changed of the holders of streams. */
  storeHolders(streams: Iterable<SqliteStream>): Changes {
    const changes = noChanges();
    for (const stream of streams) {
      if (stream.holders === undefined) continue;
      this.#options.streams.holders.store(stream.id, stream.holders.changes);
      changes.stored.push(stream);
    }
    return changes;
  }

  /** Drops what retention no longer needs, also where nothing is appended. */
  shed(streams: Iterable<SqliteStream>, changes: Changes): Changes {
    const { time, watchDamage } = this.#options;
    for (const stream of streams) {
      try {
        const shed = watchDamage(stream, 'drop rows of', () => stream.shed(time.now()));
        changes.moved.push([stream, shed.extent]);
        changes.events.push(...shed.cutting);
        if (shed.hasMore) changes.surplus.push(stream);
      } catch (error) {
        // What is damaged is left as it is, and the others go on.
        if (stream.damage === undefined) throw error;
      }
    }
    return changes;
  }

  /** A stream that is made gets another id, so that its chunks can be removed in steps. */
  rebase({ stream: name, token, history }: Position): Changes {
    const { streams } = this.#options;
    const changes = noChanges();
    const before = streams.find(name);
    if (before === undefined) {
      this.#make([name], changes);
    } else {
      const holders = before.holders?.unsavedRecords() ?? [];
      streams.remove(before);
      const next = streams.make(name);
      streams.holders.store(next.id, { stored: holders, removed: [] });
      changes.hasRemovals = true;
      changes.replaced.push(before);
      changes.made.set(name, next);
    }
    const stream = this.#find(name, changes);
    const { bounds, rowsUpTo } = before?.extent ?? stream.extent;
    changes.moved.push([stream, stream.beginAfter(token, history ?? bounds.history, rowsUpTo)]);
    changes.events.push({ kind: 'rebased', stream: name });
    return changes;
  }

  /** Call it when the transaction of the changes is committed. */
  apply({ era, made, gone, moved, stored, events }: Changes): void {
    if (era !== undefined) {
      this.#era = era;
      this.#deleted.clear();
    }
    for (const stream of gone) {
      this.#options.streams.forget(stream);
      this.#deleted.add(stream.name);
    }
    for (const stream of made.values()) this.#options.streams.add(stream);
    for (const [stream, extent] of moved) stream.extent = extent;
    for (const stream of stored) stream.holders?.handleStored();
    for (const event of events) {
      if (event.kind === 'cutting') this.#handleTold(event);
      // Those that were saved of rows that are gone hold everything.
      else if (event.kind === 'rebased') this.#options.streams.find(event.stream)?.judgeHoldersAgain();
    }
  }

  #handleTold({ stream: name, holder }: CuttingEvent): void {
    const stream = this.#options.streams.find(name)!;
    stream.holders?.handleTold(holder.worker, stream.extent.bounds.latest);
  }

  /** Makes those that are not there, and begins an era first if one of them needs it. */
  #make(names: readonly StreamName[], changes: Changes): void {
    const { streams, clock } = this.#options;
    const made = names.filter((name) => streams.find(name) === undefined);
    if (made.length === 0) return;
    const wallMs = clock.wallNow();
    if (this.#deleted.needEra(made)) changes.era = this.#beginEra(wallMs);
    if (changes.era !== undefined) changes.events.push({ kind: 'era', era: changes.era });
    for (const name of made) changes.made.set(name, streams.make(name));
    const rows = made.map((name) => madeRow(name, wallMs));
    this.#appendToCatalog(rows, changes);
  }

  #beginEra(wallMs: Millis): History {
    const { file, random } = this.#options;
    return formatHistory({ logId: file.id, ...file.beginEra(({ number }) => nextEra(number, wallMs, random)) });
  }

  /** A batch for each row. */
  #appendToCatalog(rows: readonly string[], changes: Changes): void {
    const { catalog } = this.#options.streams;
    const after = catalog.extent.bounds.latest;
    const batches = rows.map((row) => [row]);
    const tokens = rows.map((_, i) => after + 1 + i);
    this.#appendTo(catalog, { stream: catalog.name, after, batches, tokens }, changes);
  }

  #appendTo(stream: SqliteStream, planned: PlannedStream, changes: Changes): void {
    const { time, clock, watchDamage } = this.#options;
    const logMs = time.now();
    const { extent, cutting } = watchDamage(stream, 'append to', () => {
      const { rowsUpTo } = stream.extent;
      const history = this.#eraOf(changes);
      const chunks = encodeChunks({ planned, rowsUpTo, history, atMs: Math.floor(clock.wallNow()), logMs });
      changes.events.push({ kind: 'rows', stream: stream.name, latest: chunks[chunks.length - 1]!.upTo, chunks });
      return stream.append(chunks, logMs);
    });
    changes.moved.push([stream, extent]);
    changes.events.push(...cutting);
  }

  #eraOf({ era }: Changes): History {
    return era ?? this.#era;
  }

  /** A stream that is there, or that the changes make. */
  #find(name: StreamName, { made }: Changes): SqliteStream {
    return made.get(name) ?? this.#options.streams.find(name)!;
  }
}
