/**
 * Appends wait here for their neighbours and become durable in one commit. Also gives each batch
 * its token, and answers ids that were seen before. Knows no storage.
 *
 *   append ─┐
 *   append ─┼─▶ plan ─▶ one commit ─▶ one hint per stream ─▶ all resolve
 *   append ─┘
 *   run    ───▶ work (a trim, a deletion) ─▶ resolves
 *
 * One queue for both, so everything happens in the order in which it was asked for. A commit may
 * take time; meanwhile the queue waits, and the next commit takes all that came.
 */

import { Queue } from '../base/queue.ts';
import { UsageError } from '../core/model/errors.ts';
import { aFunction, required } from '../core/model/option-kinds.ts';
import { checkOptions, optionError, type OptionTable } from '../core/model/options.ts';
import type { History } from '../core/model/history.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import { type Token, token as checkToken } from '../core/model/token.ts';
import { checkId, hashOfRows, idKey, type KnownId, type NewId, reusedId } from './append-ids.ts';
import type { PlannedStream } from './encode-chunks.ts';
import { type AppendOptions, appendTable, type SourceEvent, type SourceListener } from './log.ts';

/**
 * The most that one commit takes, in characters. The rest is committed after a turn of the event
 * loop, so that a flood of appends does not block other work. Measured with sqlite: encoding and
 * commit take about 5 ms together.
 */
const MAX_COMMIT_UNITS = 512 * 1024;
/** The overhead of a row in characters, added to its length. */
const ROW_UNITS = 64;

/** What a commit makes durable, all or nothing. */
export interface CommitPlan {
  readonly streams: ReadonlyMap<StreamName, PlannedStream>;
  /** To be remembered. */
  readonly ids: readonly NewId[];
}

/** What has become durable. */
export interface Committed {
  /** The era of the batches that brought no history of their own. */
  readonly era: History;
  /** To be announced, in order. */
  readonly events: readonly SourceEvent[];
}

/** What a log gives its `GroupCommit`. */
export interface GroupCommitOptions {
  /** Throws when a batch must not be appended. */
  readonly check: (stream: StreamName, rows: readonly RowText[], options: AppendOptions | undefined) => void;
  /** The newest token of a stream; 0 when it is not made. */
  readonly latest: (stream: StreamName) => Token;
  /**
   * The append of this stream that had the id; undefined when it is not known (any more). Left out
   * by a log that remembers no ids.
   */
  readonly findId?: (stream: StreamName, id: string) => KnownId | undefined;
  /**
   * Makes the whole plan durable, or none of it. A promise keeps everything else waiting until it
   * settles.
   */
  readonly commit: (plan: CommitPlan) => Committed | Promise<Committed>;
  /** Calls `flush` soon. Appends until then share the first commit. */
  readonly soon: (flush: () => void) => void;
}

const commitTable: OptionTable<GroupCommitOptions> = {
  check: required(aFunction()),
  latest: required(aFunction()),
  findId: aFunction(),
  commit: required(aFunction()),
  soon: required(aFunction()),
};

interface Waiting {
  readonly kind: 'append';
  readonly stream: StreamName;
  readonly rows: readonly RowText[];
  readonly options: AppendOptions | undefined;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: unknown) => void;
  /** Given by the plan. */
  token: Token;
  /** The earlier append of the same id. */
  first: KnownId | NewId | undefined;
  refusal: UsageError | undefined;
}

/** Something that shares no commit. */
interface Work {
  readonly kind: 'work';
  /** Neither throws nor rejects. */
  readonly run: () => void | Promise<void>;
}

type Group = readonly Waiting[] | readonly [Work];

/**
 * The queue in front of a log's commits. A log gives it four functions (GroupCommitOptions).
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #watches = new Set<{ readonly listener: SourceListener }>();
  readonly #waiting = new Queue<Waiting | Work>();
  /** What listeners have changed while they are told of something else. */
  readonly #later = new Queue<readonly SourceEvent[]>();
  #isAnnouncing = false;
  #isScheduled = false;
  /** A commit or work that takes time is on its way. */
  #isBusy = false;

  /** @throws UsageError INVALID_OPTION */
  constructor(options: GroupCommitOptions) {
    this.#options = checkOptions('GroupCommit', options, commitTable);
  }

  /** Tells the listener every event from now on. Returns what ends that. */
  watch(listener: SourceListener): () => void {
    // A new object for each watch: a listener that watches twice is called twice, and each end ends
    // one watch.
    const watch = { listener };
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  /**
   * Tells every listener, in the order of the changes: what a listener changes meanwhile is told
   * once everyone knows what came before. Rethrows the first listener error at the end.
   */
  announce(events: readonly SourceEvent[]): void {
    if (this.#isAnnouncing) {
      this.#later.push(events);
      return;
    }
    this.#isAnnouncing = true;
    const thrown: unknown[] = [];
    for (let next: readonly SourceEvent[] | undefined = events; next !== undefined; next = this.#later.shift()) {
      for (const event of next) this.#tell(event, thrown);
    }
    this.#isAnnouncing = false;
    if (thrown.length > 0) throw thrown[0];
  }

  #tell(event: SourceEvent, thrown: unknown[]): void {
    for (const { listener } of this.#watches) {
      try {
        listener(event);
      } catch (error) {
        thrown.push(error);
      }
    }
  }

  /** Queues an append for the next commit. Resolves when that is durable. */
  append(stream: StreamName, rows: readonly RowText[], options?: AppendOptions): Promise<Position> {
    return new Promise((resolve, reject) => {
      // An error of the checks rejects the promise.
      if (options !== undefined) checkAppend(stream, options, this.#options);
      this.#options.check(stream, rows, options);
      this.#waiting.push({
        kind: 'append',
        stream,
        rows,
        options,
        resolve,
        reject,
        token: 0,
        first: undefined,
        refusal: undefined,
      });
      this.#schedule(this.#options.soon);
    });
  }

  /**
   * Does the work after everything that was asked for before, and before all that comes later: at
   * once, unless a commit is on its way. Resolves to what the work gives.
   */
  run<T>(work: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (): void | Promise<void> => {
        try {
          const result = work();
          if (!(result instanceof Promise)) resolve(result);
          else return result.then(resolve, reject);
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.push({ kind: 'work', run });
      try {
        this.flush();
      } catch (error) {
        // Of a listener, and none of the work's: as uncaught as in every other commit.
        setImmediate(() => {
          throw error;
        });
      }
    });
  }

  /**
   * Commits everything queued now, not what listeners append meanwhile. Stops where a commit takes
   * time. Rethrows the first listener error at the end.
   */
  flush(): void {
    const thrown: unknown[] = [];
    for (let waiting = this.#waiting.length; waiting > 0 && !this.#isBusy; ) {
      const next = this.#takeNext(waiting);
      // A listener may have called flush.
      if (next.length === 0) break;
      waiting -= next.length;
      try {
        this.#perform(next);
      } catch (error) {
        thrown.push(error);
      }
    }
    if (thrown.length > 0) throw thrown[0];
  }

  #schedule(soon: GroupCommitOptions['soon']): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(this.#flushSome);
  }

  readonly #flushSome = (): void => {
    this.#isScheduled = false;
    if (this.#isBusy) return;
    try {
      const next = this.#takeNext(Infinity);
      if (next.length > 0) this.#perform(next);
    } finally {
      // When a listener throws, the remaining appends must still be committed.
      if (this.#waiting.length > 0 && !this.#isBusy) this.#schedule(setImmediate);
    }
  };

  #perform(next: Group): void {
    const [first] = next;
    const done = first?.kind === 'work' ? first.run() : this.#commitGroup(next as readonly Waiting[]);
    if (!(done instanceof Promise)) return;
    this.#isBusy = true;
    // What a listener throws stays unhandled, as it does where a commit takes no time.
    void done.finally(() => {
      this.#isBusy = false;
      if (this.#waiting.length > 0) this.#schedule(queueMicrotask);
    });
  }

  #commitGroup(group: readonly Waiting[]): void | Promise<void> {
    let committed: Committed | Promise<Committed> | undefined;
    try {
      const plan = planCommit(group, this.#options);
      if (plan.streams.size > 0) committed = this.#options.commit(plan);
    } catch (error) {
      return rejectAll(group, error);
    }
    if (!(committed instanceof Promise)) return this.#announceAndSettle(group, committed);
    return committed.then(
      (later) => this.#announceAndSettle(group, later),
      (error: unknown) => rejectAll(group, error),
    );
  }

  #announceAndSettle(group: readonly Waiting[], committed: Committed | undefined): void {
    try {
      if (committed !== undefined) this.announce(committed.events);
    } finally {
      settleAll(group, committed?.era);
    }
  }

  /** Takes appends that fit in one commit, or one work. */
  #takeNext(most: number): Group {
    const group: Waiting[] = [];
    for (let units = 0; units < MAX_COMMIT_UNITS && group.length < most; ) {
      const next = this.#waiting.peek();
      if (next === undefined || (next.kind === 'work' && group.length > 0)) break;
      this.#waiting.shift();
      if (next.kind === 'work') return [next];
      group.push(next);
      for (let i = 0; i < next.rows.length; i++) units += next.rows[i]!.length + ROW_UNITS;
      if (next.options?.attributes !== undefined) units += next.options.attributes.length;
    }
    return group;
  }
}

/** @throws UsageError INVALID_OPTION, INVALID_TOKEN, NOT_SUPPORTED */
function checkAppend(stream: StreamName, options: AppendOptions, { findId }: Pick<GroupCommitOptions, 'findId'>): void {
  const { id, token, history } = checkOptions('append', options, appendTable);
  if (id !== undefined) checkId(id);
  if (id !== undefined && findId === undefined) {
    throw new UsageError('NOT_SUPPORTED', `the log of stream ${stream} remembers no ids: append without one`);
  }
  if (token !== undefined) checkToken(token);
  if (history !== undefined && token === undefined)
    throw optionError('append', 'history', 'needs the option token: both are of its source');
}

/** Gives each batch its token. Leaves out what an id or a token forbids. */
function planCommit(group: readonly Waiting[], { latest, findId }: GroupCommitOptions): CommitPlan {
  const streams = new Map<StreamName, PlannedStream>();
  const ids = new Map<string, NewId>();
  for (const waiting of group) {
    const { stream, rows, options } = waiting;
    const planned = streams.get(stream);
    const after = planned === undefined ? latest(stream) : planned.tokens[planned.tokens.length - 1]!;
    if (options !== undefined && !isWanted(waiting, { after, ids, findId })) continue;
    if (after === Number.MAX_SAFE_INTEGER) {
      waiting.refusal = noTokenLeft(stream);
      continue;
    }
    const into = planned ?? { stream, after, batches: [], tokens: [] };
    if (planned === undefined) streams.set(stream, into);
    waiting.token = options?.token ?? after + 1;
    if (options !== undefined) planOptions(into, options);
    into.batches.push(rows);
    into.tokens.push(waiting.token);
    if (options?.id === undefined) continue;
    const { id, history } = options;
    ids.set(idKey(stream, id), { stream, id, hash: hashOfRows(rows), token: waiting.token, history });
  }
  return { streams, ids: [...ids.values()] };
}

function noTokenLeft(stream: StreamName): UsageError {
  return new UsageError(
    'INVALID_TOKEN',
    `stream ${stream} is at the highest token that there is: delete it, and begin with a lower one`,
    { facts: { stream } },
  );
}

function planOptions(planned: PlannedStream, { attributes, history }: AppendOptions): void {
  const place = planned.batches.length;
  if (attributes !== undefined) (planned.attributes ??= new Map()).set(place, attributes);
  if (history !== undefined) (planned.histories ??= new Map()).set(place, history);
}

interface Planning {
  readonly after: Token;
  readonly ids: ReadonlyMap<string, NewId>;
  readonly findId: GroupCommitOptions['findId'];
}

/** Whether the batch is appended: its id is new, and its token is above the stream's latest. */
function isWanted(waiting: Waiting, { after, ids, findId }: Planning): boolean {
  const { stream, rows } = waiting;
  const { id, token } = waiting.options!;
  if (id !== undefined) {
    const first = ids.get(idKey(stream, id)) ?? findId!(stream, id);
    if (first !== undefined) {
      if (first.hash === hashOfRows(rows)) waiting.first = first;
      else waiting.refusal = reusedId(stream, id, first);
      return false;
    }
  }
  if (token === undefined || token > after) return true;
  waiting.refusal = new UsageError(
    'TOKEN_FELL',
    `token ${token} was given for a batch of stream ${stream}, which is at ${after}: give a higher one`,
    { facts: { stream, token, latest: after } },
  );
  return false;
}

function rejectAll(group: readonly Waiting[], error: unknown): void {
  for (const { reject } of group) reject(error);
}

function settleAll(group: readonly Waiting[], era: History | undefined): void {
  for (const { stream, options, resolve, reject, token, first, refusal } of group) {
    if (refusal !== undefined) reject(refusal);
    else if (first !== undefined) resolve({ stream, token: first.token, history: first.history ?? era! });
    else resolve({ stream, token, history: options?.history ?? era! });
  }
}
