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
  /** Of the last thread that was told to end. */
  #threadEnd: Promise<void> = Promise.resolve();
  #canThread = true;
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
    this.#endThread();
    await this.#threadEnd;
  }

  #endThread(): void {
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#thread = undefined;
    this.#threadEnd = new Promise((resolve) => thread.once('exit', () => resolve()));
    tell(thread, 'end');
  }

  #move(): void {
    if (this.#isMoving || this.#restTimer !== undefined || !this.#canThread) return;
    if (this.#thread === undefined) {
      this.#moveInCommits(false);
      this.#thread = this.#startThread();
    }
    this.#isMoving = true;
    tell(this.#thread, 'move');
  }

  #handleMoved(byThread: Checkpointed): void {
    this.#isMoving = false;
    // What was committed while the thread was at it is little, and is moved here: else no commit would ever start over.
    const { log, checkpointed } = isAllMoved(byThread) ? this.#moveHere() : byThread;
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

  #moveHere(): Checkpointed {
    try {
      return (this.#database.pragma('wal_checkpoint(PASSIVE)') as [Checkpointed])[0];
    } catch {
      // The rows are in the WAL, and stay there until it can be moved.
      return { log: -1, checkpointed: -1 };
    }
  }

  #endLarge(): void {
    this.#endThread();
    this.#isBlocked = false;
    this.#usedBytes = 0;
    this.#limitFile(LARGE_BYTES);
    this.#moveInCommits(true);
  }

  #startThread(): Worker {
    const driver = createRequire(import.meta.url).resolve('better-sqlite3');
    const thread = new Worker(THREAD, { eval: true, workerData: { driver, path: this.#path } });
    thread.unref();
    thread.on('message', (moved: Checkpointed) => {
      if (this.#thread === thread) this.#handleMoved(moved);
    });
    // Its end, where nobody told it to end, says enough.
    thread.on('error', () => {});
    thread.on('exit', () => {
      if (this.#thread === thread) this.#handleThreadLost();
    });
    return thread;
  }

  /** It could not start, or the disk failed under it: commits move the WAL again, however long that takes. */
  #handleThreadLost(): void {
    this.#thread = undefined;
    this.#isMoving = false;
    this.#canThread = false;
    this.#endLarge();
  }

  #moveInCommits(inCommits: boolean): void {
    this.#database.pragma(`wal_autocheckpoint = ${inCommits ? CHECKPOINT_BYTES / this.#pageBytes : 0}`);
  }

  #limitFile(bytes: number): void {
    this.#database.pragma(`journal_size_limit = ${bytes}`);
  }
}

function isAllMoved({ log, checkpointed }: Checkpointed): boolean {
  return log >= 0 && checkpointed === log;
}

function tell(thread: Worker, command: 'move' | 'end'): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows; a thread has no origin
  thread.postMessage(command);
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
