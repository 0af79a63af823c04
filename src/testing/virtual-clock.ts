/**
 * A clock that moves only when told to. It wakes callers in order of time, then in the order in
 * which they began to wait.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';

interface Wake extends Timer {
  readonly at: Millis;
  readonly order: number;
  wake: (() => void) | undefined;
}

// Any instant works; one with few digits keeps traces readable.
const START: Millis = 1_000_000;

export class VirtualClock implements Clock {
  #now: Millis = START;
  #order = 0;
  /** A binary heap, earliest first. */
  readonly #heap: Wake[] = [];

  now(): Millis {
    return this.#now;
  }

  wallNow(): Millis {
    return this.#now;
  }

  /** Virtual time since the start. */
  get elapsedMs(): Millis {
    return this.#now - START;
  }

  wakeIn(delayMs: Millis, wake: () => void): Timer {
    const entry: Wake = {
      at: this.#now + Math.max(delayMs, 0),
      order: this.#order++,
      wake,
      cancel() {
        // It stays in the heap until its time: removing it would cost more than skipping it.
        this.wake = undefined;
      },
    };
    this.#push(entry);
    return entry;
  }

  /**
   * Moves to the next wake due at or before `until`, and calls it. Returns false when there is
   * none; the time is then `until`.
   */
  step(until: Millis): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > until) {
        this.#now = Math.max(this.#now, until);
        return false;
      }
      this.#pop();
      if (next.wake === undefined) continue;
      this.#now = next.at;
      next.wake();
      return true;
    }
  }

  #push(entry: Wake): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Wake, b: Wake): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** The clock as one process sees it. After the process dies nothing is woken. */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  #isDead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): Millis {
    return this.#clock.now();
  }

  wallNow(): Millis {
    return this.#clock.wallNow();
  }

  wakeIn(delayMs: Millis, wake: () => void): Timer {
    return this.#clock.wakeIn(delayMs, () => {
      if (!this.#isDead) wake();
    });
  }

  kill(): void {
    this.#isDead = true;
  }
}
