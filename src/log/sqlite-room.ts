/**
 * Keeps room on the disk of an sqlite log for what makes room: trims, deletions and retention. They
 * are commits too, and on a full disk SQLite has place for none. What is in the WAL could not even
 * be moved into the database, since that may have to grow.
 *
 * A file beside the log occupies the room. It is emptied when such a commit finds the disk full, and
 * filled again afterwards, as far as that goes. Until it is whole the database does not grow:
 * appends use what was made free within it. So a full disk takes the room once, not bit by bit.
 */

import { randomFillSync } from 'node:crypto';
import { closeSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';

import type Database from 'better-sqlite3';

import { systemCode } from '../core/model/errors.ts';
import { OWNER_ONLY_FILE } from './sqlite-place.ts';
import { LARGE_WAL_BYTES } from './sqlite-wal.ts';

/** A WAL that is not large yet may have to be moved, all of it to pages behind the database's end. */
const RESERVE_BYTES = LARGE_WAL_BYTES;
/** The WAL while the disk is full: it takes the largest usual commit beside what is moved at once. */
const WAL_BYTES = 4 * 1024 * 1024;
/** How far the database may grow in a commit that makes room. */
const GROWTH_PAGES = 64;
/** SQLite's own bound. */
const MOST_PAGES = 4_294_967_294;
const STEP_BYTES = 64 * 1024;

export interface RoomOptions {
  readonly database: Database.Database;
  readonly path: string;
  readonly maxPages: number | undefined;
}

export class DiskRoom {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #maxPages: number;
  /** The reserve is not whole, and the database does not grow. */
  #isTight = false;

  constructor({ database, path, maxPages = MOST_PAGES }: RoomOptions) {
    this.#database = database;
    this.#path = path;
    this.#maxPages = maxPages;
  }

  /** Call it once the log is open. */
  start(): void {
    if (!fillReserve(this.#path)) this.use(() => {});
  }

  /** Does what makes room, with the room that was kept for it. */
  use<T>(work: () => T): T {
    this.#isTight = true;
    emptyReserve(this.#path);
    this.#moveWal();
    this.#extendWal();
    this.#limitGrowth(GROWTH_PAGES);
    try {
      return work();
    } finally {
      this.#limitGrowth(0);
      this.restore();
    }
  }

  /** Call it when there may be room again. */
  restore(): void {
    if (!this.#isTight || !fillReserve(this.#path)) return;
    this.#isTight = false;
    this.#database.pragma(`max_page_count = ${this.#maxPages}`);
  }

  /** The next commit may begin the WAL anew, within the file that it has. */
  reuseWal(): void {
    this.restore();
    this.#moveWal();
  }

  #moveWal(): void {
    try {
      this.#database.pragma('wal_checkpoint(PASSIVE)');
    } catch {
      // The rows stay in the WAL until it can be moved.
    }
  }

  /** SQLite overwrites what lies behind its newest commit. A transaction keeps others from writing. */
  #extendWal(): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const { size } = statSync(`${this.#path}-wal`);
      append(`${this.#path}-wal`, WAL_BYTES - size, Buffer.alloc(STEP_BYTES));
    } finally {
      this.#database.exec('ROLLBACK');
    }
  }

  #limitGrowth(pages: number): void {
    const count = this.#database.pragma('page_count', { simple: true }) as number;
    this.#database.pragma(`max_page_count = ${Math.min(count + pages, this.#maxPages)}`);
  }
}

function reserveOf(path: string): string {
  return `${path}.reserve`;
}

/** @returns whether it held any room */
export function emptyReserve(path: string): boolean {
  const size = statSync(reserveOf(path), { throwIfNoEntry: false })?.size ?? 0;
  if (size > 0) truncateSync(reserveOf(path), 0);
  return size > 0;
}

/** @returns whether it is whole */
function fillReserve(path: string): boolean {
  const size = statSync(reserveOf(path), { throwIfNoEntry: false })?.size ?? 0;
  // A file system may keep zeros, or what repeats, in no room at all.
  return append(reserveOf(path), RESERVE_BYTES - size, randomFillSync(Buffer.alloc(STEP_BYTES)));
}

/** Appends bytes until the disk is full. Returns whether all were. */
function append(path: string, bytes: number, step: Buffer): boolean {
  if (bytes <= 0) return true;
  const file = openSync(path, 'a', OWNER_ONLY_FILE);
  try {
    for (let left = bytes; left > 0; ) left -= writeSync(file, step, 0, Math.min(left, step.length));
    return true;
  } catch (error) {
    if (!FULL_CODES.has(systemCode(error))) throw error;
    return false;
  } finally {
    closeSync(file);
  }
}

const FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);
