/**
 * All streams of one log in memory, as its changes make them. Knows no storage and no clock: the
 * log decides what changes.
 */

import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import type { Declarations } from '../core/model/declarations.ts';
import { type History, logIdOf } from '../core/model/history.ts';
import { emptyBounds } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import { DEFAULT_ID_RETENTION_MS, RememberedIds } from './append-ids.ts';
import type { Change, StreamToken } from './change.ts';
import { DeletedNames } from './deleted-names.ts';
import { KeptStream } from './kept-stream.ts';
import type { TimeMark } from './log-time.ts';
import type { LogOptions } from './log.ts';

/** The most ids that are remembered, about 300 MB of them. The oldest is forgotten first. */
const MAX_IDS = 1_000_000;

export class KeptStreams {
  readonly ids: RememberedIds;
  /** The names that were deleted in the present era. */
  readonly deletedNames: DeletedNames = new DeletedNames();
  readonly #catalog: StreamName;
  readonly #declarations: Declarations;
  /** Also those that are kept and not declared (any more), without the catalog. */
  readonly #made = new Map<StreamName, KeptStream>();
  readonly #undeclared = new Set<StreamName>();
  #listed: KeptStream | undefined;
  #era: History | undefined;
  #timeMark: TimeMark | undefined;

  constructor({ catalog, declarations, idRetentionMs = DEFAULT_ID_RETENTION_MS }: LogOptions) {
    this.ids = new RememberedIds(idRetentionMs, MAX_IDS);
    this.#catalog = catalog;
    this.#declarations = declarations;
  }

  /** The era of the newest change that began one. */
  get era(): History | undefined {
    return this.#era;
  }

  /** The era of the log, which has one. */
  get presentEra(): History {
    assert(this.#era !== undefined, 'the first change of a log to begin an era');
    return this.#era;
  }

  /** What the clocks said when that was last written. */
  get timeMark(): TimeMark | undefined {
    return this.#timeMark;
  }

  /** A stream that is made and declared, or the catalog. */
  find(name: StreamName): KeptStream | undefined {
    if (name === this.#catalog) return this.#listed;
    return this.#undeclared.size > 0 && this.#undeclared.has(name) ? undefined : this.#made.get(name);
  }

  /** In the order in which they were made. */
  names(): Iterable<StreamName> {
    if (this.#undeclared.size === 0) return this.#made.keys();
    return [...this.#made.keys()].filter((name) => !this.#undeclared.has(name));
  }

  /** When the newest row became durable, in the log's own time; 0 without rows. */
  get newestMs(): Millis {
    let newest = this.#listed?.newestMs ?? 0;
    for (const { newestMs = 0 } of this.#made.values()) newest = Math.max(newest, newestMs);
    for (const { atMs } of this.ids.all()) newest = Math.max(newest, atMs);
    return newest;
  }

  apply({ era, deleted, truncated, rebased, appended, trimmed, ids, time, holders }: Change): void {
    if (time !== undefined) this.#timeMark = time;
    if (era !== undefined) this.#beginEra(era);
    if (deleted !== undefined) this.#delete(deleted);
    if (truncated !== undefined) this.#truncate(truncated);
    if (rebased !== undefined) this.#rebase(rebased);
    if (appended !== undefined) for (const { stream, chunks } of appended) this.#require(stream).append(chunks);
    if (trimmed !== undefined) for (const { stream, token } of trimmed) this.#require(stream).trim(token);
    if (ids !== undefined) for (const id of ids) this.ids.add(id);
    if (holders !== undefined) for (const one of holders) this.#require(one.stream).handleHoldersStored(one);
  }

  /** Changes that make the same streams from nothing. */
  *changes(): IterableIterator<Change> {
    yield { era: this.presentEra, ...(this.#timeMark && { time: this.#timeMark }) };
    if (this.#listed !== undefined) yield* changesOf(this.#catalog, this.#listed);
    for (const [name, kept] of this.#made) yield* changesOf(name, kept);
    yield { ids: [...this.ids.all()] };
  }

  #beginEra(era: History): void {
    this.#era = era;
    this.deletedNames.clear();
  }

  #truncate({ stream, token }: StreamToken): void {
    this.#require(stream).truncate(token);
    this.ids.forget(stream, token);
  }

  #rebase(position: Position): void {
    this.#require(position.stream).rebase(position);
    this.ids.forget(position.stream);
  }

  #delete(name: StreamName): void {
    this.#made.delete(name);
    this.#undeclared.delete(name);
    this.deletedNames.add(name);
    this.ids.forget(name);
  }

  /** Makes the stream if it is not there. */
  #require(name: StreamName): KeptStream {
    const kept = name === this.#catalog ? this.#listed : this.#made.get(name);
    if (kept !== undefined) return kept;
    const declared = this.#declarations.find(name);
    const made = new KeptStream(declared ?? { name, retain: {} }, emptyBounds(logIdOf(this.presentEra)));
    if (name === this.#catalog) this.#listed = made;
    else this.#made.set(name, made);
    if (name !== this.#catalog && declared === undefined) this.#undeclared.add(name);
    return made;
  }
}

function* changesOf(stream: StreamName, kept: KeptStream): IterableIterator<Change> {
  const { earliest, base } = kept.bounds;
  yield { rebased: { stream, token: earliest - 1, history: base } };
  // A change of its own for each: a store need not hold a whole stream at once.
  for (const chunk of kept.chunks()) yield { appended: [{ stream, chunks: [chunk] }] };
  const { storedHolders } = kept;
  if (storedHolders.length > 0) yield { holders: [{ stream, stored: storedHolders, removed: [] }] };
}
