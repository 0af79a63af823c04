/**
 * A change of a log that keeps its streams in memory, as it is written down to outlive the process.
 * The log makes a change durable first and applies it to its memory then. After a restart it
 * applies all changes again, so both go by the same code (kept-streams.ts).
 */

import type { Chunk } from '../core/model/chunk.ts';
import { LogError, messageOf, UsageError } from '../core/model/errors.ts';
import type { History } from '../core/model/history.ts';
import { nameOfType } from '../core/model/options.ts';
import type { Position } from '../core/model/position.ts';
import type { StreamName } from '../core/model/stream.ts';
import type { Token } from '../core/model/token.ts';
import type { RememberedId } from './append-ids.ts';
import type { TimeMark } from './log-time.ts';
import type { HolderChanges } from './stream-holders.ts';

/** What one commit, trim or deletion does. All of it is kept, or nothing. Applied in this order. */
export interface Change {
  /** Another era begins. The first change of a log has one: the log's id is in it. */
  readonly era?: History;
  /** The stream is gone, with its rows and ids. */
  readonly deleted?: StreamName;
  /** The rows of the stream after the token are taken back. */
  readonly truncated?: StreamToken;
  /** The stream, made if it is not there, has no rows and goes on after the position. */
  readonly rebased?: Position & { readonly history: History };
  /** New rows, those of the catalog first. The first rows make a stream. */
  readonly appended?: readonly StreamChunks[];
  /** Rows with the token or a lower one are dropped. */
  readonly trimmed?: readonly StreamToken[];
  /** To be remembered. */
  readonly ids?: readonly RememberedId[];
  /** What the clocks said, so that rows and ids age over a restart. */
  readonly time?: TimeMark;
  /** Who holds rows back (`retain.untilSavedBy`). */
  readonly holders?: readonly StreamHolderChanges[];
}

/** A token of one stream. */
export interface StreamToken {
  readonly stream: StreamName;
  readonly token: Token;
}

/** Chunks of one stream. */
export interface StreamChunks {
  readonly stream: StreamName;
  readonly chunks: readonly Chunk[];
}

export interface StreamHolderChanges extends HolderChanges {
  readonly stream: StreamName;
}

/** Makes changes durable, for a log that keeps its streams in memory (KeptLog). */
export interface ChangeStore {
  /** Opens the store. Gives the changes that it has, the oldest first. */
  open(): Iterable<Change> | Promise<Iterable<Change>>;

  /**
   * Makes a change durable, wholly or not at all. When it throws or rejects, nobody knows whether
   * the change is there. So the log then refuses everything until it is opened again.
   */
  write(change: Change): void | Promise<void>;

  /**
   * Replaces all that was written by these changes, which say the same in less room. Called once by
   * each open. A store without it grows for ever.
   */
  rewrite?(changes: Iterable<Change>): void | Promise<void>;

  /** Releases what it holds. No change comes after it. */
  close(): void | Promise<void>;
}

/** A change as JSON on one line, for stores that keep text. */
export function formatChange({ appended, ...change }: Change): string {
  return JSON.stringify({
    ...change,
    appended: appended?.map(({ stream, chunks }) => ({
      stream,
      chunks: chunks.map(({ texts, ...chunk }) => ({ ...chunk, texts: Buffer.from(texts).toString() })),
    })),
  });
}

/**
 * Reads what formatChange writes.
 * @throws LogError LOG_DAMAGED when the text is no JSON
 */
export function parseChange(text: string): Change {
  let change: Omit<Change, 'appended'> & { readonly appended?: readonly StreamTexts[] };
  try {
    change = JSON.parse(text) as typeof change;
  } catch (cause) {
    throw new LogError('LOG_DAMAGED', `a change of a log is not JSON: ${messageOf(cause)}`, { cause });
  }
  const { appended, ...rest } = change;
  if (appended === undefined) return rest;
  const read = appended.map(({ stream, chunks }) => ({
    stream,
    chunks: chunks.map(({ texts, ...chunk }) => ({ ...chunk, texts: Buffer.from(texts) })),
  }));
  return { ...rest, appended: read };
}

/**
 * The changes that a store gave, the oldest first. What is none is refused: taken for an empty log,
 * it would be written over.
 * @throws UsageError INVALID_OPTION for what are no changes; LogError LOG_DAMAGED when the first one
 *   has no era
 */
export function* checkChanges(log: string, given: Iterable<Change>): IterableIterator<Change> {
  const refuse = (why: string): UsageError =>
    new UsageError('INVALID_OPTION', `open of the store of log ${log} gave ${why}`);
  if (typeof given !== 'object' || typeof given?.[Symbol.iterator] !== 'function') {
    throw refuse(`${nameOfType(given)}, not a list of changes: an empty store gives []`);
  }
  let isFirst = true;
  for (const change of given) {
    if (typeof change !== 'object' || change === null || Array.isArray(change)) {
      throw refuse(`${nameOfType(change)} in place of a change: parseChange makes one of a text`);
    }
    if (isFirst && change.era === undefined) {
      const text = `the first change in the store of log ${log} begins no era: changes before it are missing, or it is no change`;
      throw new LogError('LOG_DAMAGED', text);
    }
    isFirst = false;
    yield change;
  }
}

interface StreamTexts {
  readonly stream: StreamName;
  readonly chunks: readonly (Omit<Chunk, 'texts'> & { readonly texts: string })[];
}
