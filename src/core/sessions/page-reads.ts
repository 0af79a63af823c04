/**
 * The reads of one session. Streams of one source take turns, and one read at a time is under way
 * for each source: a source that does not answer holds up its own streams and no others.
 */

import type { Millis } from '../../base/clock.ts';
import { Queue } from '../../base/queue.ts';
import type { StreamName } from '../model/stream.ts';
import type { Token } from '../model/token.ts';
import type { Replication } from './replication.ts';

/** Asks for one page of the log. */
export interface ReadRequest {
  readonly kind: 'read';
  readonly stream: StreamName;
  readonly after: Token;
  readonly maxBytes: number;
  /** The stream's latest token when it was asked for: an answer may be older than what is there now. */
  readonly latest: Token;
  /** Tells the answer to an earlier read, which was given up, from the answer to this one. */
  readonly number: number;
}

interface Reading {
  readonly replication: Replication;
  readonly request: ReadRequest;
  /** When the read is given up. */
  readonly until: Millis;
  /** Its rows are no longer those that come next. The source is still busy with it. */
  isVoid: boolean;
}

/** The streams of one source. */
interface Lane {
  readonly source: object;
  waiting: Queue<Replication>;
  /** How many of those that wait have ended since. */
  ended: number;
  reading: Reading | undefined;
}

/** Entries that have ended are cleared away once they number this many and half of all. */
const ENDED_WORTH_CLEARING = 1_024;

export class PageReads {
  readonly #lanes: Lane[] = [];
  /** The lane that is looked at first, so that no source keeps another one waiting. */
  #turn = 0;
  #lastNumber = 0;

  /** Lets a stream wait for its turn, unless it waits or is read already. */
  enqueue(replication: Replication): void {
    const lane = this.#laneOf(replication);
    const { reading } = lane;
    if (replication.isQueued || (reading?.replication === replication && !reading.isVoid)) return;
    replication.isQueued = true;
    lane.waiting.push(replication);
  }

  /** The next stream whose turn it is, of a source that is not being read. */
  take(): Replication | undefined {
    for (let i = 0; i < this.#lanes.length; i++) {
      const at = (this.#turn + i) % this.#lanes.length;
      const replication = takeFrom(this.#lanes[at]!);
      if (replication === undefined) continue;
      this.#turn = at + 1;
      return replication;
    }
    return undefined;
  }

  begin(replication: Replication, after: Token, maxBytes: number, until: Millis): ReadRequest {
    const request: ReadRequest = {
      kind: 'read',
      stream: replication.stream,
      after,
      maxBytes,
      latest: replication.served.bounds.latest,
      number: ++this.#lastNumber,
    };
    this.#laneOf(replication).reading = { replication, request, until, isVoid: false };
    return request;
  }

  /** The stream stands elsewhere now: what is being read of it is not sent. */
  cancel(replication: Replication): void {
    const { reading } = this.#laneOf(replication);
    if (reading?.replication === replication) reading.isVoid = true;
  }

  /** The stream is replicated no longer. */
  forget(replication: Replication): void {
    this.cancel(replication);
    if (!replication.isQueued) return;
    const lane = this.#laneOf(replication);
    lane.ended++;
    if (lane.ended < ENDED_WORTH_CLEARING || lane.ended * 2 < lane.waiting.length) return;
    // A peer that asks and releases again and again must not fill the queue of a source that
    // does not answer.
    const waiting = new Queue<Replication>();
    for (const candidate of lane.waiting) if (!hasEnded(candidate)) waiting.push(candidate);
    lane.waiting = waiting;
    lane.ended = 0;
  }

  /**
   * Ends a read that was answered. Returns who reads on. Undefined when the read was given up, or
   * nobody waits for its rows.
   */
  end({ number }: ReadRequest): Replication | undefined {
    for (const lane of this.#lanes) if (lane.reading?.request.number === number) return endReading(lane);
    return undefined;
  }

  /** Ends the reads that have taken too long. Returns those who waited for them. */
  giveUp(now: Millis): Replication[] {
    return this.#lanes.flatMap((lane) => {
      if (lane.reading === undefined || now < lane.reading.until) return [];
      return endReading(lane) ?? [];
    });
  }

  /** When the first read is given up. Infinity while nothing is read. */
  get nextTimeout(): Millis {
    let first = Infinity;
    for (const { reading } of this.#lanes) if (reading !== undefined) first = Math.min(first, reading.until);
    return first;
  }

  clear(): void {
    this.#lanes.length = 0;
  }

  /** A primary has few sources, so a search is as good as a map. */
  #laneOf({ served: { source } }: Replication): Lane {
    for (const lane of this.#lanes) if (lane.source === source) return lane;
    const lane = { source, waiting: new Queue<Replication>(), ended: 0, reading: undefined };
    this.#lanes.push(lane);
    return lane;
  }
}

function takeFrom(lane: Lane): Replication | undefined {
  if (lane.reading !== undefined) return undefined;
  for (let next = lane.waiting.shift(); next !== undefined; next = lane.waiting.shift()) {
    next.isQueued = false;
    if (!hasEnded(next)) return next;
    lane.ended--;
  }
  return undefined;
}

function endReading(lane: Lane): Replication | undefined {
  const { reading } = lane;
  lane.reading = undefined;
  return reading === undefined || reading.isVoid ? undefined : reading.replication;
}

function hasEnded({ state }: Replication): boolean {
  return state.kind === 'idle';
}
