/**
 * Who holds the rows of one stream back (Retention.untilSavedBy), and up to where each of them has
 * saved it. Knows no rows and no files: the log says which history a token has.
 *
 * It has an entry for each name and each pattern of `untilSavedBy`, and one for each worker that a
 * pattern has let in. A pattern's own entry holds everything until the first worker of it comes.
 */

import { matchesPattern } from '../core/model/pattern.ts';
import { aFunction, hidden, listOf, required } from '../core/model/option-kinds.ts';
import { checkOptions, type OptionTable } from '../core/model/options.ts';
import type { History } from '../core/model/history.ts';
import { LONGEST_WORKER_NAME, type WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Held } from './log.ts';

/**
 * The most workers that patterns let in, for each stream. A peer chooses its own name, so without a
 * bound one peer could make as many entries as it likes.
 */
export const MAX_HOLDERS = 1_000;

/** A token, and the history that it had when it was told. */
export interface SavedPlace {
  readonly token: Token;
  readonly history: History;
}

/** One entry, as a durable log stores it. */
export interface HolderRecord {
  readonly worker: WorkerName;
  /** Undefined: it has saved nothing that is on the history, so it needs every row. */
  readonly saved: SavedPlace | undefined;
  /**
   * False: a name that was forgotten, or a pattern whose first worker has come. Such an entry holds
   * nothing, although `untilSavedBy` names it.
   */
  readonly holds: boolean;
}

/** What is to be stored. */
export interface HolderChanges {
  readonly stored: readonly HolderRecord[];
  readonly removed: readonly WorkerName[];
}

interface Entry {
  readonly saved: SavedPlace | undefined;
  readonly holds: boolean;
  /** The stream's latest token when its rows were told to be cut. Undefined: it keeps up. */
  readonly toldAt: Token | undefined;
}

export interface StreamHoldersOptions {
  readonly untilSavedBy: readonly WorkerName[];
  /** The place of a token on the present history. Undefined when it is not, or no longer, there. */
  readonly placeAt: (token: Token) => SavedPlace | undefined;
  /** What `changes` gave before. */
  readonly stored?: Iterable<HolderRecord>;
}

const optionTable: OptionTable<StreamHoldersOptions> = {
  untilSavedBy: required(listOf('a list of names of workers')),
  placeAt: required(aFunction()),
  stored: hidden(
    'what `changes` gave',
    (value) => typeof (value as Iterable<unknown> | null)?.[Symbol.iterator] === 'function',
  ),
};

/** Below every token. */
const NOTHING: Token = -1;
const UNSAVED: Entry = Object.freeze({ saved: undefined, holds: true, toldAt: undefined });
const FREED: Entry = Object.freeze({ saved: undefined, holds: false, toldAt: undefined });

/** The names and patterns of one `untilSavedBy`, which the streams of a pattern share. */
interface Named {
  /** Patterns, too. */
  readonly names: ReadonlySet<WorkerName>;
  readonly patterns: readonly string[];
}

const namedBy = new WeakMap<readonly WorkerName[], Named>();

function namedOf(untilSavedBy: readonly WorkerName[]): Named {
  let named = namedBy.get(untilSavedBy);
  if (named === undefined) {
    named = { names: new Set(untilSavedBy), patterns: untilSavedBy.filter((name) => name.includes('*')) };
    namedBy.set(untilSavedBy, named);
  }
  return named;
}

/** The workers that hold rows of one stream back, and how far each has saved. */
export class StreamHolders {
  readonly #named: Named;
  readonly #placeAt: StreamHoldersOptions['placeAt'];
  readonly #entries = new Map<WorkerName, Entry>();
  /** Entries that differ from what is stored. */
  readonly #changed = new Set<WorkerName>();
  #isUrgent = false;
  #savedByAll: Token | undefined;
  /** While nobody holds rows: those up to here were let go. */
  #freedUpTo: Token = NOTHING;

  /** @throws UsageError INVALID_OPTION */
  constructor(options: StreamHoldersOptions) {
    const { untilSavedBy, placeAt, stored = [] } = checkOptions('StreamHolders', options, optionTable);
    this.#named = namedOf(untilSavedBy);
    this.#placeAt = placeAt;
    for (const name of untilSavedBy) this.#entries.set(name, UNSAVED);
    for (const { worker, saved, holds } of stored) {
      if (this.#named.names.has(worker) || this.#isLetIn(worker))
        this.#entries.set(worker, { ...UNSAVED, saved, holds });
      // The option has changed since. The worker may be let in again when it follows again.
      else this.#changed.add(worker);
    }
    this.judgeAgain();
  }

  /**
   * Every holder has saved the rows up to here. Below every token when one has saved nothing. Where
   * everyone was forgotten, what came after that is kept until somebody comes: it would be gone
   * before a worker that takes the place of another one.
   */
  get savedByAll(): Token {
    this.#savedByAll ??= this.#lowest();
    return this.#savedByAll;
  }

  get count(): number {
    let count = 0;
    for (const { holds } of this.#entries.values()) if (holds) count++;
    return count;
  }

  /** Those who hold rows, furthest behind first. */
  list(): Omit<HolderRecord, 'holds'>[] {
    const holders: Omit<HolderRecord, 'holds'>[] = [];
    for (const [worker, { saved, holds }] of this.#entries) if (holds) holders.push({ worker, saved });
    return holders.sort((a, b) => tokenOf(a) - tokenOf(b));
  }

  /** All entries, as those of a stream of which nothing is saved. */
  unsavedRecords(): HolderRecord[] {
    return Array.from(this.#entries, ([worker, { holds }]) => ({ worker, saved: undefined, holds }));
  }

  /**
   * The worker asks for the rows after a token, or (undefined) for all. It frees no row by that: it
   * may have received more than it has saved. So what it has saved can only fall.
   */
  hold(worker: WorkerName, after: Token | undefined): Held {
    const entry = this.#letIn(worker);
    if (typeof entry === 'string') return entry;
    const { saved } = entry;
    if (saved !== undefined && (after === undefined || after < saved.token)) {
      this.#set(worker, { ...entry, saved: after === undefined ? undefined : this.#placeAt(after) });
    }
    return 'holds';
  }

  /** The worker has saved everything up to the token. */
  acknowledge(worker: WorkerName, saved: Token): Held {
    const entry = this.#letIn(worker);
    if (typeof entry === 'string') return entry;
    if (saved === entry.saved?.token) return 'holds';
    const hasCaughtUp = entry.toldAt !== undefined && saved >= entry.toldAt;
    const place = this.#placeAt(saved);
    this.#set(worker, { ...entry, saved: place, toldAt: hasCaughtUp ? undefined : entry.toldAt });
    return 'holds';
  }

  /**
   * The name holds nothing until it follows the stream again. Returns whether it held rows.
   * @param latest of the stream
   */
  forget(worker: WorkerName, latest: Token): boolean {
    const entry = this.#entries.get(worker);
    if (entry?.holds !== true) return false;
    if (this.#named.names.has(worker)) this.#set(worker, FREED);
    else {
      this.#entries.delete(worker);
      this.#handleChange(worker);
    }
    if (this.count === 0) this.#freedUpTo = latest;
    return true;
  }

  /**
   * Rows were taken back: what is no longer on the history counts as nothing saved. What was told of
   * cuts, and what was let go, was about the rows that there were.
   */
  judgeAgain(): void {
    if (this.#placeAt(this.#freedUpTo) === undefined) this.#freedUpTo = NOTHING;
    this.#savedByAll = undefined;
    for (const [worker, before] of this.#entries) {
      const entry = { ...before, toldAt: undefined };
      this.#entries.set(worker, entry);
      if (entry.saved === undefined) continue;
      if (this.#placeAt(entry.saved.token)?.history !== entry.saved.history) {
        this.#set(worker, { ...entry, saved: undefined });
      }
    }
  }

  /**
   * The holders that need rows up to the token, which are to be cut, and were not told so since they
   * last had saved everything.
   */
  untold(upTo: Token): Omit<HolderRecord, 'holds'>[] {
    const untold: Omit<HolderRecord, 'holds'>[] = [];
    if (this.savedByAll >= upTo) return untold;
    for (const [worker, entry] of this.#entries) {
      if (!entry.holds || entry.toldAt !== undefined || tokenOf(entry) >= upTo) continue;
      untold.push({ worker, saved: entry.saved });
    }
    return untold;
  }

  /** The worker is told that rows are to be cut. Not stored: after a restart it is told again. */
  handleTold(worker: WorkerName, latest: Token): void {
    const entry = this.#entries.get(worker);
    if (entry !== undefined) this.#entries.set(worker, { ...entry, toldAt: latest });
  }

  get hasChanges(): boolean {
    return this.#changed.size > 0;
  }

  /** A change that must not be lost: by it somebody needs rows that may be dropped without it. */
  get isUrgent(): boolean {
    return this.#isUrgent;
  }

  /** What differs from what is stored: the entries to store, and the names to store no more. */
  get changes(): HolderChanges {
    const stored: HolderRecord[] = [];
    const removed: WorkerName[] = [];
    for (const worker of this.#changed) {
      const entry = this.#entries.get(worker);
      if (entry === undefined) removed.push(worker);
      else stored.push({ worker, saved: entry.saved, holds: entry.holds });
    }
    return { stored, removed };
  }

  /** The changes are stored. */
  handleStored(): void {
    this.#changed.clear();
    this.#isUrgent = false;
  }

  /** The entry of a worker that may hold rows. Makes one, or why there is none. */
  #letIn(worker: WorkerName): Entry | 'other' | 'refused' {
    const isNamed = this.#named.names.has(worker) && !worker.includes('*');
    const isLetIn = this.#isLetIn(worker);
    if (!isNamed && !isLetIn) return 'other';
    const known = this.#entries.get(worker);
    if (known === undefined) {
      if (worker.length > LONGEST_WORKER_NAME || this.#entries.size - this.#named.names.size >= MAX_HOLDERS)
        return 'refused';
    }
    if (isLetIn) this.#handleFirstOf(worker);
    if (known?.holds === true) return known;
    this.#set(worker, UNSAVED);
    return UNSAVED;
  }

  /** Whether a pattern lets the worker in. A name with * would be taken for a pattern's own entry. */
  #isLetIn(worker: WorkerName): boolean {
    return !worker.includes('*') && this.#named.patterns.some((pattern) => matchesPattern(pattern, worker));
  }

  #handleFirstOf(worker: WorkerName): void {
    for (const pattern of this.#named.patterns) {
      if (this.#entries.get(pattern)!.holds && matchesPattern(pattern, worker)) this.#set(pattern, FREED);
    }
  }

  #lowest(): Token {
    let lowest = Infinity;
    for (const entry of this.#entries.values()) if (entry.holds) lowest = Math.min(lowest, tokenOf(entry));
    return lowest === Infinity ? this.#freedUpTo : lowest;
  }

  #set(worker: WorkerName, entry: Entry): void {
    const before = this.#entries.get(worker);
    const needsMore = before === undefined || !before.holds || tokenOf(entry) < tokenOf(before);
    if (entry.holds && needsMore) this.#isUrgent = true;
    this.#entries.set(worker, entry);
    this.#handleChange(worker);
  }

  #handleChange(worker: WorkerName): void {
    this.#changed.add(worker);
    this.#savedByAll = undefined;
  }
}

/** Below every token where nothing is saved. */
function tokenOf({ saved }: Pick<Entry, 'saved'>): Token {
  return saved?.token ?? NOTHING;
}
