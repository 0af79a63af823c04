/**
 * Removes the chunks and ids of deleted streams, and the chunks of trimmed rows, in small
 * transactions between which appends have their turn. They are invisible before the first step.
 * What a crash or a close leaves is removed after the next open.
 */

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import { LogError } from '../core/model/errors.ts';

/** The most that one step removes: a few milliseconds. */
const MAX_STEP_RECORDS = 50;
const MAX_STEP_BYTES = 512 * 1024;
/** From step to step. */
const PAUSE_MS: Millis = 10;
/** After a step that a full disk or another writer prevented. */
const BLOCKED_PAUSE_MS: Millis = 1_000;

const PASSING_CODES: ReadonlySet<string> = new Set(['LOG_LOCKED', 'LOG_FULL']);

export class Removals {
  readonly #transact: (work: () => void) => void;
  readonly #next: Database.Statement<[], number>;
  readonly #earliest: Database.Statement<[streamId: number], number>;
  readonly #chunks: Database.Statement<[streamId: number, below: number, count: number], [id: number, bytes: number]>;
  readonly #dropChunk: Database.Statement<[id: number]>;
  readonly #dropIds: Database.Statement<[streamId: number, count: number]>;
  readonly #finish: Database.Statement<[streamId: number]>;
  #timer: NodeJS.Timeout | undefined;

  /** `transact` does the work in a transaction, and throws when it must not be done. */
  constructor(database: Database.Database, transact: (work: () => void) => void) {
    this.#transact = transact;
    this.#next = database.prepare<[], number>('SELECT stream_id FROM removals ORDER BY stream_id LIMIT 1').pluck();
    this.#chunks = database
      .prepare<[number, number, number], [number, number]>(
        'SELECT id, length(texts) FROM chunks WHERE stream_id = ? AND up_to < ? ORDER BY up_to LIMIT ?',
      )
      .raw();
    this.#earliest = database.prepare<[number], number>('SELECT earliest FROM streams WHERE id = ?').pluck();
    this.#dropChunk = database.prepare('DELETE FROM chunks WHERE id = ?');
    this.#dropIds = database.prepare(
      'DELETE FROM ids WHERE place IN (SELECT place FROM ids WHERE stream_id = ? LIMIT ?)',
    );
    this.#finish = database.prepare('DELETE FROM removals WHERE stream_id = ?');
  }

  /** Removes what there is to remove, soon. */
  start(): void {
    if (this.#timer === undefined && this.#next.get() !== undefined) this.#continueIn(PAUSE_MS);
  }

  /** Removes some of it at once: on a full disk there is room again when a trim is done. */
  startNow(): void {
    clearTimeout(this.#timer);
    this.#goOn();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  // Not the injected clock: its timers keep a process alive, and these must not.
  #continueIn(ms: Millis): void {
    this.#timer = setTimeout(() => this.#goOn(), ms).unref();
  }

  #goOn(): void {
    this.#timer = undefined;
    try {
      this.#transact(() => this.#step());
      this.start();
    } catch (error) {
      // Anything else is met by appends and reads too. The next open tries again.
      if (error instanceof LogError && PASSING_CODES.has(error.code)) this.#continueIn(BLOCKED_PAUSE_MS);
    }
  }

  #step(): void {
    let records = MAX_STEP_RECORDS;
    let bytes = MAX_STEP_BYTES;
    while (records > 0 && bytes > 0) {
      const streamId = this.#next.get();
      if (streamId === undefined) return;
      // Undefined: the stream is deleted, and all of it goes.
      const earliest = this.#earliest.get(streamId);
      const chunks = this.#chunks.all(streamId, earliest ?? Number.MAX_SAFE_INTEGER, records);
      for (const [id, size] of chunks) {
        if (bytes <= 0) return;
        this.#dropChunk.run(id);
        records--;
        bytes -= size;
      }
      if (chunks.length === 0) {
        if (earliest === undefined) records -= this.#dropIds.run(streamId, records).changes;
        if (records > 0) this.#finish.run(streamId);
        // A stream that has nothing left costs a record too.
        records--;
      }
    }
  }
}
