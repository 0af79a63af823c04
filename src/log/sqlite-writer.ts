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
import { type CommitPlan, encodeChunks, type PlannedStream } from './group-commit.ts';
import type { SourceEvent } from './log.ts';
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
  readonly moved: [stream: SqliteStream, extent: Extent][];
  readonly events: SourceEvent[];
  /** Chunks are left over, to be removed in steps. */
  hasRemovals: boolean;
}

function noChanges(): Changes {
  return { hasRemovals: false, era: undefined, made: new Map(), gone: [], moved: [], events: [] };
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
    return { ...noChanges(), moved: [[stream, extent]] };
  }

  truncate(stream: SqliteStream, after: Token): Changes {
    const extent = this.#options.watchDamage(stream, 'truncate', () => stream.truncate(after));
    this.#options.ids.forgetAfter(stream.id, after);
    return { ...noChanges(), moved: [[stream, extent]], events: [{ kind: 'rebased', stream: stream.name }] };
  }

  /** A stream that is made gets another id, so that its chunks can be removed in steps. */
  rebase({ stream: name, token, history }: Position): Changes {
    const { streams } = this.#options;
    const changes = noChanges();
    const before = streams.find(name);
    if (before === undefined) {
      this.#make([name], changes);
    } else {
      streams.remove(before);
      changes.hasRemovals = true;
      changes.made.set(name, streams.make(name));
    }
    const stream = this.#find(name, changes);
    const { bounds, rowsUpTo } = before?.extent ?? stream.extent;
    changes.moved.push([stream, stream.beginAfter(token, history ?? bounds.history, rowsUpTo)]);
    changes.events.push({ kind: 'rebased', stream: name });
    return changes;
  }

  /** Call it when the transaction of the changes is committed. */
  apply({ era, made, gone, moved }: Changes): void {
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
    const extent = watchDamage(stream, 'append to', () => {
      const { rowsUpTo } = stream.extent;
      const history = this.#eraOf(changes);
      const chunks = encodeChunks({ planned, rowsUpTo, history, atMs: Math.floor(clock.wallNow()), logMs });
      changes.events.push({ kind: 'rows', stream: stream.name, latest: chunks[chunks.length - 1]!.upTo, chunks });
      return stream.append(chunks, logMs);
    });
    changes.moved.push([stream, extent]);
  }

  #eraOf({ era }: Changes): History {
    return era ?? this.#era;
  }

  /** A stream that is there, or that the changes make. */
  #find(name: StreamName, { made }: Changes): SqliteStream {
    return made.get(name) ?? this.#options.streams.find(name)!;
  }
}
