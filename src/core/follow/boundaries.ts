/**
 * Where each catalog stood when a pattern began to be followed (docs/protocol.md, "Patterns and
 * every stream"). A checkpoint keeps each as the position of a key of its own,
 * `$streams/room:*`: the catalog, `/` and the pattern.
 *
 * All boundaries of one catalog are on one history, so the highest of them proves the others.
 */

import { logIdOf } from '../model/history.ts';
import type { NamePattern } from '../model/pattern.ts';
import type { Position } from '../model/position.ts';
import { DURABLE_CATALOG, type StreamName } from '../model/stream.ts';
import { MAX_SOURCES } from '../wire/greeting.ts';

/** Names the boundary of a pattern in a catalog, as a checkpoint does. */
export function boundaryKey(catalog: StreamName, pattern: NamePattern): string {
  return `${catalog}/${pattern}`;
}

/** A boundary has moved, or is gone. */
export interface BoundaryChange {
  readonly key: string;
  readonly position: Position | undefined;
}

export class Boundaries {
  readonly #kept = new Map<StreamName, Map<NamePattern, Position>>();
  readonly #onChange: (change: BoundaryChange) => void;

  constructor(onChange: (change: BoundaryChange) => void) {
    this.#onChange = onChange;
  }

  /** Every boundary under its key. */
  *[Symbol.iterator](): Iterator<Position> {
    for (const ofCatalog of this.#kept.values()) yield* ofCatalog.values();
  }

  /** Takes the boundaries out of a checkpoint. Other positions are left. */
  load(stored: Iterable<Position>): void {
    for (const position of stored) {
      const slash = position.stream.indexOf('/');
      if (!position.stream.startsWith(DURABLE_CATALOG) || slash < 0) continue;
      this.#of(position.stream.slice(0, slash)).set(position.stream.slice(slash + 1), position);
    }
  }

  has(catalog: StreamName, pattern: NamePattern): boolean {
    return this.#kept.get(catalog)?.has(pattern) === true;
  }

  /** Undefined while it is not known. */
  get(catalog: StreamName, pattern: NamePattern): Position | undefined {
    return this.#kept.get(catalog)?.get(pattern);
  }

  /** The one that proves all others of the catalog, as a position of the catalog. */
  highest(catalog: StreamName): Position | undefined {
    let highest: Position | undefined;
    for (const position of this.#kept.get(catalog)?.values() ?? []) {
      if (highest === undefined || position.token > highest.token) highest = position;
    }
    return highest && { ...highest, stream: catalog };
  }

  /** @param at a position of the catalog */
  set(catalog: StreamName, pattern: NamePattern, at: Position): void {
    const key = boundaryKey(catalog, pattern);
    const position = { ...at, stream: key };
    this.#of(catalog).set(pattern, position);
    this.#onChange({ key, position });
  }

  /** The catalog has started afresh: every stream in it counts as made above each boundary. */
  restart(catalog: StreamName, at: Position): void {
    for (const pattern of this.#kept.get(catalog)?.keys() ?? []) this.set(catalog, pattern, { ...at, token: 0 });
  }

  /** The pattern begins anew, whatever was known of it. */
  forget(pattern: NamePattern): void {
    for (const [catalog, ofCatalog] of this.#kept) {
      if (ofCatalog.delete(pattern)) this.#onChange({ key: boundaryKey(catalog, pattern), position: undefined });
    }
  }

  /**
   * A primary has these catalogs. Others are kept, for a source that is back after a while, but not
   * without end: the names of some sources change with each start of the primary.
   */
  keepOnly(named: ReadonlySet<StreamName>): void {
    if (this.#kept.size <= 2 * MAX_SOURCES) return;
    for (const [catalog, ofCatalog] of this.#kept) {
      if (named.has(catalog)) continue;
      this.#kept.delete(catalog);
      for (const pattern of ofCatalog.keys())
        this.#onChange({ key: boundaryKey(catalog, pattern), position: undefined });
    }
  }

  /** Whether the boundaries of the catalog are of this log, as far as is known. */
  isOfLog(catalog: StreamName, logId: string): boolean {
    const history = this.highest(catalog)?.history;
    return history === undefined || logIdOf(history) === logId;
  }

  #of(catalog: StreamName): Map<NamePattern, Position> {
    let ofCatalog = this.#kept.get(catalog);
    if (ofCatalog === undefined) {
      ofCatalog = new Map();
      this.#kept.set(catalog, ofCatalog);
    }
    return ofCatalog;
  }
}
