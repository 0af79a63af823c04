/**
 * Checks what each reader gets against the tree of true commits: a batch must be the child of the
 * reader's place. So it sees a row that is skipped, repeated or of another history, whatever the
 * product thinks of eras.
 */

import type { Millis } from '../base/clock.ts';
import type { NamePattern } from '../core/model/pattern.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Checker, Finding } from './checkers.ts';
import { type Boundary, describeNode, type Happening, type Reader } from './happening.ts';
import { type HistoryNode, isOn, nodeAt } from './history-tree.ts';
import type { Known } from './known.ts';
import type { PrimaryLife } from './primary-life.ts';
import { boundaryKey, savedTokens } from './public-api.ts';
import { batchFault, type CommittedBatches, type WorldRow } from './world-rows.ts';

interface Standing {
  readonly reader: Reader;
  /** Undefined until the first row or position decides. */
  known: Known | undefined;
  begin: 'start' | 'now' | 'first' | undefined;
  /** When it was asked for. With `now`: rows older than this were not asked for. */
  sinceMs: Millis;
  /** The first batch of its stream, if it was given it. */
  first: HistoryNode | undefined;
  /** The batch that the handler is applying. */
  at: HistoryNode | undefined;
  hasEnded: boolean;
  /** A reset says from where it goes on, whatever is true of the stream otherwise. */
  hasReset: boolean;
}

/** A reset may be reported some connections after it was judged, because of slow handlers. */
const LIVES_REMEMBERED = 4;

export class ReaderCheckers implements Checker {
  /** Two branches grow side by side. A wait cannot see the one that its worker does not follow. */
  hasCopies = false;
  /** An older history may be back: a boundary says nothing about what was made in it. */
  #hasForkedOnce = false;
  readonly #committed: CommittedBatches;
  readonly #now: () => Millis;
  readonly #standings = new Map<string, Standing>();
  readonly #current = new Map<string, Standing>();
  /** The primaries that each worker's process was linked to, newest last. */
  readonly #lives = new Map<string, PrimaryLife[]>();
  /** When each worker's process was first linked to a primary. */
  readonly #linkedAt = new Map<string, Millis>();
  /** When boundaries were taken, by worker and key. */
  readonly #boundaries = new Map<string, Map<string, Boundary>>();
  /** The last deletion of each stream, anywhere. */
  readonly #deletedAt = new Map<StreamName, Millis>();
  /** Where readers of a worker's stream stood once: a save may still say so. */
  readonly #once = new Map<string, Known[]>();

  constructor(committed: CommittedBatches, now: () => Millis) {
    this.#committed = committed;
    this.#now = now;
  }

  /** The place of a reader. */
  known(reader: Reader): Known | undefined {
    return this.#standings.get(reader.name)?.known;
  }

  see(happening: Happening): Finding | undefined {
    switch (happening.kind) {
      case 'worker-started':
        this.#lives.set(happening.worker, []);
        this.#linkedAt.delete(happening.worker);
        this.#boundaries.set(happening.worker, new Map(happening.boundaries));
        for (const [stream, known] of happening.loaded) this.#remember(happening.worker, stream, known);
        return undefined;
      case 'linked': {
        const lives = this.#lives.get(happening.worker)!;
        const before = lives.indexOf(happening.life);
        if (before >= 0) lives.splice(before, 1);
        if (lives.push(happening.life) > LIVES_REMEMBERED) lives.shift();
        if (!this.#linkedAt.has(happening.worker)) this.#linkedAt.set(happening.worker, this.#now());
        return undefined;
      }
      case 'history-changed':
        this.#hasForkedOnce = true;
        return undefined;
      case 'deleting':
        this.#deletedAt.set(happening.node.stream, this.#now());
        return undefined;
      case 'subscribed': {
        const { reader, begin, sinceMs } = happening;
        const isKnown = typeof begin === 'object';
        const standing: Standing = {
          reader,
          known: isKnown ? begin : undefined,
          begin: isKnown ? undefined : begin,
          sinceMs,
          first: undefined,
          at: undefined,
          hasEnded: false,
          hasReset: false,
        };
        this.#standings.set(reader.name, standing);
        this.#current.set(keyOf(reader), standing);
        return undefined;
      }
      case 'unsubscribed':
        this.#end(this.#standings.get(happening.reader.name)!);
        return undefined;
      case 'delivered':
        return this.#deliver(this.#standings.get(happening.reader.name)!, happening.token, happening.rows);
      case 'gave-up':
        this.#standings.get(happening.reader.name)!.at = undefined;
        return undefined;
      case 'applied':
        return this.#apply(this.#standings.get(happening.reader.name)!);
      case 'positioned':
        return this.#move(this.#standings.get(happening.reader.name)!, happening);
      case 'saved':
        for (const key of happening.positions.keys()) this.#noteBoundary(happening.worker, key);
        for (const [stream, token] of savedTokens(happening.positions))
          if (this.knownAt(happening.worker, stream, token) === undefined)
            return {
              checker: 'honest positions',
              saw: `${happening.worker} saved position ${token} of ${stream}, and has not applied what is up to there`,
            };
        return undefined;
      case 'reset':
        return this.#reset(this.#standings.get(happening.reader.name)!, happening);
      case 'ended':
        return this.#checkEnd(this.#standings.get(happening.reader.name), happening.life.head(happening.reader.stream));
      case 'waited':
        return this.#handleWaited(happening.worker, happening.node);
      default:
        return undefined;
    }
  }

  /** The place of a worker at a position that it has or had; undefined when it never was there. */
  knownAt(worker: string, stream: StreamName, token: Token): Known | undefined {
    const standing = this.#current.get(`${worker} ${stream}`);
    if (standing?.known?.token === token) return standing.known;
    const once = this.onceAt(worker, stream, token) ?? this.#movedOnce(standing, token);
    const moved = standing && this.#resolve(standing, token, this.#livesOf(worker));
    if (moved === undefined || isFinding(moved)) return once;
    // The save may be from before the last reset or from after it.
    return once === undefined ? moved : { token, claims: [...once.claims, ...moved.claims] };
  }

  /** Before a reset the reader may have moved on without rows, and nobody told. */
  #movedOnce(standing: Standing | undefined, token: Token): Known | undefined {
    if (standing === undefined) return undefined;
    const { worker, stream } = standing.reader;
    const known = this.#once.get(`${worker} ${stream}`)?.at(-1);
    const moved = known && this.#resolve({ ...standing, known }, token, this.#livesOf(worker));
    return moved === undefined || isFinding(moved) ? undefined : moved;
  }

  /** The place of an earlier reader of the worker at a position that it had. */
  onceAt(worker: string, stream: StreamName, token: Token): Known | undefined {
    return this.#once.get(`${worker} ${stream}`)?.findLast((known) => known.token === token);
  }

  #deliver(standing: Standing, token: Token, rows: readonly WorldRow[]): Finding | undefined {
    const { name } = standing.reader;
    const fault = batchFault(rows);
    const node = this.#committed.get(rows[0]?.batch ?? 0);
    if (fault !== undefined || node === undefined || node.stream !== standing.reader.stream)
      return {
        checker: 'whole batches',
        saw: `${name} was given ${fault ?? 'a batch that no log has'} as token ${token}`,
      };
    const given = `${name} was given ${describeNode(node)}`;
    if (rows.some(({ index }, i) => index !== i))
      return {
        checker: 'once and in order',
        saw: `${given} with its rows in the order ${rows.map((row) => row.index).join()}`,
      };
    if (node.token !== token) return { checker: 'honest positions', saw: `${given} as token ${token}` };
    if (standing.hasEnded) return { checker: 'once and in order', saw: `${given} after it had ended` };
    if (standing.at !== undefined)
      return { checker: 'once and in order', saw: `${given} while it was at ${describeNode(standing.at)}` };
    standing.at = node;
    if (node.depth === 1) standing.first = node;
    return standing.known === undefined
      ? this.#checkFirst(standing, node, given)
      : checkNext(standing.known.claims, node, given);
  }

  #checkFirst(standing: Standing, node: HistoryNode, given: string): Finding | undefined {
    const { begin, sinceMs, reader } = standing;
    const before = node.parent!;
    if (before.parent === undefined && (begin !== 'now' || this.#mayBeNew(standing, node))) return undefined;
    if (begin === 'first') {
      const saw = `${given} first, of a stream that was made again, and no GAP was told`;
      return { checker: 'new streams from their first row', saw };
    }
    if (begin === 'now') {
      if (node.committedAtMs >= sinceMs || this.#isNew(standing, node)) return undefined;
      return { checker: 'once and in order', saw: `${given}, which is older than the subscription from now on` };
    }
    if (this.#isStart(reader, before)) return undefined;
    return { checker: 'nothing missing', saw: `${given} first, from the start, and ${describeNode(before)} is kept` };
  }

  /** The stream was made above the boundary of its pattern: nothing of it may be left out. */
  #isNew({ reader }: Standing, { madeAtMs }: HistoryNode): boolean {
    const boundary = this.#boundaryOf(reader);
    return boundary !== undefined && madeAtMs > boundary.toMs;
  }

  /**
   * A reader may for a while be in the middle of a stream that was deleted and made again, until it
   * is told so. In the end it had the first row of a new stream, or a reset.
   */
  #checkEnd(standing: Standing | undefined, head: HistoryNode): Finding | undefined {
    if (standing?.begin === undefined || standing.hasReset || !this.#isNew(standing, head)) return undefined;
    if (standing.first !== undefined && isOn(standing.first, head)) return undefined;
    const saw = `${standing.reader.name} was not given the first row of ${describeNode(head)}, which was made after it had begun to follow all, and no GAP was told`;
    return { checker: 'new streams from their first row', saw };
  }

  /** The stream may have been made above the boundary of its pattern. */
  #mayBeNew({ reader, hasReset }: Standing, { madeAtMs }: HistoryNode): boolean {
    if (reader.pattern === undefined) return false;
    const fromMs = this.#boundaryOf(reader)?.fromMs ?? this.#linkedAt.get(reader.worker) ?? this.#now();
    return hasReset || madeAtMs >= fromMs || this.#hasForkedOnce || this.hasCopies;
  }

  #boundaryOf({ worker, stream, pattern }: Reader): Boundary | undefined {
    if (pattern === undefined) return undefined;
    return this.#boundaries.get(worker)?.get(this.#boundaryKey(worker, stream, pattern));
  }

  #boundaryKey(worker: string, stream: StreamName, pattern: NamePattern): string {
    const isDurable = this.#livesOf(worker).at(-1)?.isDurable(stream) ?? true;
    return boundaryKey(isDurable, pattern);
  }

  /** The boundary of this key has been taken by now. */
  #noteBoundary(worker: string, key: string): void {
    const ofWorker = this.#boundaries.get(worker);
    if (!key.startsWith('$') || ofWorker === undefined || ofWorker.has(key)) return;
    ofWorker.set(key, { fromMs: this.#linkedAt.get(worker) ?? 0, toMs: this.#now() });
  }

  /** What is known of the boundaries of these keys. */
  boundariesOf(worker: string, keys: Iterable<string>): Map<string, Boundary> {
    const kept = new Map<string, Boundary>();
    for (const key of keys) {
      const boundary = this.#boundaries.get(worker)?.get(key);
      if (boundary !== undefined) kept.set(key, boundary);
    }
    return kept;
  }

  /** Nothing up to there is kept, or was not for a while. */
  #isStart({ worker, stream }: Reader, node: HistoryNode): boolean {
    if (node.parent === undefined) return true;
    return this.#livesOf(worker).some((life) =>
      life.ever(stream).some(({ head, earliest }) => node.token < earliest && isOn(node, head)),
    );
  }

  #apply(standing: Standing): undefined {
    const node = standing.at!;
    standing.at = undefined;
    standing.known = { token: node.token, claims: [node] };
    // Its last batch may finish only after it ended.
    if (standing.hasEnded) this.#remember(standing.reader.worker, standing.reader.stream, standing.known);
  }

  #move(standing: Standing, { token, isLive }: Extract<Happening, { kind: 'positioned' }>): Finding | undefined {
    const { known } = standing;
    const { worker, stream, pattern } = standing.reader;
    if (isLive && pattern !== undefined) this.#noteBoundary(worker, this.#boundaryKey(worker, stream, pattern));
    if (known?.token === token && (!isLive || known.claims.length === 1)) return undefined;
    const lives = this.#livesOf(standing.reader.worker);
    const moved = this.#resolve(standing, token, isLive ? lives.slice(-1) : lives);
    if (isFinding(moved)) return moved;
    standing.known = moved;
    return undefined;
  }

  /** The place of a reader if it truly is at the token. */
  #resolve(standing: Standing, token: Token, lives: readonly PrimaryLife[]): Known | Finding {
    const { reader, known, begin } = standing;
    const says = `${reader.name} says position ${token}`;
    const dishonest = (why: string): Finding => ({ checker: 'honest positions', saw: `${says}, ${why}` });
    if (known !== undefined && token < known.token) return dishonest(`after ${known.token}, without a reset`);
    const claims = new Set<HistoryNode>();
    for (const life of lives) {
      for (const { head, latest } of life.ever(reader.stream)) if (token <= latest) claims.add(nodeAt(head, token));
    }
    if (claims.size === 0) return dishonest('and no primary that it heard has come so far');
    if (known !== undefined) {
      const still = known.claims.filter((claim) => claims.has(claim));
      if (still.length === 0 && hasNothing(known)) still.push(...[...claims].filter(isRoot));
      if (still.length > 0) return { token, claims: still };
      return dishonest(`and has applied what is up to ${known.claims.map(describeNode).join(' or ')}`);
    }
    const first = [...claims].filter(isRoot);
    if (begin === 'first' && first.length === 0) {
      const saw = `${says}, of a stream that was made again, and no row of it was given`;
      return { checker: 'new streams from their first row', saw };
    }
    const asked = begin === 'first' ? first : [...claims];
    const starts = begin === 'now' ? asked : asked.filter((claim) => this.#isStart(reader, claim));
    if (starts.length > 0) return { token, claims: starts };
    return { checker: 'nothing missing', saw: `${says}, from the start, and rows before it are kept` };
  }

  #reset(standing: Standing, { code, next }: Extract<Happening, { kind: 'reset' }>): Finding | undefined {
    const { known, reader, at } = standing;
    // A deletion is told also to a reader that has nothing yet, or stands in the middle of the next
    // stream of the name.
    const knowsLittle = hasNothing(known) || (next === 'first' && standing.first === undefined);
    const wasDeleted = code === 'RESET' && knowsLittle && this.#wasDeletedSince(reader, standing.sinceMs);
    const isAbsent = code === 'UNKNOWN_STREAM' && this.#livesOf(reader.worker).some((life) => !life.has(reader.stream));
    const mayHaveMore = next === 'ended' && code === 'RESET' && this.#hasForked(reader);
    const isTrue =
      known === undefined
        ? standing.begin === 'now' || at !== undefined || this.#isStartGone(reader, code)
        : this.#isGone(reader, known, code);
    if (known !== undefined) this.#remember(reader.worker, reader.stream, known);
    if (next === 'ended') this.#end(standing);
    else {
      standing.known = undefined;
      standing.hasReset = true;
      standing.begin = next;
      // New rows are those after the reset was judged, which may be long before it is reported.
      standing.sinceMs = 0;
    }
    if (isTrue || mayHaveMore || isAbsent || wasDeleted) return undefined;
    const stands = known === undefined ? 'nothing' : `position ${known.token}`;
    return {
      checker: 'true resets',
      saw: `${reader.name} was told ${code} at ${stands}, and all that follows is kept`,
    };
  }

  #wasDeletedSince({ stream }: Reader, sinceMs: Millis): boolean {
    return (this.#deletedAt.get(stream) ?? -1) >= sinceMs;
  }

  #isGone({ worker, stream }: Reader, { token, claims }: Known, code: string): boolean {
    return this.#livesOf(worker).some((life) => {
      const { head, latest } = life.stream(stream);
      if (code === 'GAP') return life.ever(stream).some(({ earliest }) => token < earliest - 1);
      const node = nodeAt(head, token);
      // Numbers without rows follow. The reader may have moved past some of them without a report.
      const isBeforeSkipped = latest > token && nodeAt(head, token + 1) === node;
      return isBeforeSkipped || token > latest || claims.some((claim) => claim !== node);
    });
  }

  /** It was before the first kept row, and nobody was told. */
  #isStartGone(reader: Reader, code: string): boolean {
    const { worker, stream, pattern } = reader;
    const lives = this.#livesOf(worker);
    // A new stream of a pattern is asked for from token 0, so a missing start is reported.
    if (code === 'GAP')
      return pattern !== undefined && lives.some((life) => life.ever(stream).some(({ earliest }) => earliest > 1));
    return lives.some((life) => {
      const { head, earliest } = life.stream(stream);
      const token = earliest - 1;
      return this.#isGone(reader, { token, claims: [nodeAt(head, token)] }, code);
    });
  }

  /**
   * An end is reported at once, before received rows are applied: they may be of a history that is
   * gone.
   */
  #hasForked({ worker, stream }: Reader): boolean {
    const lives = this.#livesOf(worker);
    const newest = lives.at(-1)?.head(stream);
    return newest !== undefined && lives.some((life) => !isOn(life.head(stream), newest));
  }

  /** Early: the batch is still to come, in the history that the worker is linked to. */
  #handleWaited(worker: string, node: HistoryNode): Finding | undefined {
    const known = this.#current.get(`${worker} ${node.stream}`)?.known;
    const life = this.#livesOf(worker).at(-1);
    if (known === undefined || life === undefined || this.hasCopies) return undefined;
    const isAhead = (claim: HistoryNode): boolean => claim !== node && isOn(claim, node);
    if (!known.claims.every(isAhead) || !isOn(node, life.head(node.stream))) return undefined;
    const saw = `${worker} waited for ${describeNode(node)}, and stands at ${known.claims.map(describeNode).join(' or ')}`;
    return { checker: 'waits are honest', saw };
  }

  #livesOf(worker: string): readonly PrimaryLife[] {
    return this.#lives.get(worker) ?? [];
  }

  #end(standing: Standing): void {
    standing.hasEnded = true;
    const { worker, stream } = standing.reader;
    if (standing.known !== undefined) this.#remember(worker, stream, standing.known);
  }

  #remember(worker: string, stream: StreamName, known: Known): void {
    const key = `${worker} ${stream}`;
    const once = this.#once.get(key);
    if (once === undefined) this.#once.set(key, [known]);
    else once.push(known);
  }
}

function checkNext(claims: readonly HistoryNode[], node: HistoryNode, given: string): Finding | undefined {
  // A reader of nothing has nothing of another history either.
  if (claims.includes(node.parent!) || (claims.some(isRoot) && isRoot(node.parent!))) return undefined;
  const stands = claims.map(describeNode).join(' or ');
  if (claims.some((claim) => isOn(node, claim)))
    return { checker: 'once and in order', saw: `${given} again, after ${stands}` };
  if (claims.some((claim) => isOn(claim, node)))
    return { checker: 'nothing missing', saw: `${given} after ${stands}, and rows between them are missing` };
  return { checker: 'one history', saw: `${given}, which is of another history than ${stands}, without a reset` };
}

function isRoot({ parent }: HistoryNode): boolean {
  return parent === undefined;
}

function hasNothing(known: Known | undefined): boolean {
  return known === undefined || known.claims.every(isRoot);
}

function isFinding(value: Known | Finding): value is Finding {
  return 'checker' in value;
}

function keyOf({ worker, stream }: Reader): string {
  return `${worker} ${stream}`;
}
