/**
 * Ids of appends: the same id on the same stream appends once. Every log remembers them for the
 * same time and compares rows in the same way.
 */

import { createHash } from 'node:crypto';

import type { Millis } from '../base/clock.ts';
import { Queue } from '../base/queue.ts';
import { quote, quoteValue, UsageError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import type { RowText } from '../core/model/row.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';

/** Longer than any client retries. */
export const DEFAULT_ID_RETENTION_MS: Millis = 24 * 60 * 60 * 1_000;

const LONGEST_ID = 255;

/** An append that a log remembers by its id. */
export interface KnownId {
  /** Of its row texts (hashOfRows). */
  readonly hash: string;
  readonly token: Token;
  readonly history: History;
}

/** An append with an id that is new. */
export interface NewId {
  readonly stream: StreamName;
  readonly id: string;
  readonly hash: string;
  readonly token: Token;
  /** Undefined: the era of its commit. */
  readonly history: History | undefined;
}

/** @throws UsageError INVALID_OPTION */
export function checkId(id: string): void {
  if (typeof id === 'string' && id.length > 0 && id.length <= LONGEST_ID && id.isWellFormed()) return;
  throw new UsageError(
    'INVALID_OPTION',
    `the id of an append has 1 to ${LONGEST_ID} characters, unlike ${quoteValue(id)}`,
  );
}

/** Tells a retry from another append that took the same id. */
export function hashOfRows(rows: readonly RowText[]): string {
  const hash = createHash('sha256');
  for (let i = 0; i < rows.length; i++) hash.update(i === 0 ? rows[i]! : `\n${rows[i]!}`);
  return hash.digest('base64url');
}

/** The error for an id that was taken for other rows. */
export function reusedId(stream: StreamName, id: string, { token }: { readonly token: Token }): UsageError {
  return new UsageError(
    'ID_REUSED',
    `id ${quote(id)} of stream ${stream} was taken for other rows, at token ${token}: give each append its own id`,
    { facts: { stream, id, token } },
  );
}

/** An append that had an id, as it is written down. */
export interface RememberedId extends KnownId {
  readonly stream: StreamName;
  readonly id: string;
  /** When it was appended, in the log's own time. */
  readonly atMs: Millis;
}

/** The ids of one log in memory, each for a time, and at most so many. */
export class RememberedIds {
  readonly #retentionMs: Millis;
  readonly #maxIds: number;
  readonly #byStream = new Map<StreamName, Map<string, RememberedId>>();
  /** In the order in which they came. Those that were forgotten since, or came again, stay until their turn. */
  readonly #inOrder = new Queue<RememberedId>();

  constructor(retentionMs: Millis, maxIds: number) {
    this.#retentionMs = retentionMs;
    this.#maxIds = maxIds;
  }

  /** The append that took the id, if it is remembered. */
  find(stream: StreamName, id: string, now: Millis): KnownId | undefined {
    const known = this.#byStream.get(stream)?.get(id);
    return known === undefined || known.atMs + this.#retentionMs <= now ? undefined : known;
  }

  /** Remembers the id of an append. */
  add(added: RememberedId): void {
    const ofStream = this.#byStream.get(added.stream);
    if (ofStream === undefined) this.#byStream.set(added.stream, new Map([[added.id, added]]));
    else ofStream.set(added.id, added);
    this.#inOrder.push(added);
    for (let oldest = this.#inOrder.peek(); oldest !== undefined; oldest = this.#inOrder.peek()) {
      const isToStay = this.#inOrder.length <= this.#maxIds && oldest.atMs + this.#retentionMs > added.atMs;
      if (isToStay) return;
      this.#inOrder.shift();
      if (this.#isKnown(oldest)) this.#drop(oldest);
    }
  }

  /** All that are remembered, the oldest first. */
  *all(): IterableIterator<RememberedId> {
    for (const one of this.#inOrder) if (this.#isKnown(one)) yield one;
  }

  /** Forgets the ids of rows that are gone with their stream, or that are taken back. */
  forget(stream: StreamName, after: Token = 0): void {
    if (after === 0) this.#byStream.delete(stream);
    else for (const known of this.#byStream.get(stream)?.values() ?? []) if (known.token > after) this.#drop(known);
  }

  #isKnown(one: RememberedId): boolean {
    return this.#byStream.get(one.stream)?.get(one.id) === one;
  }

  #drop({ stream, id }: RememberedId): void {
    const ofStream = this.#byStream.get(stream)!;
    ofStream.delete(id);
    if (ofStream.size === 0) this.#byStream.delete(stream);
  }
}

/** A stream name has no space. */
export function idKey(stream: StreamName, id: string): string {
  return `${stream} ${id}`;
}
