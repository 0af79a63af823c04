/**
 * Keeps the WAL of an sqlite log small. As a rule SQLite moves it into the database every CHECKPOINT_BYTES, in the commit
 * that reaches them, and starts over. While a reader holds an old snapshot it cannot, and the WAL grows. What has grown
 * large is moved by a thread, since that takes seconds; then the file shrinks step by step, since to cut a whole gigabyte
 * off takes as long.
 *
 *   small ──over LARGE_BYTES──▶ large: the thread moves it, again and again ──moved, and cut to LARGE_BYTES──▶ small
 */

import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

import type Database from 'better-sqlite3';

import type { Millis } from '../base/clock.ts';

/** What the WAL may grow to before a commit moves it into the database: the longest pause that a commit makes. */
const CHECKPOINT_BYTES = 2 * 1024 * 1024;
/** Above it the thread takes over: a commit would stand still for more than about 30 ms. */
const LARGE_BYTES = 8 * 1024 * 1024;
/** How much of the file is cut off each time the WAL starts over: about 15 ms of a commit. */
const SHRINK_BYTES = 16 * 1024 * 1024;
/** How long the thread rests after it could not move all: the reader is still there. */
const BLOCKED_REST_MS: Millis = 500;
/** The WAL has a header for each page. */
const FRAME_HEADER_BYTES = 24;
/** From this share of its bound on, people should know of it. */
const SLOW_SHARE = 1 / 4;

export interface WalOptions {
  readonly database: Database.Database;
  readonly path: string;
  /** Above it appends are refused. */
  readonly maxBytes: number;
}

/** What SQLite says of a checkpoint, in pages. */
interface Checkpointed {
  readonly log: number;
  readonly checkpointed: number;
}

export class WalKeeper {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #pageBytes: number;
  #thread: Worker | undefined;
  #isMoving = false;
  #restTimer: NodeJS.Timeout | undefined;
  /** What of the file is in use; known only while it is large. */
  #usedBytes = 0;
  #fileBytes = 0;
  /** The last checkpoint could not move all. */
  #isBlocked = false;

  constructor({ database, path, maxBytes }: WalOptions) {
    this.#database = database;
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#pageBytes = database.pragma('page_size', { simple: true }) as number;
    this.#moveInCommits(true);
    this.#limitFile(LARGE_BYTES);
  }

  /** It holds more than it should, or appends are refused for it. */
  get isHigh(): boolean {
    return this.#usedBytes >= this.#maxBytes * SLOW_SHARE;
  }

  /** The size at which the next append must be refused; undefined while it may go on. */
  get fullBytes(): number | undefined {
    return this.#isBlocked && this.#usedBytes >= this.#maxBytes ? this.#usedBytes : undefined;
  }

  /** Call it before each commit, with the size of the file. */
  handleSize(fileBytes: number): void {
    // The file grows only when all of it is in use.
    if (fileBytes > this.#fileBytes) this.#usedBytes = fileBytes;
    this.#fileBytes = fileBytes;
    if (fileBytes > LARGE_BYTES) this.#move();
    else if (this.#thread !== undefined && !this.#isMoving) this.#endLarge();
  }

  /** Resolves when the thread has let go of the file. */
  async close(): Promise<void> {
    clearTimeout(this.#restTimer);
    const thread = this.#thread;
    this.#thread = undefined;
    if (thread === undefined) return;
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    thread.postMessage('end');
    await ended;
  }

  #move(): void {
    if (this.#isMoving || this.#restTimer !== undefined) return;
    if (this.#thread === undefined) {
      this.#moveInCommits(false);
      this.#thread = this.#startThread();
    }
    this.#isMoving = true;
    this.#thread.postMessage('move');
  }

  #handleMoved({ log, checkpointed }: Checkpointed): void {
    this.#isMoving = false;
    // It says -1 where someone else was moving it.
    if (log >= 0) {
      this.#isBlocked = checkpointed < log;
      this.#usedBytes = this.#isBlocked ? log * (this.#pageBytes + FRAME_HEADER_BYTES) : 0;
      // The next commit starts over, and cuts the file to the limit.
      if (!this.#isBlocked) return this.#limitFile(Math.max(LARGE_BYTES, this.#fileBytes - SHRINK_BYTES));
    }
    this.#restTimer = setTimeout(() => {
      this.#restTimer = undefined;
      this.#move();
    }, BLOCKED_REST_MS).unref();
  }

  #endLarge(): void {
    this.#thread?.postMessage('end');
    this.#thread = undefined;
    this.#isBlocked = false;
    this.#usedBytes = 0;
    this.#limitFile(LARGE_BYTES);
    this.#moveInCommits(true);
  }

  #startThread(): Worker {
    const driver = createRequire(import.meta.url).resolve('better-sqlite3');
    const thread = new Worker(THREAD, { eval: true, workerData: { driver, path: this.#path } });
    thread.unref();
    thread.on('message', (moved: Checkpointed) => this.#handleMoved(moved));
    // Where no thread can run, commits move it again, however long that takes.
    thread.on('error', () => {
      if (this.#thread !== thread) return;
      this.#isMoving = false;
      this.#endLarge();
    });
    return thread;
  }

  #moveInCommits(inCommits: boolean): void {
    this.#database.pragma(`wal_autocheckpoint = ${inCommits ? CHECKPOINT_BYTES / this.#pageBytes : 0}`);
  }

  #limitFile(bytes: number): void {
    this.#database.pragma(`journal_size_limit = ${bytes}`);
  }
}

/**
 * The thread, as text: so it is found wherever the sources, the build or a bundle lie. Its connection is of the same SQLite
 * library as ours, in the same process, so both know of each other's locks.
 */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  const Database = require(workerData.driver);
  const database = new Database(workerData.path, { timeout: 0, fileMustExist: true });
  database.pragma('fullfsync = ON');
  parentPort.on('message', (command) => {
    if (command === 'move') {
      const [{ log, checkpointed }] = database.pragma('wal_checkpoint(PASSIVE)');
      return parentPort.postMessage({ log, checkpointed });
    }
    database.close();
    parentPort.close();
  });
`;
