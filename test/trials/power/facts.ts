/**
 * Everything that workload.js has reported: what must be there after a power cut, and what may be.
 */

/** Streams of the workload. `kept` retains this many rows; `plain` is trimmed now and then. */
export const KEPT_ROWS = 200;
export const streamNames = ['plain', 'large', 'kept'] as const;

/** A place in a stream, as in the text of a position. */
export interface StoredPosition {
  readonly token: number;
  readonly history: string | undefined;
}

/** As a checkpoint gives them, in its order. */
export type StoredPositions = ReadonlyArray<readonly [stream: string, position: StoredPosition]>;

export interface PlacedBatch {
  readonly batch: string;
  readonly token: number;
  readonly history: string;
}

/** One line of the workload's stdout. `was` belongs to earlier rounds, and may be lost. */
type Said =
  | { readonly opened: true }
  | { readonly begun: string; readonly batch: string; readonly of: number }
  | (PlacedBatch & { readonly acknowledged: string })
  | { readonly trimming: string; readonly upTo: number }
  | { readonly trimmed: string; readonly upTo: number }
  | (PlacedBatch & { readonly applied: string })
  | (PlacedBatch & { readonly was: string })
  | { readonly reset: string }
  | { readonly resumed: StoredPositions }
  | { readonly saving: StoredPositions }
  | { readonly saved: StoredPositions }
  | { readonly failed: string }
  | { readonly closed: true };

export class StreamFacts {
  /** Batches, by token, that an appender or the worker has seen. They must be durable. */
  readonly seen: Map<number, string> = new Map();
  /** Every batch ever, by token and history, also those lost in a cut. */
  readonly ever: Map<string, PlacedBatch> = new Map();
  /** Durable up to here for any `synchronous`: up to a close, or what a cut has left. */
  settled = 0;
  /** The highest trim that began, and the highest that finished. */
  trimming = 0;
  trimmed = 0;
  /** The last token that the worker has applied. */
  appliedUpTo = 0;
  /** It has no position, or was told that it is void, and has applied nothing since. */
  isReset = false;

  /** @returns a fault */
  see(placed: PlacedBatch): string | undefined {
    const before = this.seen.get(placed.token);
    this.seen.set(placed.token, placed.batch);
    if (before !== undefined && before !== placed.batch)
      return `token ${placed.token} is ${before} and ${placed.batch}`;
    return this.place(placed);
  }

  /** @returns a fault */
  place(placed: PlacedBatch): string | undefined {
    const place = `${placed.token}@${placed.history}`;
    const before = this.ever.get(place);
    this.ever.set(place, placed);
    return before === undefined || before.batch === placed.batch
      ? undefined
      : `${place} is ${before.batch} and ${placed.batch}`;
  }

  /** @returns a fault */
  apply(placed: PlacedBatch): string | undefined {
    const { token } = placed;
    const isNext = token === this.appliedUpTo + 1 || this.isReset;
    const fault = isNext ? undefined : `the worker applies ${token} after ${this.appliedUpTo}`;
    this.isReset = false;
    this.appliedUpTo = token;
    return fault ?? this.see(placed);
  }
}

export class Facts {
  readonly streams: ReadonlyMap<string, StreamFacts> = new Map(streamNames.map((name) => [name, new StreamFacts()]));
  /** The number of rows of each batch that may be there. */
  readonly begun: Map<string, number> = new Map();
  /** The possible contents of a checkpoint: the last save, and every save begun since. */
  checkpoints: StoredPositions[] = [[]];
  acknowledged = 0;
  readonly faults: string[] = [];

  of(stream: string): StreamFacts {
    const facts = this.streams.get(stream);
    if (facts === undefined) throw new Error(`the workload has no stream ${stream}`);
    return facts;
  }

  hear(lines: string): void {
    for (const line of lines.split('\n')) if (line !== '') this.#hear(JSON.parse(line) as Said);
  }

  #hear(said: Said): void {
    if ('begun' in said) this.begun.set(said.batch, said.of);
    else if ('acknowledged' in said) {
      this.acknowledged++;
      this.#tell(said.acknowledged, this.of(said.acknowledged).see(said));
    } else if ('trimming' in said) {
      const stream = this.of(said.trimming);
      stream.trimming = Math.max(stream.trimming, said.upTo);
    } else if ('trimmed' in said) {
      const stream = this.of(said.trimmed);
      stream.trimmed = Math.max(stream.trimmed, said.upTo);
    } else if ('applied' in said) this.#tell(said.applied, this.of(said.applied).apply(said));
    else if ('was' in said) this.#tell(said.was, this.of(said.was).place(said));
    else if ('reset' in said) this.of(said.reset).isReset = true;
    else if ('resumed' in said) this.#resume(said.resumed);
    else if ('saving' in said) this.#save(said.saving);
    else if ('saved' in said) this.checkpoints = [said.saved];
    else if ('closed' in said) this.#settle();
  }

  #resume(positions: StoredPositions): void {
    if (!this.checkpoints.some((saved) => isSame(saved, positions)))
      this.#tell('the checkpoint', `it is ${text(positions)}, not ${this.checkpoints.map(text).join(' or ')}`);
    // After a kill it may be one that was written and not synced: a cut may leave any of them.
    const tokens = new Map(positions);
    for (const [name, stream] of this.streams) {
      stream.appliedUpTo = tokens.get(name)?.token ?? 0;
      // From the start is from the first row that is kept.
      stream.isReset = !tokens.has(name);
    }
  }

  #save(positions: StoredPositions): void {
    this.checkpoints = [...this.checkpoints, positions];
    for (const [stream, { token }] of positions) {
      // The worker's private keys say nothing about applied rows.
      if (stream.startsWith('$')) continue;
      const { appliedUpTo, isReset } = this.of(stream);
      // After a reset the position is the start of the kept rows.
      if (token > appliedUpTo && !isReset)
        this.#tell(stream, `position ${token} is stored, and ${appliedUpTo} was applied`);
    }
  }

  #settle(): void {
    for (const stream of this.streams.values()) stream.settled = Math.max(0, ...stream.seen.keys());
  }

  #tell(about: string, fault: string | undefined): void {
    if (fault !== undefined) this.faults.push(`${about}: ${fault}`);
  }
}

export function isSame(one: StoredPositions, other: StoredPositions): boolean {
  return text(one) === text(other);
}

function text(positions: StoredPositions): string {
  return JSON.stringify([...positions].sort(([a], [b]) => (a < b ? -1 : 1)));
}
