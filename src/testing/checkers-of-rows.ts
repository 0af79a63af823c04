/** Checkers of what readers are given: each row once, in order, nothing missing, batches whole, positions and resets true. Pure: fed with happenings. */

import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { Position } from '../core/follow/interests.ts';
import type { Checker } from './checkers.ts';
import type { Happening, StartsAt } from './happening.ts';
import type { Truth } from './truth.ts';

type Applied = Extract<Happening, { kind: 'applied' }>;

/** A row comes to a reader once. */
export class EachRowOnce implements Checker {
  readonly name = 'each row once';
  readonly #seen = new Map<string, Set<string>>();

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'applied') return undefined;
    const seen = getOrMake(this.#seen, happening.reader, () => new Set<string>());
    for (const { batch, index } of happening.rows) {
      const row = `${batch}.${index}`;
      if (seen.has(row))
        return `${happening.reader} was given row ${index} of batch ${batch} (token ${happening.token}) twice`;
      seen.add(row);
    }
    return undefined;
  }
}

/** Rows of a batch come in order, and batches by rising tokens. */
export class InOrder implements Checker {
  readonly name = 'in order';
  readonly #truth: Truth;
  readonly #last = new Map<string, Position>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'applied') return undefined;
    const { reader, token, rows } = happening;
    for (let i = 1; i < rows.length; i++) {
      const before = rows[i - 1]!;
      if (rows[i]!.batch === before.batch && rows[i]!.index < before.index)
        return `${reader} was given the rows of batch ${before.batch} in another order`;
    }
    const logId = this.#truth.batch(rows[0]!.batch)?.logId ?? '';
    const last = this.#last.get(reader);
    this.#last.set(reader, { token, logId });
    if (last?.logId !== logId || token >= last.token) return undefined;
    return `${reader} was given token ${token} after token ${last.token}`;
  }
}

/** The rows that were appended as one batch come as one batch. */
export class WholeBatches implements Checker {
  readonly name = 'whole batches';
  readonly #truth: Truth;

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    if (happening.kind !== 'applied') return undefined;
    const { reader, token, rows } = happening;
    const numbers = new Set(rows.map((row) => row.batch));
    if (numbers.size !== 1) return `${reader} was given rows of batches ${[...numbers].join(', ')} as one batch`;
    const batch = this.#truth.batch(rows[0]!.batch);
    if (batch === undefined || batch.stream !== happening.stream)
      return `${reader} was given batch ${rows[0]!.batch}, which no log of the stream ever had`;
    if (batch.token !== token)
      return `${reader} was given batch ${batch.number} as token ${token}, it is ${batch.token}`;
    const got = new Set(rows.map((row) => row.index)).size;
    if (got !== batch.rows)
      return `${reader} was given ${got} of the ${batch.rows} rows of batch ${batch.number} (token ${token})`;
    return undefined;
  }
}

/** From where a reader starts, every batch that is kept comes. */
export class NothingMissing implements Checker {
  readonly name = 'nothing missing';
  readonly #truth: Truth;
  readonly #reached = new Map<string, StartsAt>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    switch (happening.kind) {
      case 'subscribed':
        this.#reached.set(happening.reader, happening.from);
        return undefined;
      case 'reset':
        this.#reached.set(happening.reader, happening.next);
        return undefined;
      case 'positioned':
        this.#handlePosition(happening.reader, happening.stream, happening.position);
        return undefined;
      case 'applied':
        return this.#handleRows(happening);
      case 'ended':
        return this.#handleEnd(happening);
      default:
        return undefined;
    }
  }

  #handleRows({ reader, stream, token, rows }: Applied): string | undefined {
    const first = this.#truth.batch(rows[0]!.batch);
    if (first === undefined) return undefined;
    const { logId } = first;
    const from = this.#reached.get(reader)!;
    this.#reached.set(reader, { token, logId });
    const after = this.#after(stream, from, logId);
    // Rows of another history than the reader's own: that is for those who check resets.
    if (after === undefined) return undefined;
    const next = this.#truth.next(logId, stream, after);
    if (next === undefined || next.token >= first.token) return undefined;
    return `${reader} stood at ${JSON.stringify(from)} and was given token ${token} next; batch ${next.number} (token ${next.token}) was left out`;
  }

  /** A position may be told before its rows come, as far as this checker knows: at the end they must have come. */
  #handlePosition(reader: string, stream: StreamName, position: Position): void {
    const { token, logId = '' } = position;
    const from = this.#reached.get(reader)!;
    const after = from === 'now' ? token : this.#after(stream, from, logId);
    if (after === undefined) return;
    const next = this.#truth.next(logId, stream, after);
    const isEmpty = next === undefined || next.token > token;
    this.#reached.set(reader, { token: isEmpty ? Math.max(token, after) : Math.min(after, token), logId });
  }

  #handleEnd({ reader, stream, position }: Extract<Happening, { kind: 'ended' }>): string | undefined {
    const from = this.#reached.get(reader);
    if (position === undefined || from === undefined || typeof from === 'string' || from.logId !== position.logId)
      return undefined;
    const next = this.#truth.next(from.logId ?? '', stream, from.token);
    if (next === undefined || next.token > position.token) return undefined;
    return `${reader} says that it stands at ${position.token}; batch ${next.number} (token ${next.token}) never came`;
  }

  /** The token after which everything must come; undefined where it is of another history, or starts wherever the first rows are. */
  #after(stream: StreamName, from: StartsAt, logId: string): Token | undefined {
    if (typeof from === 'object') return from.logId === logId ? from.token : undefined;
    if (from === 'now') return undefined;
    const now = this.#truth.now(stream);
    return now.logId === logId ? now.earliest - 1 : undefined;
  }
}

/** A position is told after the rows up to it, says its history, and does not fall. */
export class HonestPositions implements Checker {
  readonly name = 'honest positions';
  readonly #truth: Truth;
  readonly #told = new Map<string, Position>();
  readonly #applied = new Map<string, Set<number>>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    switch (happening.kind) {
      case 'reset':
        this.#told.delete(happening.reader);
        return undefined;
      case 'positioned':
        return this.#handlePosition(happening.reader, happening.stream, happening.position);
      case 'applied':
        return this.#handleRows(happening);
      default:
        return undefined;
    }
  }

  #handlePosition(reader: string, stream: StreamName, position: Position): string | undefined {
    const { token, logId } = position;
    const told = this.#told.get(reader);
    this.#told.set(reader, position);
    if (logId === undefined) return `${reader} was told position ${token} without the history that it is of`;
    const now = this.#truth.now(stream);
    if (now.logId === logId && token > now.latest)
      return `${reader} was told position ${token}, the stream ends at ${now.latest}`;
    if (told?.logId === logId && token < told.token)
      return `${reader} was told position ${token} after ${told.token} without a reset`;
    return undefined;
  }

  #handleRows({ reader, token, rows }: Applied): string | undefined {
    const number = rows[0]!.batch;
    const applied = getOrMake(this.#applied, reader, () => new Set<number>());
    if (applied.has(number)) return undefined;
    applied.add(number);
    const told = this.#told.get(reader);
    if (told === undefined || told.logId !== this.#truth.batch(number)?.logId || token > told.token) return undefined;
    return `${reader} was told position ${told.token} before token ${token} was applied`;
  }
}

/** A worker that starts again goes on no later than where it had applied everything. */
export class AtLeastOnce implements Checker {
  readonly name = 'at least once';
  /** How far each worker came in each history, whatever process it was. */
  readonly #reached = new Map<string, Token>();

  see(happening: Happening): string | undefined {
    switch (happening.kind) {
      case 'subscribed': {
        const { from, isResumed, reader } = happening;
        if (typeof from === 'string') return undefined;
        const reached = this.#reached.get(keyOf(happening, from.logId));
        if (isResumed && from.token > (reached ?? -1))
          return `${reader} resumed at token ${from.token}, and had applied rows up to ${reached ?? 'none'}`;
        this.#reach(happening, from);
        return undefined;
      }
      case 'positioned':
        this.#reach(happening, happening.position);
        return undefined;
      case 'reset':
        if (typeof happening.next === 'object') this.#reach(happening, happening.next);
        return undefined;
      default:
        return undefined;
    }
  }

  #reach(reader: { worker: string; stream: StreamName }, { token, logId }: Position): void {
    const key = keyOf(reader, logId);
    this.#reached.set(key, Math.max(token, this.#reached.get(key) ?? 0));
  }
}

function keyOf({ worker, stream }: { worker: string; stream: StreamName }, logId: string | undefined): string {
  return `${worker} ${stream} ${logId}`;
}

/** A reset is told when the history under a reader has ended, and only then. */
export class TrueResets implements Checker {
  readonly name = 'true resets';
  readonly #truth: Truth;
  readonly #at = new Map<string, StartsAt>();

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  see(happening: Happening): string | undefined {
    switch (happening.kind) {
      case 'subscribed':
        this.#at.set(happening.reader, happening.from);
        return undefined;
      case 'reset':
      case 'failed':
        return this.#handleReset(happening);
      case 'positioned':
        return this.#move(happening.reader, happening.position);
      case 'applied': {
        const logId = this.#truth.batch(happening.rows[0]!.batch)?.logId;
        return logId === undefined ? undefined : this.#move(happening.reader, { token: happening.token, logId });
      }
      default:
        return undefined;
    }
  }

  #handleReset(happening: Extract<Happening, { kind: 'reset' | 'failed' }>): string | undefined {
    const { reader, stream, code } = happening;
    let at = this.#at.get(reader)!;
    if (happening.kind === 'reset') this.#at.set(reader, happening.next);
    else at = happening.received ?? at;
    if (typeof at === 'object' && at.logId !== undefined) {
      const now = this.#truth.now(stream);
      if (this.#truth.isEnded(stream, at.logId) || now.earliest - 1 > at.token) return undefined;
    }
    return `${reader} was told ${code} at ${JSON.stringify(at)}, and all that follows it is kept`;
  }

  #move(reader: string, to: Position): string | undefined {
    const at = this.#at.get(reader);
    this.#at.set(reader, to);
    if (typeof at !== 'object' || at.logId === undefined || to.logId === undefined || at.logId === to.logId)
      return undefined;
    return `${reader} went from history ${at.logId} to ${to.logId} and was told of no reset`;
  }
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
