/**
 * The ids of appends in an sqlite log. They are written in the commit of their batches, and lie in
 * that order. Knows no transactions.
 */

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';
import type { History } from '../core/model/history.ts';
import type { Token } from '../core/model/token.ts';
import type { KnownId, NewId } from './append-ids.ts';
import type { EraTexts } from './sqlite-chunk-record.ts';

/** How many old ids a commit forgets for each id that it adds, so that a surplus shrinks. */
const FORGOTTEN_PER_ADDED = 2;

interface IdRecord {
  readonly hash: string;
  readonly token: Token;
  readonly era: unknown;
  readonly logMs: Millis;
}

export class IdTable {
  readonly #retentionMs: Millis;
  readonly #eras: EraTexts;
  readonly #find: Database.Statement<[streamId: number, id: string], IdRecord>;
  readonly #insert: Database.Statement<[streamId: number, id: string, string, Token, string, Millis]>;
  readonly #oldest: Database.Statement<[count: number], [place: number, logMs: Millis]>;
  readonly #dropUpTo: Database.Statement<[place: number]>;
  readonly #dropAfter: Database.Statement<[streamId: number, Token]>;

  constructor(database: Database.Database, eras: EraTexts, retentionMs: Millis) {
    this.#retentionMs = retentionMs;
    this.#eras = eras;
    this.#find = database.prepare('SELECT hash, token, era, log_ms AS logMs FROM ids WHERE stream_id = ? AND id = ?');
    // An id whose time is over may still be there. The new one goes to the end.
    this.#insert = database.prepare(
      'INSERT OR REPLACE INTO ids (stream_id, id, hash, token, era, log_ms) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#oldest = database
      .prepare<[number], [number, Millis]>('SELECT place, log_ms FROM ids ORDER BY place LIMIT ?')
      .raw();
    this.#dropUpTo = database.prepare('DELETE FROM ids WHERE place <= ?');
    this.#dropAfter = database.prepare('DELETE FROM ids WHERE stream_id = ? AND token > ?');
  }

  /** Undefined when it is not known, or no longer. */
  find(streamId: number, id: string, now: Millis): KnownId | undefined {
    const found = this.#find.get(streamId, id);
    if (found === undefined || this.#isOver(found.logMs, now)) return undefined;
    const { hash, token, era } = found;
    const history = this.#eras.historyOf(era);
    return history === undefined ? undefined : { hash, token, history };
  }

  add(streamId: number, { id, hash, token, history }: NewId, era: History, now: Millis): void {
    this.#insert.run(streamId, id, hash, token, this.#eras.textOf(history ?? era), now);
  }

  /** Forgets some of the ids whose time is over. */
  forgetOld(added: number, now: Millis): void {
    let last: number | undefined;
    for (const [place, logMs] of this.#oldest.iterate(FORGOTTEN_PER_ADDED * added)) {
      if (!this.#isOver(logMs, now)) break;
      last = place;
    }
    if (last !== undefined) this.#dropUpTo.run(last);
  }

  /** Forgets the ids of rows that are taken back. */
  forgetAfter(streamId: number, after: Token): void {
    this.#dropAfter.run(streamId, after);
  }

  #isOver(logMs: Millis, now: Millis): boolean {
    return logMs + this.#retentionMs <= now;
  }
}
