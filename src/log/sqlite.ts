/**
 * The embedded log: one SQLite file. Queued appends share one commit, and a record is a chunk, not
 * a row. Reads and commits block the process, each for one page or commit.
 *
 * The file is readable with the sqlite3 shell, also while the log is open:
 *
 *     SELECT up_to, '[' || CAST(texts AS TEXT) || ']' FROM chunks
 *      WHERE stream_id = (SELECT id FROM streams WHERE name = 'events') ORDER BY up_to;
 */

import { resolve } from 'node:path';

import { type Clock, systemClock } from '../base/clock.ts';
import { type Random, randomHex, systemRandom } from '../base/random.ts';
import { checkAttributes } from '../core/model/attributes.ts';
import { checkBatch } from '../core/model/batch.ts';
import type { LogError } from '../core/model/errors.ts';
import {
  aFunction,
  clockKind,
  filePath,
  integerFrom,
  kind,
  oneOf,
  randomKind,
  required,
} from '../core/model/option-kinds.ts';
import { checkOptions, type Kind, type OptionTable } from '../core/model/options.ts';
import { type History, LOG_ID_DIGITS } from '../core/model/history.ts';
import { type Bounds, emptyBounds, type Page, type Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import { pageOf, refuseGap } from './chunk-page.ts';
import { CommitWatch, type LogTrouble } from './commit-watch.ts';
import { type Committed, type CommitPlan, GroupCommit } from './group-commit.ts';
import { judgePosition } from './judge.ts';
import type {
  BackupOptions,
  AppendOptions,
  Log,
  LogHealth,
  LogHolders,
  LogOptions,
  ReadOptions,
  SourceEvent,
  SourceListener,
} from './log.ts';
import { type Boot, systemBoot } from './log-time.ts';
import { isFull, sqliteLogError } from './sqlite-errors.ts';
import { realPathOf } from './sqlite-place.ts';
import { emptyReserve } from './sqlite-room.ts';
import type { FileOptions } from './sqlite-file.ts';
import type { Synchronous } from './synchronous.ts';
import { OpenedLog, type OpenedEnvironment } from './sqlite-opened.ts';
import { checkStoredToken, logIsOpen, noSuchStream, notOpen } from './usage-errors.ts';

export type { Synchronous } from './synchronous.ts';

/** Options of `sqliteLog`. */
export interface SqliteLogOptions {
  /**
   * The file. It and its directory are created when missing. `-wal`, `-shm`, a permanent empty
   * `.lock` and a `.reserve` of 8 MiB lie beside it (docs/operations.md).
   */
  readonly path: string;
  /**
   * `full` (default): an append survives a power cut. `normal`: it survives the end of the process;
   * a power cut may lose the newest ones.
   */
  readonly synchronous?: Synchronous;
  /**
   * The most bytes of the file `-wal`, which grows while a reader holds an old snapshot. Above it
   * appends are refused with LOG_FULL until that reader has left. Default 1 GiB, at least 16 MiB.
   */
  readonly maxWalBytes?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The boot of the machine, for tests. @internal */
  readonly boot?: () => Boot | undefined;
  /** The most pages of the file, to simulate a full disk in tests. @internal */
  readonly maxPages?: number;
}

const DEFAULT_MAX_WAL_BYTES = 1024 * 1024 * 1024;
/** Below this a few commits of large batches could reach the bound without any reader. */
const LEAST_MAX_WAL_BYTES = 16 * 1024 * 1024;

const logPath: Kind<string> = kind(
  'the path of a file (memoryLog() keeps nothing)',
  (value) => filePath.accepts(value) && value !== ':memory:',
);

const optionTable: OptionTable<SqliteLogOptions> = {
  path: required(logPath),
  synchronous: oneOf('full', 'normal'),
  maxWalBytes: integerFrom(LEAST_MAX_WAL_BYTES),
  clock: clockKind,
  random: randomKind,
  boot: aFunction(),
  maxPages: integerFrom(1),
};

/**
 * A log in an SQLite file. One process at a time has it open; others may read it with the sqlite3
 * shell.
 * @throws UsageError INVALID_OPTION
 */
export function sqliteLog(given: SqliteLogOptions): Log {
  const options = checkOptions('sqliteLog', given, optionTable);
  const { synchronous = 'full', maxWalBytes = DEFAULT_MAX_WAL_BYTES } = options;
  return new SqliteLog({ ...options, synchronous, maxWalBytes });
}

type CheckedOptions = SqliteLogOptions & Required<Pick<SqliteLogOptions, 'synchronous' | 'maxWalBytes'>>;

class SqliteLog implements Log {
  readonly name: string;
  readonly #environment: OpenedEnvironment;
  readonly #fileOptions: FileOptions;
  // setImmediate: everything from one turn of the event loop, of all connections, shares the fsync.
  readonly #commits = new GroupCommit({
    check: (stream, rows, options) => this.#check(stream, rows, options),
    latest: (stream) => this.#open.find(stream)?.extent.bounds.latest ?? 0,
    findId: (stream, id) => this.#open.findId(stream, id),
    commit: (plan) => this.#commit(plan),
    soon: setImmediate,
  });
  readonly holders: LogHolders = {
    hold: (stream, worker, after) => this.#open.tellHolders(stream, (holders) => holders.hold(worker, after)),
    acknowledge: (stream, worker, saved) =>
      this.#open.tellHolders(stream, (holders) => holders.acknowledge(worker, saved)),
    of: (stream, most) => this.#open.read(stream, { made: (kept) => kept.listHolders(most), unmade: () => [] }),
    count: (stream) => this.#open.read(stream, { made: (kept) => kept.holders?.count ?? 0, unmade: () => 0 }),
    forget: async (worker) => {
      const { forgotten, events } = this.#open.forgetWorker(worker);
      this.#commits.announce(events);
      return forgotten;
    },
  };
  #opening: Promise<void> | undefined;
  /** What the last open made. Its identity outlasts the close. */
  #last: OpenedLog | undefined;
  readonly #watch: CommitWatch;

  constructor(options: CheckedOptions) {
    const { path, synchronous, maxWalBytes, maxPages } = options;
    const { clock = systemClock, random = systemRandom, boot = systemBoot } = options;
    this.name = `sqlite ${path}`;
    // The path as the caller gave it: the name that a reader of messages knows.
    const announce = (events: readonly SourceEvent[]): void => this.#commits.announce(events);
    this.#watch = new CommitWatch(clock);
    const handleStopped = (reason: LogError): void => this.#watch.handleStopped(reason);
    this.#environment = { name: this.name, path, clock, random, boot, announce, handleStopped };
    const newId = (): string => randomHex(random, LOG_ID_DIGITS);
    this.#fileOptions = { path: resolve(path), synchronous, maxWalBytes, maxPages, newId };
  }

  /** The file, with its directory. */
  get path(): string {
    return this.#fileOptions.path;
  }

  get id(): string {
    return this.#known.id;
  }

  get era(): History {
    return this.#known.era;
  }

  get catalog(): StreamName {
    return this.#known.catalog;
  }

  get health(): LogHealth {
    if (this.#last?.stopped !== undefined) return 'failed';
    const { health } = this.#watch;
    return health === 'ok' && this.#last?.isWalHigh === true ? 'slow' : health;
  }

  get trouble(): LogTrouble | undefined {
    return this.#watch.trouble;
  }

  async open(options: LogOptions): Promise<void> {
    if (this.#last?.isOpen === true || this.#opening !== undefined) throw logIsOpen(this.name);
    this.#opening = this.#openFile(options);
    try {
      await this.#opening;
    } finally {
      this.#opening = undefined;
    }
  }

  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return this.#commits.append(stream, rows, options);
  }

  serves(stream: StreamName): boolean {
    return stream === this.#open.catalog || this.#open.declares(stream);
  }

  streams(): Iterable<StreamName> {
    return this.#open.streams.names();
  }

  judge(position: Position): Verdict {
    const { id } = this;
    return this.#open.read(position.stream, {
      made: (kept) => kept.judge(position),
      unmade: () => judgePosition(position, { bounds: emptyBounds(id), historyAt: () => position.history! }),
    });
  }

  read(stream: StreamName, options: ReadOptions): Page {
    const { id } = this;
    return this.#open.read(stream, {
      made: (kept) => {
        const { bounds } = kept.extent;
        refuseGap(this.name, stream, options.after, bounds);
        return pageOf(stream, kept.read(options), bounds);
      },
      unmade: () => pageOf(stream, [], emptyBounds(id)),
    });
  }

  bounds(stream: StreamName): Bounds {
    const kept = this.#open.find(stream);
    return kept === undefined ? emptyBounds(this.id) : this.#open.boundsOf(kept);
  }

  rowsAfter(stream: StreamName, after: Token): number {
    return this.#open.read(stream, { made: (kept) => kept.rowsAfter(after), unmade: () => 0 });
  }

  watch(listener: SourceListener): () => void {
    return this.#commits.watch(listener);
  }

  async trim(stream: StreamName, upTo: Token): Promise<void> {
    this.#requireDeclared(stream);
    this.#commits.flush();
    const kept = this.#open.find(stream);
    if (kept !== undefined) this.#open.change('trim', (writer) => writer.trim(kept, upTo));
  }

  async delete(stream: StreamName): Promise<void> {
    this.#requireDeclared(stream);
    this.#commits.flush();
    const kept = this.#open.find(stream);
    if (kept !== undefined) this.#commits.announce(this.#open.change('delete from', (writer) => writer.delete(kept)));
  }

  async truncate(stream: StreamName, after: Token): Promise<void> {
    this.#requireDeclared(stream);
    this.#commits.flush();
    const kept = this.#open.find(stream);
    checkStoredToken(stream, after, this.bounds(stream));
    if (kept === undefined) this.#commits.announce([{ kind: 'rebased', stream }]);
    else this.#commits.announce(this.#open.change('truncate', (writer) => writer.truncate(kept, after)));
  }

  async rebase(position: Position): Promise<void> {
    this.#requireDeclared(position.stream);
    this.#commits.flush();
    this.#commits.announce(this.#open.change('rebase', (writer) => writer.rebase(position)));
  }

  async backup(path: string, options?: BackupOptions): Promise<void> {
    return this.#open.backup(path, options);
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => {});
    if (this.#last?.isOpen !== true) return;
    const opened = this.#last;
    try {
      this.#commits.flush();
      opened.saveExtents();
    } finally {
      await opened.close();
    }
  }

  async #openFile(options: LogOptions): Promise<void> {
    try {
      // Loads the driver, which may be missing: an error of this log, not of an import.
      const { openLogFile } = await import('./sqlite-file.ts');
      const open = async (): Promise<OpenedLog> =>
        OpenedLog.begin(await openLogFile(this.#fileOptions), options, this.#environment);
      try {
        this.#last = await open();
      } catch (error) {
        if (!isFull(sqliteLogError(this.#environment.path, 'open', error)) || !emptyReserve(realPathOf(this.path)))
          throw error;
        this.#last = await open();
      }
    } catch (error) {
      throw sqliteLogError(this.#environment.path, 'open', error);
    }
    this.#watch.forget();
  }

  #check(stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined): void {
    const { limits } = this.#open;
    this.#open.checkAppend(stream);
    checkBatch(stream, rows, limits);
    if (options?.attributes !== undefined) checkAttributes(stream, options.attributes, limits);
  }

  #commit(plan: CommitPlan): Committed {
    const events = this.#watch.measure(() => this.#open.append(plan));
    return { era: this.era, events };
  }

  /** The streams that may be appended to: every declared one, not the catalog. */
  #requireDeclared(stream: StreamName): void {
    if (!this.#open.declares(stream)) throw noSuchStream(this.name, stream);
  }

  get #open(): OpenedLog {
    if (this.#last?.isOpen !== true) throw notOpen(this.name);
    return this.#last;
  }

  get #known(): OpenedLog {
    if (this.#last === undefined) throw notOpen(this.name);
    return this.#last;
  }
}
