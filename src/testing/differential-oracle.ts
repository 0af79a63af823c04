/**
 * The plain oracle of the differential test: a log as arrays of batches, without chunks, written to
 * be obviously right rather than fast. It never chooses a token, an era or what retention drops:
 * it is told what the log chose, and knows whether that was allowed.
 */

import type { Millis } from '../base/clock.ts';
import { type History, logIdOf, originOf } from '../core/model/history.ts';
import type { Bounds, Verdict } from '../core/model/page.ts';
import type { Position } from '../core/model/position.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

export interface OracleBatch {
  readonly token: Token;
  readonly history: History;
  /** None: the place where a truncation ended, at a token that no batch has. */
  readonly rows: readonly RowText[];
  readonly attributes?: string | undefined;
  readonly atMs: Millis;
  readonly turn: Turn;
}

/** Batches of a stream that were appended in one turn. They may share a chunk. */
export interface Turn {
  /** The stream's latest before it. */
  readonly after: Token;
  /** How many rows it brought, those that are gone included. */
  rows: number;
}

/** An append that is remembered by its id. */
interface OracleId {
  readonly rows: readonly RowText[];
  readonly position: Position;
  readonly atMs: Millis;
}

interface Attempt {
  readonly rows: readonly RowText[];
  readonly id: string | undefined;
  readonly token: Token | undefined;
  /** The ids of this time and before are forgotten. */
  readonly oldMs: Millis;
}

/** What an append must come to. */
export type Expected =
  | { readonly kind: 'appended' }
  | { readonly kind: 'first'; readonly position: Position }
  | { readonly kind: 'refused'; readonly code: 'ID_REUSED' | 'TOKEN_FELL' };

export class OracleStream {
  earliest: Token = 1;
  latest: Token = 0;
  base: History;
  /** Those that are kept, in order. */
  batches: OracleBatch[] = [];
  /** How many of its commits found the oldest batches without need, one after another. */
  overdue = 0;
  readonly #ids = new Map<string, OracleId>();

  constructor(origin: History) {
    this.base = origin;
  }

  get bounds(): Bounds {
    const { earliest, latest, base } = this;
    return { earliest, latest, history: this.historyAt(latest), base };
  }

  /** The history of a token from `earliest - 1` to `latest`. A skipped token is of the batch after it. */
  historyAt(token: Token): History {
    if (token < this.earliest) return this.base;
    return this.batches.find((batch) => batch.token >= token)!.history;
  }

  expect({ rows, id, token, oldMs }: Attempt): Expected {
    const first = id === undefined ? undefined : this.#ids.get(id);
    if (first !== undefined && first.atMs > oldMs) {
      const isSame = first.rows.join('\n') === rows.join('\n');
      return isSame ? { kind: 'first', position: first.position } : { kind: 'refused', code: 'ID_REUSED' };
    }
    if (token !== undefined && token <= this.latest) return { kind: 'refused', code: 'TOKEN_FELL' };
    return { kind: 'appended' };
  }

  /** Whether an id was remembered once and is no longer. */
  hasOldId(id: string, oldMs: Millis): boolean {
    const first = this.#ids.get(id);
    return first !== undefined && first.atMs <= oldMs;
  }

  append(batch: OracleBatch, id?: { readonly id: string; readonly position: Position }): void {
    this.batches.push(batch);
    this.latest = batch.token;
    batch.turn.rows += batch.rows.length;
    if (id !== undefined) this.#ids.set(id.id, { rows: batch.rows, position: id.position, atMs: batch.atMs });
  }

  /** Drops what is up to the token. */
  drop(upTo: Token): OracleBatch[] {
    const last = Math.min(upTo, this.latest);
    if (last < this.earliest) return [];
    this.base = this.historyAt(last);
    this.earliest = last + 1;
    this.overdue = 0;
    const dropped = this.batches.filter(({ token }) => token <= last);
    this.batches = this.batches.filter(({ token }) => token > last);
    return dropped;
  }

  truncate(after: Token): void {
    if (after >= this.latest) return;
    const cut = this.batches.find(({ token }) => token >= after);
    this.batches = this.batches.filter(({ token }) => token <= after);
    // The end of a skip keeps the history that it had.
    if (after >= this.earliest && this.batches.at(-1) !== cut) this.batches.push({ ...cut!, token: after, rows: [] });
    this.latest = after;
    for (const [id, { position }] of this.#ids) if (position.token > after) this.#ids.delete(id);
  }

  rebase(token: Token, history: History): void {
    this.batches = [];
    this.earliest = token + 1;
    this.latest = token;
    this.base = history;
    this.overdue = 0;
    this.#ids.clear();
  }

  /** Rules 2 and 10 of histories (docs/protocol.md, "On a history"). */
  judge(token: Token, history: History | undefined): Verdict {
    if (history !== undefined && logIdOf(history) !== logIdOf(this.bounds.history)) return 'reset';
    if (token === 0 && this.earliest === 1) return 'on';
    if (token < this.earliest - 1) return 'gap';
    if (token > this.latest) return 'reset';
    return history === undefined || history === this.historyAt(token) ? 'on' : 'reset';
  }

  /** The batches from after one token up to another. */
  between(after: Token, upTo: Token): OracleBatch[] {
    return this.batches.filter(({ token, rows }) => token > after && token <= upTo && rows.length > 0);
  }
}

export class Oracle {
  readonly logId: string;
  readonly catalog: OracleStream;
  readonly streams: Map<StreamName, OracleStream> = new Map();
  /** The era in which a stream was deleted last. */
  readonly deletedIn: Map<StreamName, History> = new Map();

  constructor(logId: string) {
    this.logId = logId;
    this.catalog = new OracleStream(originOf(logId));
  }

  /** A stream, or an empty one in place of one that is not made. */
  at(stream: StreamName): OracleStream {
    return this.streams.get(stream) ?? new OracleStream(originOf(this.logId));
  }

  /** Returns the stream. It is made if it is not there. */
  make(stream: StreamName): OracleStream {
    const made = this.at(stream);
    this.streams.set(stream, made);
    return made;
  }

  delete(stream: StreamName, era: History): void {
    this.streams.delete(stream);
    this.deletedIn.set(stream, era);
  }
}

export function countRows(batches: readonly OracleBatch[]): number {
  return batches.reduce((sum, { rows }) => sum + rows.length, 0);
}
