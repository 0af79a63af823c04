/**
 * The streams that are followed through patterns: which there are, which of them may be requested,
 * and which were deleted. Knows no connection.
 *
 * A deleted stream is forgotten as soon as the application is told, so nothing grows with the
 * number of deletions. When the name is made again it is a new stream.
 */

import { PeerError } from '../model/errors.ts';
import { eraNumberOf, type History, logIdOf, originOf } from '../model/history.ts';
import type { NamePattern } from '../model/pattern.ts';
import { PatternTable } from '../model/pattern-table.ts';
import type { Position } from '../model/position.ts';
import { catalogOf, DURABLE_CATALOG, type StreamName, VOLATILE_CATALOG } from '../model/stream.ts';
import type { PrimaryEras } from '../wire/greeting.ts';
import { Boundaries, type BoundaryChange } from './boundaries.ts';
import { Catalog, type CatalogEvents, type Made } from './catalog.ts';
import type { Subscription, SubscriptionHost } from './subscription.ts';
import type { SubscriptionSpec } from './subscription-spec.ts';

/** How to follow every stream that a pattern stands for and that is not followed by name. */
export interface PatternSpec extends Pick<SubscriptionSpec, 'onReset' | 'readWithinMs' | 'keepsTexts'> {
  readonly pattern: NamePattern;
  /** 0: every row there ever was. */
  readonly from: 'start' | 'now' | 0;
  /**
   * Where streams were left, of which `saved` is certainly stored. Undefined: the pattern begins
   * anew, whatever a checkpoint knows.
   */
  readonly positions?: ReadonlyMap<StreamName, Position> | undefined;
  readonly saved?: ReadonlyMap<StreamName, Position> | undefined;
}

/** What the catalogs need of all followed streams. */
export interface CatalogsHost {
  /** For the subscriptions of the catalogs themselves. */
  readonly subscriptionHost: SubscriptionHost;
  /** False for an observer. */
  readonly canRelease: boolean;
  readonly maxStreams: number;
  /** How many streams are followed. */
  readonly size: number;
  find(stream: StreamName): Subscription | undefined;
  all(): Iterable<Subscription>;
  /** Follows one more stream. */
  discover(spec: SubscriptionSpec, listedIn: StreamName | undefined): void;
  /** Requests a stream that is idle. */
  ask(subscription: Subscription): void;
  /** Takes a catalog's own subscription among the others. */
  hold(subscription: Subscription): void;
  /** Ends the subscription because its stream was deleted. */
  delete(subscription: Subscription): void;
  /** Ends a catalog's own subscription. */
  drop(subscription: Subscription): void;
  release(subscription: Subscription): void;
  reconnect(why: string): void;
  handleGivenBack(cost: number): void;
  handleBoundary(change: BoundaryChange): void;
  handleGone(gone: Gone): void;
  /** A catalog says how far it is. */
  handleListed(): void;
}

/** A stream was deleted, whether or not it was followed. */
export interface Gone {
  readonly stream: StreamName;
  /** The era of the deletion. Rows of the stream of this era, or of an earlier one, are void. */
  readonly history: History;
  /** Nothing of this name was made since. Where it was left says nothing any more. */
  readonly isLast: boolean;
}

export class Catalogs implements CatalogEvents {
  readonly #host: CatalogsHost;
  readonly #patterns = new PatternTable<PatternSpec>();
  /** Outlive the catalogs. */
  readonly #boundaries: Boundaries;
  readonly #catalogs = new Map<StreamName, Catalog>();
  /**
   * Streams that were given up, so that no pattern brings them. `for-good`: the application has named
   * the stream. Otherwise it comes back once it was deleted and is made again.
   */
  readonly #givenUp = new Map<StreamName, 'for-good' | 'until-deleted'>();

  constructor(host: CatalogsHost) {
    this.#host = host;
    this.#boundaries = new Boundaries((change) => host.handleBoundary(change));
  }

  /** Whether any pattern is followed. */
  get isNeeded(): boolean {
    return this.#patterns.size > 0;
  }

  get boundaries(): Iterable<Position> {
    return this.#boundaries;
  }

  /** Takes the boundaries out of a checkpoint. Comes before the first pattern. */
  load(stored: Iterable<Position>): void {
    this.#boundaries.load(stored);
  }

  giveUp(stream: StreamName, isForGood: boolean): void {
    this.#givenUp.set(stream, isForGood ? 'for-good' : 'until-deleted');
  }

  take(stream: StreamName): void {
    this.#givenUp.delete(stream);
  }

  /** How a stream that is not followed by name is followed. Undefined when it is not. */
  specOf(stream: StreamName): PatternSpec | undefined {
    return this.#givenUp.has(stream) ? undefined : this.#patterns.find(stream);
  }

  /**
   * Follows one more pattern. `eras` are those of the present connection.
   * @throws PeerError TOO_MANY_STREAMS
   */
  follow(spec: PatternSpec, eras: PrimaryEras | undefined): void {
    if (spec.positions === undefined) this.#boundaries.forget(spec.pattern);
    this.#patterns.set(spec.pattern, spec);
    for (const stream of spec.positions?.keys() ?? []) {
      if (this.specOf(stream) === spec && this.#host.find(stream) === undefined) this.#discover(stream, spec);
    }
    if (eras === undefined) return;
    if (this.#catalogs.size === 0) this.begin(eras);
    else if (this.#host.canRelease) for (const catalog of this.#catalogs.values()) catalog.handlePattern(spec.pattern);
    else {
      this.end();
      this.#host.reconnect(` to ask for the streams of ${spec.pattern}`);
    }
  }

  /** Follows a pattern no more. The caller ends its streams. */
  unfollow(pattern: NamePattern): void {
    this.#patterns.giveUp(pattern);
    if (this.isNeeded) return;
    for (const { subscription } of this.#catalogs.values()) this.#host.release(subscription);
    this.#catalogs.clear();
  }

  /** A Rowcast primary has greeted, or the first pattern is followed at one. */
  begin(eras: PrimaryEras): void {
    if (!this.isNeeded) return;
    const names = catalogsOf(eras);
    this.#boundaries.keepOnly(names);
    for (const [name, { subscription }] of this.#catalogs) {
      if (names.has(name)) continue;
      this.#catalogs.delete(name);
      this.#host.drop(subscription);
    }
    for (const name of names) {
      if (this.#catalogs.has(name)) continue;
      const catalog = new Catalog({
        name,
        boundaries: this.#boundaries,
        canRelease: this.#host.canRelease,
        pendingReleases: this.#host.find(name)?.pendingReleases ?? 0,
        host: this.#host.subscriptionHost,
        events: this,
      });
      this.#catalogs.set(name, catalog);
      this.#host.hold(catalog.subscription);
    }
    for (const { subscription } of this.#catalogs.values()) {
      if (subscription.state.kind === 'idle') this.#host.ask(subscription);
    }
  }

  /** Stops reading the catalogs. They are read anew on the next connection. */
  end(): void {
    const catalogs = [...this.#catalogs.values()];
    this.#catalogs.clear();
    for (const { subscription } of catalogs) this.#host.drop(subscription);
  }

  handleCut(): void {
    for (const [name, catalog] of this.#catalogs) {
      catalog.handleCut();
      if (!catalog.isListing || !this.#host.canRelease) continue;
      // A listing begins at the start, where nothing proves that the boundaries are of this history.
      // So the next connection proves them first.
      this.#catalogs.delete(name);
      this.#host.drop(catalog.subscription);
    }
  }

  isCatalog({ stream }: Subscription): boolean {
    return stream.startsWith(DURABLE_CATALOG) && this.#catalogs.has(stream);
  }

  /**
   * Something has come for a catalog.
   * @throws PeerError INVALID_ROW, TOO_MANY_STREAMS
   */
  handleReady({ stream }: Subscription): void {
    try {
      this.#catalogs.get(stream)?.handleItems((cost) => this.#host.handleGivenBack(cost));
    } catch (thrown) {
      // The row that was refused must come again, so the next connection reads the whole list.
      this.end();
      throw thrown;
    }
  }

  /**
   * Whether a stream may be requested now. A stream of a pattern waits until the catalogs were read
   * on this connection, so that its deletion is known first.
   */
  mayAsk({ spec, listedIn }: Subscription): boolean {
    if (spec.pattern === undefined) return true;
    const catalog = listedIn === undefined ? undefined : this.#catalogs.get(listedIn);
    return catalog === undefined ? this.#areCurrent : catalog.isCurrent;
  }

  /** A primary that is not Rowcast has named a stream. */
  discoverAtSeed(stream: StreamName): void {
    const spec = this.specOf(stream);
    if (spec !== undefined) this.#discover(stream, spec);
  }

  // --- what the catalogs find out ---

  patterns(): Iterable<NamePattern> {
    return this.#patterns.keys();
  }

  patternOf(stream: StreamName): NamePattern | undefined {
    return this.#patterns.find(stream)?.pattern;
  }

  handleMade(catalog: Catalog, stream: StreamName, { history }: Made, isFresh: boolean): boolean {
    const known = this.#host.find(stream);
    if (known === undefined || known.isEnded) return !this.#givenUp.has(stream);
    if (known.spec.pattern === undefined) return false;
    // A catalog may drop a stream's rows together once it was deleted. Then only the next one tells.
    // After token 0 come the rows of whichever stream has the name.
    const wasListed = isFresh && known.listedIn === catalog.name && !isBeginning(known.next);
    if (isBefore(known.next, history) || wasListed) {
      this.#host.delete(known);
      return true;
    }
    known.listedIn = catalog.name;
    // The stream is back, or was listed before the primary had it again.
    if (known.state.kind === 'absent' && catalog.isCurrent) this.#host.ask(known);
    return false;
  }

  handleDeleted(catalog: Catalog, stream: StreamName, history: History, isFresh: boolean): void {
    if (isFresh && this.#givenUp.get(stream) === 'until-deleted') this.#givenUp.delete(stream);
    const known = this.#host.find(stream);
    if (known !== undefined && !known.isEnded && known.spec.pattern !== undefined) {
      // Nothing of it was read, or it began at NOW, whatever the stream was by then: perhaps in the
      // middle of one that was made again. If it was made again, a later row says so.
      const isAnother = known.listedIn === catalog.name && (!isRead(known.next) || (isFresh && known.hasBegunBlind));
      if (isAnother || isVoid(known, catalog.name, history, isFresh)) this.#host.delete(known);
      else if (known.listedIn === catalog.name) known.listedIn = undefined;
    }
    this.#host.handleGone({ stream, history, isLast: isFresh });
  }

  /** What was found and not read yet is found again, if the catalog still has it. */
  handleAfresh(catalog: Catalog): void {
    for (const subscription of this.#host.all()) {
      if (subscription.listedIn !== catalog.name || subscription.isEnded) continue;
      subscription.listedIn = undefined;
      if (!isRead(subscription.next)) this.#host.delete(subscription);
    }
  }

  handleListed(): void {
    this.#host.handleListed();
  }

  /** Whether a row of a stream that is not followed can never come: its log does not have it. */
  isVoid(position: Position): boolean {
    const { stream, history } = position;
    const pattern = this.specOf(stream)?.pattern;
    if (pattern === undefined) return false;
    for (const catalog of this.#catalogs.values()) {
      if (catalog.isWithout(pattern, stream, history!)) return true;
    }
    return false;
  }

  discover(catalog: Catalog, stream: StreamName, made: Made, isNew: boolean): void {
    const spec = this.specOf(stream);
    const known = this.#host.find(stream);
    if (spec === undefined || (known !== undefined && !known.isEnded)) return;
    this.#discover(stream, spec, { catalog, made, isNew });
  }

  checkRoom(more: number): void {
    const { size, maxStreams } = this.#host;
    if (size + more <= maxStreams) return;
    throw new PeerError('TOO_MANY_STREAMS', `the primary has more streams than maxStreams ${maxStreams}`, {
      facts: { maxStreams },
    });
  }

  handleCurrent(): void {
    const areCurrent = this.#areCurrent;
    for (const subscription of this.#host.all()) {
      const { state, spec, listedIn } = subscription;
      if (spec.pattern === undefined || state.kind !== 'idle' || !this.mayAsk(subscription)) continue;
      // No catalog has it, and nothing was read that could be void.
      if (areCurrent && listedIn === undefined && !isRead(state.next)) this.#host.delete(subscription);
      else this.#host.ask(subscription);
    }
  }

  get #areCurrent(): boolean {
    for (const catalog of this.#catalogs.values()) if (!catalog.isCurrent) return false;
    return this.#catalogs.size > 0;
  }

  /**
   * Follows one more stream of a pattern.
   * @param found undefined for a stream that a checkpoint knows, or that a primary without catalogs
   *   has
   * @throws PeerError TOO_MANY_STREAMS
   */
  #discover(
    stream: StreamName,
    { pattern, from, positions, saved, onReset, readWithinMs, keepsTexts }: PatternSpec,
    found?: { readonly catalog: Catalog; readonly made: Made; readonly isNew: boolean },
  ): void {
    this.checkRoom(1);
    let applied = positions?.get(stream);
    // It is of a stream of this name that was deleted since.
    if (found !== undefined && (isBefore(applied, found.made.history) || isOfOther(applied, found.made))) {
      applied = undefined;
    }
    const first: Position | undefined =
      found?.isNew === true ? { stream, token: 0, history: originOf(logIdOf(found.made.history)) } : undefined;
    const isSaved = applied !== undefined && (saved === undefined || saved.get(stream) === applied);
    this.#host.discover(
      {
        stream,
        from: applied ?? first ?? (from === 0 ? { stream, token: 0, history: undefined } : from),
        applied,
        saved: isSaved ? applied : undefined,
        onReset,
        readWithinMs,
        keepsTexts,
        pattern,
      },
      found?.catalog.name,
    );
  }
}

/** The stream of streams of each of a primary's logs. */
function catalogsOf({ others }: PrimaryEras): ReadonlySet<StreamName> {
  return new Set([DURABLE_CATALOG, VOLATILE_CATALOG, ...others.map((era) => catalogOf(logIdOf(era)))]);
}

type Place = Subscription['next'];

/**
 * Whether a place is of a stream that was deleted before the stream was made in this era. Each row
 * of a stream is of the era in which the stream was made or of a later one, and a name is made again
 * only in a later era than that of its deletion.
 */
function isBefore(place: Place, madeIn: History): boolean {
  const era = eraIn(place, madeIn);
  return era !== undefined && era < eraNumberOf(madeIn);
}

/** Whether a place says of another log that nothing was read there. */
function isOfOther(place: Place, { history: madeIn }: { readonly history: History }): boolean {
  return (
    typeof place === 'object' &&
    !isRead(place) &&
    place.history !== undefined &&
    logIdOf(place.history) !== logIdOf(madeIn)
  );
}

/** Whether the stream is the one that was deleted, and not one that was made again since. */
function isVoid({ next, listedIn }: Subscription, catalog: StreamName, deletedIn: History, isFresh: boolean): boolean {
  const era = eraIn(next, deletedIn);
  if (era !== undefined) return era <= eraNumberOf(deletedIn);
  return isFresh && (listedIn === catalog || (listedIn === undefined && !isRead(next)));
}

/** The number of the place's era. Undefined where nothing was read, or in another log. */
function eraIn(place: Place, history: History): number | undefined {
  if (typeof place !== 'object' || !isRead(place) || place.history === undefined) return undefined;
  return logIdOf(place.history) === logIdOf(history) ? eraNumberOf(place.history) : undefined;
}

/** Token 0: before the first row. */
function isBeginning(place: Place): boolean {
  return typeof place === 'object' && place.token === 0;
}

function isRead(place: Place): boolean {
  return typeof place === 'object' && place.token > 0;
}
