/** The positions of one session that wait for the log's verdict. */

import type { Millis } from '../../base/clock.ts';
import type { Position } from '../model/position.ts';
import type { Replication } from './replication.ts';

/** Asks whether a position is on the log's history. */
export interface JudgeRequest {
  readonly kind: 'judge';
  readonly position: Position;
  /** Tells the verdict on an earlier position of the stream from the verdict on this one. */
  readonly number: number;
}

interface Waiting {
  readonly number: number;
  /** When the verdict is given up. */
  readonly until: Millis;
}

export class PendingVerdicts {
  readonly #timeoutMs: Millis;
  /** In the order in which they asked. */
  readonly #waiting = new Map<Replication, Waiting>();
  /** No verdict is late before this time. */
  #firstUntil: Millis = Infinity;
  #lastNumber = 0;

  constructor(timeoutMs: Millis) {
    this.#timeoutMs = timeoutMs;
  }

  /** A verdict that the replication waits for already is void. */
  ask(now: Millis, replication: Replication, position: Position): JudgeRequest {
    const waiting = { number: ++this.#lastNumber, until: now + this.#timeoutMs };
    if (this.#waiting.size === 0) this.#firstUntil = waiting.until;
    // Last in order, also where it waits already.
    this.#waiting.delete(replication);
    this.#waiting.set(replication, waiting);
    return { kind: 'judge', position, number: waiting.number };
  }

  /** Whether the verdict is the one that the replication waits for. It waits no longer then. */
  take(replication: Replication, { number }: JudgeRequest): boolean {
    return this.#waiting.get(replication)?.number === number && this.#waiting.delete(replication);
  }

  forget(replication: Replication): void {
    this.#waiting.delete(replication);
  }

  /** Ends the waits that have taken too long, and returns whose they were. */
  giveUp(now: Millis): Replication[] {
    const late: Replication[] = [];
    if (now < this.#firstUntil) return late;
    this.#firstUntil = Infinity;
    for (const [replication, { until }] of this.#waiting) {
      if (now < until) {
        this.#firstUntil = until;
        break;
      }
      late.push(replication);
      this.#waiting.delete(replication);
    }
    return late;
  }

  /** Wakes early rather than looking for the one that has waited longest. */
  get nextTimeout(): Millis {
    return this.#waiting.size > 0 ? this.#firstUntil : Infinity;
  }

  clear(): void {
    this.#waiting.clear();
  }
}
