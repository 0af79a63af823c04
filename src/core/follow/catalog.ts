/**
 * Reads the stream of streams of one of the primary's logs, for all patterns that are followed
 * (docs/protocol.md, "Patterns and every stream").
 *
 *   boundary ──POSITION──▶ listing ──POSITION──▶ current
 *                             ▲                     │
 *                             └── one more pattern ─┘
 *
 * `boundary` finds out where the catalog stands, or whether the boundary of a checkpoint is on its
 * history. `listing` reads all of it. Then each further row is read as it comes.
 */

import { PeerError, quoteValue } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf } from '../model/history.ts';
import type { NamePattern } from '../model/pattern.ts';
import type { Position } from '../model/position.ts';
import { type StreamName, streamNameFault } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Boundaries } from './boundaries.ts';
import { Subscription, type SubscriptionHost } from './subscription.ts';

/** Where the catalog says that a stream was made. */
export interface Made {
  readonly token: Token;
  readonly history: History;
}

export interface CatalogOptions {
  readonly name: StreamName;
  readonly boundaries: Boundaries;
  /**
   * False for an observer, which may not send RELEASE. Its boundary is where the first listing
   * ends.
   */
  readonly canRelease: boolean;
  /** How many RELEASEs of the catalog are unanswered on the present connection. */
  readonly pendingReleases: number;
  readonly host: SubscriptionHost;
  readonly events: CatalogEvents;
}

/** What a catalog finds out. `isFresh`: the row was written since the catalog was listed. */
export interface CatalogEvents {
  /** The patterns that are followed. */
  patterns(): Iterable<NamePattern>;
  /** The pattern through which a stream is followed. */
  patternOf(stream: StreamName): NamePattern | undefined;
  /**
   * A stream was made.
   * @returns whether it is to be followed, once it is certain that it was not deleted since
   */
  handleMade(catalog: Catalog, stream: StreamName, made: Made, isFresh: boolean): boolean;
  handleDeleted(catalog: Catalog, stream: StreamName, history: History, isFresh: boolean): void;
  /** The catalog has started afresh: what it has listed before says nothing. */
  handleAfresh(catalog: Catalog): void;
  /**
   * @param isNew it was made above the boundary of its pattern
   * @throws PeerError TOO_MANY_STREAMS
   */
  discover(catalog: Catalog, stream: StreamName, made: Made, isNew: boolean): void;
  /** @throws PeerError TOO_MANY_STREAMS when the worker cannot follow so many more streams */
  checkRoom(more: number): void;
  /** Everything that the catalog holds was read on this connection. */
  handleCurrent(): void;
  /** The catalog has told how far it is. */
  handleListed(): void;
}

/**
 * How many streams a listing may find for each one that may be followed: it names those that were
 * deleted since, and tells of that later.
 */
const FOUND_PER_FOLLOWED = 4;

/** The most deleted streams that are remembered for waits. The oldest is forgotten first. */
const MAX_DELETED_NAMES = 10_000;

export class Catalog {
  readonly name: StreamName;
  readonly subscription: Subscription;
  readonly #boundaries: Boundaries;
  readonly #events: CatalogEvents;
  #phase: 'boundary' | 'listing' | 'current';
  #isCurrent = false;
  /** The catalog started afresh, so every boundary is void. The next POSITION says where it is. */
  #isAfresh = false;
  /** Rows up to this token were handled for the patterns that are listed. */
  #seen: Token = 0;
  readonly #listed = new Set<NamePattern>();
  /** The patterns that the present listing is for. */
  #listing: readonly NamePattern[] = [];
  /** Streams that were made, and were not followed yet when the row came. */
  readonly #found = new Map<StreamName, Made>();
  /** Streams that were deleted in this era, the newest with a deletion. A wait may still name them. */
  readonly #deleted = new Set<StreamName>();
  #deletedIn: History | undefined;

  constructor({ name, boundaries, canRelease, pendingReleases, host, events }: CatalogOptions) {
    this.name = name;
    this.#boundaries = boundaries;
    this.#events = events;
    this.#phase = canRelease ? 'boundary' : 'listing';
    this.#listing = [...events.patterns()];
    const from = canRelease ? (boundaries.highest(name) ?? 'now') : 'start';
    this.subscription = new Subscription({ stream: name, from, onReset: 'earliest' }, host, pendingReleases);
  }

  /**
   * Everything that the catalog held at some moment of this connection was read. Later rows come
   * one by one.
   */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** All of it is being read. */
  get isListing(): boolean {
    return this.#phase === 'listing';
  }

  /** One more pattern is followed. */
  handlePattern(pattern: NamePattern): void {
    this.#listed.delete(pattern);
    const { state } = this.subscription;
    if (!this.#isCurrent || this.#phase !== 'current' || state.kind !== 'live') return;
    this.#setBoundaries(state.received);
    this.#list();
  }

  handleCut(): void {
    this.#isCurrent = false;
  }

  /**
   * Takes what has come.
   * @param onApplied called with the cost of each item
   * @throws PeerError INVALID_ROW, TOO_MANY_STREAMS
   */
  handleItems(onApplied: (cost: number) => void): void {
    const { subscription } = this;
    const { delivery } = subscription;
    for (let item = delivery.take(); item !== undefined; item = delivery.take()) {
      subscription.finish(item, true);
      onApplied(item.cost);
      switch (item.kind) {
        case 'batch':
          this.#handleBatch(item.batch.position, item.batch.rows);
          break;
        case 'reset':
          this.#handleReset();
          break;
        case 'position':
          this.#handlePosition(item.position);
          break;
        case 'trimmed':
        case 'deleted':
        case 'failed':
          break;
      }
    }
  }

  /**
   * Tokens of another history say nothing, so every stream that is not followed yet counts as new.
   */
  #handleReset(): void {
    this.#isAfresh = true;
    this.#isCurrent = false;
    this.#events.handleAfresh(this);
    this.#phase = 'listing';
    this.#listing = [...this.#events.patterns()];
    this.#listed.clear();
    this.#found.clear();
    this.#deleted.clear();
    this.#seen = 0;
  }

  /**
   * Whether the log certainly has no row of this history in a stream of the pattern that is not
   * followed (docs/protocol.md, "Waits"): it is past that history, and has not listed the stream.
   */
  isWithout(pattern: NamePattern, stream: StreamName, history: History): boolean {
    if (this.#deleted.has(stream) && isUpTo(history, this.#deletedIn!)) return true;
    if (!this.#isCurrent || this.#phase !== 'current' || !this.#listed.has(pattern)) return false;
    const position = { stream: this.name, token: Number.MAX_SAFE_INTEGER, history };
    return this.subscription.delivery.judgeWait(position) === 'reached';
  }

  #noteDeleted(stream: StreamName, history: History): void {
    // What was deleted in earlier eras is void by their numbers.
    if (this.#deletedIn !== history) this.#deleted.clear();
    this.#deletedIn = history;
    this.#deleted.add(stream);
    if (this.#deleted.size <= MAX_DELETED_NAMES) return;
    const [oldest] = this.#deleted;
    this.#deleted.delete(oldest!);
  }

  /**
   * An observer does not ask for its boundary, so no RESET tells that the boundary is of another
   * log.
   */
  #checkLog({ history }: Position): void {
    if (!this.#isAfresh && !this.#boundaries.isOfLog(this.name, logIdOf(history!))) this.#handleReset();
  }

  #handlePosition(position: Position): void {
    this.#checkLog(position);
    this.#setBoundaries(position);
    if (this.#phase === 'listing') {
      for (const pattern of this.#listing) this.#listed.add(pattern);
      this.#phase = 'current';
    }
    if (this.#phase === 'boundary' || this.#hasUnlisted()) {
      this.#follow();
      return this.#list();
    }
    const wasCurrent = this.#isCurrent;
    this.#isCurrent = true;
    this.#follow();
    if (!wasCurrent) this.#events.handleCurrent();
    this.#events.handleListed();
  }

  #setBoundaries(at: Position): void {
    if (this.#isAfresh) this.#boundaries.restart(this.name, at);
    for (const pattern of this.#events.patterns()) {
      if (this.#boundaries.has(this.name, pattern)) continue;
      this.#boundaries.set(this.name, pattern, this.#isAfresh ? { ...at, token: 0 } : at);
    }
    this.#isAfresh = false;
  }

  #hasUnlisted(): boolean {
    for (const pattern of this.#events.patterns()) if (!this.#listed.has(pattern)) return true;
    return false;
  }

  /** Reads everything, because a pattern is followed that it was not read for. */
  #list(): void {
    this.#phase = 'listing';
    this.#listing = [...this.#events.patterns()];
    this.subscription.askAgain('start');
  }

  #handleBatch(position: Position, rows: readonly unknown[]): void {
    this.#checkLog(position);
    const made = { token: position.token, history: position.history! };
    if (this.#phase !== 'boundary') {
      for (const row of rows) this.#handleRow(row, made);
      this.#seen = Math.max(this.#seen, made.token);
    }
    // A row that comes live is the newest of its stream. Until then it may have been deleted since.
    if (this.#isCurrent && this.subscription.state.kind === 'live') this.#follow();
  }

  #handleRow(row: unknown, at: Made): void {
    const { stream, made, deleted } = (row ?? {}) as { stream?: unknown; made?: unknown; deleted?: unknown };
    if (typeof stream !== 'string' || streamNameFault(stream) !== undefined || stream.startsWith('$')) {
      throw new PeerError('INVALID_ROW', `stream ${this.name} has a row that names no stream: ${quoteValue(row)}`);
    }
    const pattern = this.#events.patternOf(stream);
    if (pattern === undefined) return;
    const isListed = this.#listed.has(pattern);
    if (isListed && at.token <= this.#seen) return;
    // Rows of other kinds belong to later versions.
    if (deleted !== undefined) {
      this.#found.delete(stream);
      this.#noteDeleted(stream, at.history);
      this.#events.handleDeleted(this, stream, at.history, isListed);
    } else if (made !== undefined && this.#events.handleMade(this, stream, at, isListed)) {
      this.#found.set(stream, at);
      this.#events.checkRoom(this.#found.size / (this.#isCurrent ? 1 : FOUND_PER_FOLLOWED));
    }
  }

  /** Follows what was found. */
  #follow(): void {
    for (const [stream, made] of this.#found) {
      const pattern = this.#events.patternOf(stream);
      if (pattern === undefined) continue;
      const boundary = this.#boundaries.get(this.name, pattern);
      this.#events.discover(this, stream, made, boundary !== undefined && made.token > boundary.token);
    }
    this.#found.clear();
  }
}

/** Whether a row of this history was written no later than in the other one, in the same log. */
function isUpTo(history: History, other: History): boolean {
  return logIdOf(history) === logIdOf(other) && eraNumberOf(history) <= eraNumberOf(other);
}
