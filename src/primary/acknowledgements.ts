/**
 * Tells the logs what workers have saved, so that rows which a worker needs are kept
 * (Retention.untilSavedBy). Knows which connections have which name. Knows no lines and no rows.
 *
 * A name is one worker. Where several connections have it, the one that has saved least counts:
 * one of them may be an old connection of the same process, whose end is not noticed yet.
 */

import { PeerError, quote, RowcastError } from '../core/model/errors.ts';
import type { StreamName, WorkerName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { ReplicateFrom } from '../core/sessions/streams-host.ts';
import type { Held, LogHolders } from '../log/log.ts';

/** One connection, as this machine sees it. */
export interface AcknowledgingSession {
  /** It says what it has saved. */
  readonly isRowcast: boolean;
  readonly replicated: Iterable<StreamName>;
  isReplicating(stream: StreamName): boolean;
  acknowledged(stream: StreamName): Token | undefined;
}

export interface AcknowledgementsOptions<Worker> {
  readonly sessionOf: (worker: Worker) => AcknowledgingSession;
  /** Keeps who holds rows of the stream. Undefined when nobody does. */
  readonly holdersOf: (stream: StreamName) => LogHolders | undefined;
  /** The worker holds no rows, though its name matches, or the log cannot take its word. */
  readonly onRefused: (worker: Worker, error: RowcastError) => void;
}

/** NOW lowers nothing: what comes from now on is above all that was saved. */
const ABOVE_ALL: Token = Number.MAX_SAFE_INTEGER;

/**
 * By how many names one connection may hold rows. Each name holds every stream that the connection
 * follows, so without a bound a few lines would make very many holders.
 */
export const MAX_NAMES_PER_CONNECTION = 4;

export class Acknowledgements<Worker> {
  readonly #options: AcknowledgementsOptions<Worker>;
  readonly #named = new Map<Worker, WorkerName>();
  /** How many names a connection has had. */
  readonly #nameCounts = new Map<Worker, number>();
  readonly #byName = new Map<WorkerName, Set<Worker>>();

  constructor(options: AcknowledgementsOptions<Worker>) {
    this.#options = options;
  }

  /** NAME came. What the worker follows already counts for its new name from here on. */
  handleNamed(worker: Worker, name: WorkerName): void {
    if (this.#named.get(worker) === name) return;
    this.#leave(worker);
    const count = (this.#nameCounts.get(worker) ?? 0) + 1;
    this.#nameCounts.set(worker, count);
    if (count > MAX_NAMES_PER_CONNECTION) {
      if (count === MAX_NAMES_PER_CONNECTION + 1) this.#options.onRefused(worker, tooManyNames(name));
      return;
    }
    this.#named.set(worker, name);
    const ofName = this.#byName.get(name);
    if (ofName === undefined) this.#byName.set(name, new Set([worker]));
    else ofName.add(worker);
    const session = this.#options.sessionOf(worker);
    for (const stream of session.replicated) this.#hold(worker, stream, session.acknowledged(stream));
  }

  handleSubscribed(worker: Worker, stream: StreamName, from: ReplicateFrom): void {
    const after = from === 'START' ? undefined : from === 'NOW' ? ABOVE_ALL : from;
    this.#hold(worker, stream, after);
  }

  /** A stream is there that its followers may have asked for before: a log has no holders of it yet. */
  handleMade(stream: StreamName): void {
    if (this.#options.holdersOf(stream) === undefined) return;
    for (const worker of this.#named.keys()) {
      if (this.#options.sessionOf(worker).isReplicating(stream)) this.#hold(worker, stream, undefined);
    }
  }

  handleAcknowledged(worker: Worker, stream: StreamName): void {
    const name = this.#named.get(worker);
    const holders = name === undefined ? undefined : this.#options.holdersOf(stream);
    if (holders === undefined) return;
    let lowest = Infinity;
    for (const other of this.#byName.get(name!)!) {
      const session = this.#options.sessionOf(other);
      if (!session.isRowcast || !session.isReplicating(stream)) continue;
      const acknowledged = session.acknowledged(stream);
      // It may need rows from before what the others have saved.
      if (acknowledged === undefined) return;
      lowest = Math.min(lowest, acknowledged);
    }
    if (lowest < Infinity) this.#tell(worker, () => holders.acknowledge(stream, name!, lowest));
  }

  /** The connection is gone. It holds others of its name back no longer. */
  handleClosed(worker: Worker): void {
    const name = this.#named.get(worker);
    this.#leave(worker);
    this.#nameCounts.delete(worker);
    if (name === undefined) return;
    // Any of those that follow a stream stands for all of them.
    const streams = new Map<StreamName, Worker>();
    for (const other of this.#byName.get(name) ?? []) {
      for (const stream of this.#options.sessionOf(other).replicated) streams.set(stream, other);
    }
    for (const [stream, other] of streams) this.handleAcknowledged(other, stream);
  }

  /** Whether a worker of the name is connected and follows the stream. */
  isFollowing(name: WorkerName, stream: StreamName): boolean {
    for (const worker of this.#byName.get(name) ?? []) {
      if (this.#options.sessionOf(worker).isReplicating(stream)) return true;
    }
    return false;
  }

  #hold(worker: Worker, stream: StreamName, after: Token | undefined): void {
    const name = this.#named.get(worker);
    // A peer that never says what it has saved would hold every row for ever.
    if (name === undefined || !this.#options.sessionOf(worker).isRowcast) return;
    const holders = this.#options.holdersOf(stream);
    if (holders === undefined) return;
    const held = this.#tell(worker, () => holders.hold(stream, name, after));
    if (held === 'refused') this.#options.onRefused(worker, holderRefused(stream, name));
  }

  /** A log that cannot take it keeps rows longer, or says to its appenders that it has failed. */
  #tell(worker: Worker, tell: () => Held): Held | undefined {
    try {
      return tell();
    } catch (thrown) {
      if (!(thrown instanceof RowcastError)) throw thrown;
      this.#options.onRefused(worker, thrown);
      return undefined;
    }
  }

  #leave(worker: Worker): void {
    const name = this.#named.get(worker);
    if (name === undefined) return;
    this.#named.delete(worker);
    const ofName = this.#byName.get(name)!;
    ofName.delete(worker);
    if (ofName.size === 0) this.#byName.delete(name);
  }
}

function tooManyNames(name: WorkerName): PeerError {
  const text = `worker ${quote(name)} holds no rows: its connection has had ${MAX_NAMES_PER_CONNECTION} other names`;
  return new PeerError('HOLDER_REFUSED', text, { facts: { worker: name } });
}

function holderRefused(stream: StreamName, name: WorkerName): PeerError {
  const text = `worker ${quote(name)} does not hold rows of stream ${stream}, though retain.untilSavedBy matches it: it has as many holders as it may have: forget workers that are gone`;
  return new PeerError('HOLDER_REFUSED', text, { facts: { stream, worker: name } });
}
